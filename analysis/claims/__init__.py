"""The claims about GCSAM: hypotheses as data, the table of runs, the statistics, the verdicts.

What needs torch, `_LAZY`, loads on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from analysis.claims.claim import Claim
from analysis.claims.hypotheses import CLAIMS
from analysis.claims.p_values import holm
from analysis.claims.power import detectable, effect_size, seeds_needed
from analysis.claims.statistics import Interval, bootstrap_interval, mean_interval, rank_correlation, spread_ratio
from analysis.claims.success import Criterion, parse_success
from analysis.claims.sweeps import SweepTable, with_sweeps
from analysis.claims.table import RunTable, collect
from analysis.claims.verdict import Verdict, judge, overall

if TYPE_CHECKING:
    from analysis.claims.ab import SuccessVerdict, judge_success
    from analysis.claims.results import Verdicts, verify

__all__ = [
    "CLAIMS",
    "Claim",
    "Criterion",
    "Interval",
    "RunTable",
    "SuccessVerdict",
    "SweepTable",
    "Verdict",
    "Verdicts",
    "bootstrap_interval",
    "collect",
    "detectable",
    "effect_size",
    "holm",
    "judge",
    "judge_success",
    "mean_interval",
    "overall",
    "parse_success",
    "rank_correlation",
    "seeds_needed",
    "spread_ratio",
    "verify",
    "with_sweeps",
]


_LAZY = {
    "SuccessVerdict": "analysis.claims.ab",
    "Verdicts": "analysis.claims.results",
    "judge_success": "analysis.claims.ab",
    "verify": "analysis.claims.results",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'analysis.claims' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
