"""From a result to the number the report shows: value, 95 % interval, and what the interval means.

An interval is given only where something bounds the error: the spread of random draws, a residual, a bracket. A maximum
over a ball that was searched, not solved, is a lower bound; what was computed from all the data as it is defined is
exact. Each is about the data given, not about the population they were drawn from.

Right when t intervals cover the truth in 93 to 97 % of many draws, and bounds hold the closed form
(`tests/analysis/report/test_readings.py`). Cost: none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95
EXACT, AT_LEAST, RESIDUAL, BRACKET = "exact", "lower bound", "residual bound", "bracket"


@dataclass(frozen=True)
class Reading:
    """A number with its interval.

    Attributes:
        value: NaN where there is none.
        low: Lower end; NaN where there is none.
        high: Upper end; NaN where there is none, also for a lower bound.
        meaning: What the interval means, in a few words.
    """

    value: float
    low: float
    high: float
    meaning: str


def exact(value: float) -> Reading:
    """Return a number without error but rounding.

    Args:
        value: It.
    """
    return Reading(float(value), math.nan, math.nan, EXACT)


def at_least(value: float) -> Reading:
    """Return the largest value found, which the true maximum cannot be below.

    Args:
        value: It.
    """
    return Reading(float(value), float(value), math.nan, AT_LEAST)


def sampled(value: float, standard_error: float, num: int, what: str) -> Reading:
    """Return a mean of independent draws with Student's t interval.

    Args:
        value: The mean.
        standard_error: Of it, from the spread of the draws.
        num: Of draws.
        what: They are, for the reader: "probes".

    Returns:
        The reading; its interval is NaN where there is no standard error.

    Example:
        >>> found = sampled(1.0, 0.1, 2, "pairs")  # one degree of freedom: 12.7 standard errors
        >>> round(found.low, 2), round(found.high, 2), found.meaning
        (-0.27, 2.27, 't, 2 pairs')
    """
    half = half_width(standard_error, num)
    return Reading(float(value), float(value) - half, float(value) + half, f"t, {num} {what}")


def half_width(standard_error: float, num: int) -> float:
    """Return half the width of a t interval; NaN where there is none.

    Args:
        standard_error: Of a mean.
        num: Of draws.
    """
    if num < 2 or not math.isfinite(standard_error):
        return math.nan
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, num - 1)) * float(standard_error)


def within(value: float, residual: float) -> Reading:
    """Return an eigenvalue: one of the matrix lies within the residual of it.

    Args:
        value: Ritz value.
        residual: Of its vector.
    """
    return Reading(float(value), float(value) - float(residual), float(value) + float(residual), RESIDUAL)


def ratio(first: Reading, second: Reading) -> Reading:
    """Return the quotient of two numbers, its interval by those of both.

    Args:
        first: Numerator.
        second: Denominator.

    Returns:
        The quotient; where the denominator may be 0 or less there is no interval, and where it is, no value.
    """
    if not second.value > 0:
        return Reading(math.nan, math.nan, math.nan, "denominator <= 0")
    if not (second.low > 0 and first.low >= 0):
        return Reading(first.value / second.value, math.nan, math.nan, "residuals too large")
    return Reading(first.value / second.value, first.low / second.high, first.high / second.low, first.meaning)
