"""What the numbers of one comparison say: effect, intervals, p value, and what so many seeds could have seen.

All in the claim's unit: percent of the control, percentage points, rank correlation. Right when each is the statistic
of its name on hand-made pairs, carried into that unit (`tests/analysis/claims/test_effects.py`). Costs the resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.claims.p_values import mean_p_value, rank_p_value, spread_p_value
from analysis.claims.power import detectable, effect_size, seeds_needed
from analysis.claims.statistics import (
    Array,
    Interval,
    bootstrap_interval,
    mean_interval,
    rank_correlation,
    spread_ratio,
)

NO_INTERVAL = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Effect:
    """An effect with all that is known about it; NaN where the scale, or too few numbers, have none.

    Args:
        interval: The estimate with the interval that decides.
        bootstrap: The same by the BCa bootstrap; of means only.
        p_value: Of no effect.
        size: Hedges' g of the paired differences; of means only.
        detectable: The smallest effect that so many pairs with this spread find in 80 % of studies; of means only.
        seeds_needed: Pairs that find an effect of the estimated size in 80 % of studies; inf for more than 10,000.
    """

    interval: Interval = NO_INTERVAL
    bootstrap: Interval = NO_INTERVAL
    p_value: float = math.nan
    size: Interval = NO_INTERVAL
    detectable: float = math.nan
    seeds_needed: float = math.nan


def paired_effect(scale: str, treatment: Array, control: Array, no_effect: float, confidence: float) -> Effect:
    """Return the effect of a treatment from pairs.

    Args:
        scale: "log-ratio", "difference", "level" or "spread".
        treatment: Numbers [N], finite; positive for "log-ratio".
        control: Their partners [N]; ones for "level".
        no_effect: Of the claim, in its unit.
        confidence: Of the intervals.

    Returns:
        In percent, or percentage points.
    """
    if scale == "spread":
        found = spread_ratio(treatment, control, confidence)
        interval = Interval(*(100 * (number - 1) for number in (found.estimate, found.low, found.high)))
        return Effect(interval, p_value=spread_p_value(treatment, control))
    is_ratio = scale == "log-ratio"
    # the ratio itself may overflow
    differences = np.log(treatment) - np.log(control) if is_ratio else treatment - control
    origin = no_effect / 100
    size = effect_size(differences - origin, confidence)
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else math.nan
    needed = seeds_needed(size.estimate, confidence=confidence)
    return Effect(
        interval=_in_percent(mean_interval(differences, confidence), is_ratio),
        bootstrap=_in_percent(bootstrap_interval(differences, confidence=confidence), is_ratio),
        p_value=mean_p_value(differences, origin),
        size=size,
        detectable=_percent(detectable(len(differences), confidence=confidence) * spread, is_ratio),
        seeds_needed=math.nan if math.isnan(size.estimate) else math.inf if needed is None else float(needed),
    )


def rank_effect(x: Array, y: Array, groups: Array, confidence: float) -> Effect:
    """Return the rank correlation of two numbers of the runs.

    Args:
        x: Numbers [N], finite.
        y: Their partners [N].
        groups: Label of each pair [N].
        confidence: Of the interval.

    Returns:
        A correlation.
    """
    return Effect(rank_correlation(x, y, groups, confidence=confidence), p_value=rank_p_value(x, y, groups))


def _in_percent(found: Interval, is_ratio: bool) -> Interval:
    return Interval(*(_percent(number, is_ratio) for number in (found.estimate, found.low, found.high)))


def _percent(number: float, is_ratio: bool) -> float:
    with np.errstate(over="ignore"):  # the interval of two wild seeds may end at infinity
        return 100 * float(np.expm1(number) if is_ratio else number)
