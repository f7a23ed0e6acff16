"""A candidate beside a baseline: does it meet what the user calls success, yes, no or not yet, and with how many seeds.

The whole answer is "yes" when every criterion is, which needs no correction for their number (an intersection-union
test, Berger 1982): if the candidate is in truth no success, one criterion is false, and that one would have to err.
A false "yes" is thus as rare as that of one criterion, at most 2.5 % of studies, half of the 5 % by which all intervals
of all looks together may miss. One "no" is a "no": with m criteria that all hold, a false "no" comes in at most m times
2.5 % of studies.

Right when the answers are those of the single criteria, and the result survives `save` and `load`
(`tests/analysis/claims/test_ab.py`). Cost: about 30 ms per unsettled criterion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from analysis.claims.answer import NOT_YET, Answer, all_together, judge_criterion
from analysis.claims.looks import counted_looks, look_confidence
from analysis.claims.statistics import CONFIDENCE
from analysis.claims.success import parse_success
from analysis.claims.table import RunTable
from analysis.claims.verdict import MIN_SEEDS
from analysis.evidence import Result, measured

_PROTOCOL = "paired seeds, t or Pitman-Morgan interval, half of the error that is left to each look"


@dataclass(frozen=True, eq=False)
class SuccessVerdict(Result):
    """What paired runs say about criteria of success, a row per criterion; all must hold."""

    group: ClassVar[str] = "claims"

    baseline: str = measured(description="method that the bounds are taken from")
    candidate: str = measured(description="method that is to meet them")
    success: str = measured(description="the criteria as given")
    answer: str = measured(description="yes if every criterion is, no if one is, else not yet", source="Berger (1982)")
    criterion: tuple[str, ...] = measured("criterion", description="each of them")
    quantity: tuple[str, ...] = measured("criterion", description="column of the run table")
    scale: tuple[str, ...] = measured("criterion", description="difference, log-ratio or spread (ratio over seeds)")
    unit: tuple[str, ...] = measured(
        "criterion", description="of effect, interval and bound; % is of the baseline; empty is the quantity's own"
    )
    side: tuple[str, ...] = measured("criterion", description="on which side of the bound it holds: above or below")
    bound: Tensor = measured("criterion", description="what the effect is held against, in `unit`")
    effect: Tensor = measured("criterion", description="candidate beside baseline, in `unit`; NaN where there is none")
    interval_low: Tensor = measured("criterion", description="lower end of this look's interval", source=_PROTOCOL)
    interval_high: Tensor = measured("criterion", description="upper end of this look's interval", source=_PROTOCOL)
    answers: tuple[str, ...] = measured("criterion", description="yes, no or not yet")
    reason: tuple[str, ...] = measured("criterion", description="why")
    baseline_mean: Tensor = measured(
        "criterion", description="of the baseline's runs, in the quantity's unit; of a spread the standard deviation"
    )
    candidate_mean: Tensor = measured("criterion", description="the same of the candidate's runs")
    seeds_needed: Tensor = measured(
        "criterion",
        units="1",
        description="seeds in all that settle it in 80 % of studies, if the truth is as estimated; inf: over 10,000",
    )
    seeds_low: Tensor = measured(
        "criterion", units="1", description="the same at one end of the spread's 80 % interval"
    )
    seeds_high: Tensor = measured("criterion", units="1", description="and at the other end")
    num_seeds: int = measured(units="1", description="paired seeds at hand")
    looks: Tensor = measured("look", units="1", description="numbers of seeds at which a verdict was looked for")
    look_confidence: float = measured(units="1", description="of the intervals of this look", source=_PROTOCOL)
    confidence: float = measured(units="1", description="of the intervals of all looks together")
    min_seeds: int = measured(units="1", description="seeds below which every answer is not yet")

    @property
    def further_seeds(self) -> float:
        """Seeds to add so that each open criterion settles in 80 % of studies; 0 if settled, inf for over 10,000.

        NaN where nothing is known of a criterion that is open.
        """
        if self.answer != NOT_YET:
            return 0.0
        needed = [
            float(seeds) for seeds, answer in zip(self.seeds_needed, self.answers, strict=True) if answer == NOT_YET
        ]
        return math.nan if any(map(math.isnan, needed)) else max(needed) - self.num_seeds


def judge_success(
    table: RunTable,
    baseline: str,
    candidate: str,
    success: str,
    *,
    looks: Iterable[int] = (),
    confidence: float = CONFIDENCE,
) -> SuccessVerdict:
    """Judge whether a candidate meets criteria beside a baseline.

    Runs of the same seed are pairs. Every look at growing data must be told by `looks`, or false answers pile up: see
    `analysis.claims.looks`.

    Args:
        table: Runs, as `collect` reads them.
        baseline: Method that the bounds are taken from.
        candidate: Method that is to meet them.
        success: Criteria, as in `analysis.claims.success`: "accuracy >= baseline - 0.2%, spread smaller".
        looks: Numbers of seeds at which somebody has looked before.
        confidence: Share of studies in which all intervals of all looks cover the truth, per criterion; in (0, 1).

    Returns:
        A row per criterion. Answers need five seeds.

    Raises:
        ValueError: A criterion is not understood, a method has no runs, both are the same, or confidence or looks out
            of range.

    Example:
        >>> import numpy as np
        >>> from analysis.store import Variable
        >>> accuracy = Variable(np.array([0.90, 0.91, 0.90, 0.92, 0.91, 0.93, 0.94, 0.94, 0.95, 0.94]), ("run",), "1")
        >>> table = RunTable(("sgd",) * 5 + ("gcsam",) * 5, (0, 1, 2, 3, 4) * 2, {"test_accuracy": accuracy})
        >>> found = judge_success(table, "sgd", "gcsam", "accuracy >= baseline - 0.2%")
        >>> found.answer, round(float(found.effect[0]), 2), found.unit[0], found.further_seeds
        ('yes', 3.2, 'percentage points', 0.0)

    References:
        Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24 (1982). Schuirmann, A
        comparison of the two one-sided tests procedure, J. Pharmacokinet. Biopharm. 15 (1987), for margins.
    """
    criteria = parse_success(success, table.columns)
    seeds = [_seeds(table, method) for method in (baseline, candidate)]
    if baseline == candidate:
        raise ValueError(f"baseline and candidate must differ, got {baseline!r} twice")
    count = len(seeds[0] & seeds[1])
    counted = counted_looks(looks, count)
    look = max(len(counted), 1)  # with too few seeds for a verdict the interval is that of a first look
    rows = [judge_criterion(criterion, table, baseline, candidate, look, confidence) for criterion in criteria]
    return SuccessVerdict(
        baseline=baseline,
        candidate=candidate,
        success=success,
        answer=all_together(row.answer for row in rows),
        **_columns(rows),
        num_seeds=count,
        looks=torch.tensor(counted, dtype=torch.int64),
        look_confidence=look_confidence(look, confidence),
        confidence=float(confidence),
        min_seeds=MIN_SEEDS,
    )


def _columns(rows: list[Answer]) -> dict[str, Any]:
    numbers = {
        "bound": [row.criterion.bound for row in rows],
        "effect": [row.effect.estimate for row in rows],
        "interval_low": [row.effect.low for row in rows],
        "interval_high": [row.effect.high for row in rows],
        "baseline_mean": [row.baseline_mean for row in rows],
        "candidate_mean": [row.candidate_mean for row in rows],
        "seeds_needed": [row.needed.total for row in rows],
        "seeds_low": [row.needed.low for row in rows],
        "seeds_high": [row.needed.high for row in rows],
    }
    return {
        "criterion": tuple(row.criterion.text for row in rows),
        "quantity": tuple(row.criterion.column for row in rows),
        "scale": tuple(row.criterion.scale for row in rows),
        "unit": tuple(row.criterion.unit for row in rows),
        "side": tuple("above" if row.criterion.is_above else "below" for row in rows),
        "answers": tuple(row.answer for row in rows),
        "reason": tuple(row.reason for row in rows),
        **{name: torch.tensor(column, dtype=torch.float64) for name, column in numbers.items()},
    }


def _seeds(table: RunTable, method: str) -> set[int]:
    found = {seed for name, seed in zip(table.method, table.seed, strict=True) if name == method}
    if not found:
        there = ", ".join(dict.fromkeys(table.method)) or "none"
        raise ValueError(f"no runs of method {method!r}; the table has runs of {there}")
    return found
