"""The claims about GCSAM: hypotheses as data, the table of runs, the statistics, the verdicts.

Only `Verdicts` and `verify` need torch, so they load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.claims.claim import Claim
from analysis.claims.hypotheses import CLAIMS
from analysis.claims.p_values import holm
from analysis.claims.power import detectable, effect_size, seeds_needed
from analysis.claims.statistics import Interval, bootstrap_interval, mean_interval, rank_correlation, spread_ratio
from analysis.claims.sweeps import SweepTable, with_sweeps
from analysis.claims.table import RunTable, collect
from analysis.claims.verdict import Verdict, judge, overall

if TYPE_CHECKING:
    from analysis.claims.results import Verdicts, verify

__all__ = [
    "CLAIMS",
    "Claim",
    "Interval",
    "RunTable",
    "SweepTable",
    "Verdict",
    "Verdicts",
    "bootstrap_interval",
    "collect",
    "detectable",
    "effect_size",
    "holm",
    "judge",
    "mean_interval",
    "overall",
    "rank_correlation",
    "seeds_needed",
    "spread_ratio",
    "verify",
    "with_sweeps",
]


def __getattr__(name: str) -> Any:
    if name in {"Verdicts", "verify"}:
        import analysis.claims.results

        return getattr(analysis.claims.results, name)
    raise AttributeError(f"module 'analysis.claims' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
