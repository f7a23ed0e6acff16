"""Intervals for the difference of two measured numbers: paired, as if independent, or from bounds; without torch.

Right when 95 % intervals cover a known difference in 95 % of cases, paired ones are shorter where the two have much in
common, and both are those of scipy's tests (`tests/landscape/comparing/test_intervals.py`). Cost: none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

LEVEL = 0.95
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Interval:
    """A difference, second less first, and the ends of its interval; NaN where there is none.

    Attributes:
        difference: The estimate.
        low: Lower end.
        high: Upper end.
    """

    difference: float
    low: float = math.nan
    high: float = math.nan

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))


def paired(first: Array, second: Array, difference: float | None = None) -> Interval:
    """Return the interval by Student's t over pairs of samples that belong together.

    Args:
        first: Independent samples whose mean is the first number, [n], n >= 2.
        second: The same of the second; sample i of both shares its random numbers or its data.
        difference: Of the numbers, where they are weighted means of the samples; None is the mean difference.

    Returns:
        The interval. Valid also where the pairs have nothing in common, but then no shorter than `independent`.
    """
    pairs = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    middle = float(pairs.mean()) if difference is None else difference
    half = _quantile(len(pairs) - 1) * float(pairs.std(ddof=1)) / math.sqrt(len(pairs))
    return Interval(middle, middle - half, middle + half)


def independent(
    first: tuple[float, float, float], second: tuple[float, float, float], difference: float | None = None
) -> Interval:
    """Return the interval by Welch's t from two numbers and their standard errors, as if they were independent.

    Args:
        first: Value, standard error, and the number of samples behind it, inf where that is not known.
        second: The same.
        difference: As for `paired`; None is that of the values.

    Returns:
        The interval; too long where the two have random numbers in common.
    """
    middle = second[0] - first[0] if difference is None else difference
    squares = [error**2 for _, error, _ in (first, second)]
    spread = sum(square**2 / (count - 1) for square, (_, _, count) in zip(squares, (first, second), strict=True))
    freedom = sum(squares) ** 2 / spread if spread > 0 else math.inf
    half = _quantile(freedom) * math.sqrt(sum(squares))
    return Interval(middle, middle - half, middle + half)


def bounded(first: tuple[float, float, float], second: tuple[float, float, float]) -> Interval:
    """Return the differences that two numbers known to lie between bounds can have; no statement of 95 %.

    Args:
        first: Value, lower and upper bound.
        second: The same.

    Returns:
        The interval.
    """
    return Interval(second[0] - first[0], second[1] - first[2], second[2] - first[1])


def _quantile(freedom: float) -> float:
    share = 0.5 + LEVEL / 2
    return float(ndtri(share) if math.isinf(freedom) else stdtrit(freedom, share))
