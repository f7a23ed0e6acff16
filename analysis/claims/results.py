"""The verdicts as a result that is saved and loaded like every other.

Right when a row says what `judge` said and survives `save` and `load` (`tests/analysis/claims/test_results.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from analysis.claims.claim import Claim
from analysis.claims.hypotheses import CLAIMS
from analysis.claims.statistics import CONFIDENCE
from analysis.claims.table import RunTable
from analysis.claims.verdict import MIN_SEEDS, judge, overall
from analysis.evidence import Result, measured

_PROTOCOL = "paired seeds, t, Pitman-Morgan or bootstrap interval"


@dataclass(frozen=True, eq=False)
class Verdicts(Result):
    """What a study says about each claim, a row per comparison. A claim with several rows needs all that decide."""

    group: ClassVar[str] = "claims"

    number: Tensor = measured("claim", description="number of the claim, 1 to 9")
    statement: tuple[str, ...] = measured("claim", description="what the claim says", source="arXiv 2501.11584")
    quantity: tuple[str, ...] = measured("claim", description="column of the run table; empty where none is compared")
    comparison: tuple[str, ...] = measured("claim", description="who is compared with whom")
    role: tuple[str, ...] = measured(
        "claim", description="decides, reported (proves nothing), untested, or absent (a control without runs)"
    )
    direction: tuple[str, ...] = measured("claim", description="sign of the effect that supports the claim")
    effect: Tensor = measured("claim", description="estimated effect, in `unit`; NaN where there is none")
    interval_low: Tensor = measured("claim", description="lower end of the interval, in `unit`", source=_PROTOCOL)
    interval_high: Tensor = measured("claim", description="upper end of the interval, in `unit`", source=_PROTOCOL)
    unit: tuple[str, ...] = measured("claim", description="unit of effect and interval; % is of the control")
    verdict: tuple[str, ...] = measured("claim", description="supported, contradicted or inconclusive")
    reason: tuple[str, ...] = measured("claim", description="why the verdict is what it is")
    caveat: tuple[str, ...] = measured("claim", description="what the reader must know beside the verdict; or empty")
    num_seeds: Tensor = measured("claim", units="1", description="seeds that count")
    treatment_mean: Tensor = measured("claim", description="mean of the treatment's runs, in the quantity's unit")
    baseline_mean: Tensor = measured("claim", description="mean of the control's runs, in the quantity's unit")
    claim_number: Tensor = measured("claim_number", description="each number of a claim once")
    overall: tuple[str, ...] = measured(
        "claim_number", description="verdict of each claim, all its deciding rows together"
    )
    p_value: Tensor = measured("claim", units="1", description="of no effect: t, Pitman-Morgan or permutation test")
    p_corrected: Tensor = measured(
        "claim", units="1", description="the same by Holm's rule over all rows that decide", source="Holm (1979)"
    )
    effect_size: Tensor = measured(
        "claim", units="1", description="mean / standard deviation of the paired differences", source="Hedges (1981)"
    )
    effect_size_low: Tensor = measured("claim", units="1", description="lower end of its interval (noncentral t)")
    effect_size_high: Tensor = measured("claim", units="1", description="upper end of its interval (noncentral t)")
    bootstrap_low: Tensor = measured("claim", description="lower end of the BCa interval, in `unit`; decides nothing")
    bootstrap_high: Tensor = measured("claim", description="upper end of the BCa interval, in `unit`")
    detectable: Tensor = measured(
        "claim",
        description="smallest effect that these seeds find in 80 % of studies, in `unit`",
        source="Cohen (1988)",
    )
    seeds_needed: Tensor = measured(
        "claim", units="1", description="seeds that find an effect of this size in 80 % of studies; inf: over 10,000"
    )
    confidence: float = measured(units="1", description="share of intervals that cover the truth")
    min_seeds: int = measured(units="1", description="seeds below which every verdict is inconclusive")


def verify(table: RunTable, claims: Sequence[Claim] = CLAIMS, confidence: float = CONFIDENCE) -> Verdicts:
    """Judge the claims by the runs of a study.

    See `analysis.claims.judge` for the rules. Intervals are one per comparison; with 40 of them, one or two miss the
    truth by chance, and the corrected p values say which verdicts may be such a one.

    Args:
        table: Runs, as `collect` reads them.
        claims: Comparisons to make.
        confidence: Of the intervals, in (0, 1).

    Returns:
        A row per comparison, in the order of `claims`.

    Raises:
        ValueError: `confidence` is out of range.

    Example:
        >>> found = verify(RunTable((), (), {}))
        >>> set(found.verdict), found.reason[0]
        ({'inconclusive'}, "no runs of method 'gcsam'")
    """
    rows = judge(table, claims, confidence)
    combined = overall(rows)

    def column(numbers: list[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64)

    return Verdicts(
        number=torch.tensor([row.claim.number for row in rows], dtype=torch.int64),
        statement=tuple(row.claim.statement for row in rows),
        quantity=tuple(row.claim.quantity for row in rows),
        comparison=tuple(row.claim.comparison for row in rows),
        role=tuple(row.role for row in rows),
        direction=tuple(row.claim.direction for row in rows),
        effect=column([row.effect.estimate for row in rows]),
        interval_low=column([row.effect.low for row in rows]),
        interval_high=column([row.effect.high for row in rows]),
        unit=tuple(row.claim.unit for row in rows),
        verdict=tuple(row.verdict for row in rows),
        reason=tuple(row.reason for row in rows),
        caveat=tuple(row.caveat for row in rows),
        num_seeds=torch.tensor([row.num_seeds for row in rows], dtype=torch.int64),
        treatment_mean=column([row.treatment_mean for row in rows]),
        baseline_mean=column([row.control_mean for row in rows]),
        claim_number=torch.tensor(list(combined), dtype=torch.int64),
        overall=tuple(combined.values()),
        p_value=column([row.evidence.p_value for row in rows]),
        p_corrected=column([row.p_corrected for row in rows]),
        effect_size=column([row.evidence.size.estimate for row in rows]),
        effect_size_low=column([row.evidence.size.low for row in rows]),
        effect_size_high=column([row.evidence.size.high for row in rows]),
        bootstrap_low=column([row.evidence.bootstrap.low for row in rows]),
        bootstrap_high=column([row.evidence.bootstrap.high for row in rows]),
        detectable=column([row.evidence.detectable for row in rows]),
        seeds_needed=column([row.evidence.seeds_needed for row in rows]),
        confidence=float(confidence),
        min_seeds=MIN_SEEDS,
    )
