"""Excess kurtosis with its standard error: 0 for Gaussian numbers, above for heavier tails.

It is the fourth moment that decides, so that under really heavy tails, where that does not exist, it grows with the
number of samples and its error says nothing: a tail index (`analysis.noise.tail_index`) does not suffer from that.

Proved right by scipy's unbiased estimate, and by standard errors that are the scatter over hundreds of resamplings
(`tests/analysis/noise/test_kurtosis.py`). Cost: a few passes over the numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def excess_kurtosis(values: Array) -> tuple[float, float]:
    """Estimate the excess kurtosis of some columns of numbers, averaged over the columns.

    Args:
        values: [n, columns], n >= 5. Rows are independent, columns need not be.

    Returns:
        The estimate, exactly unbiased for Gaussian numbers, and its standard error by the jackknife over rows. Columns
        that are constant are left out, also where they become so without some row; both numbers are NaN where no
        column is left, or a number is not finite.

    Example:
        >>> value, error = excess_kurtosis(np.linspace(-1, 1, 1001)[:, None])
        >>> round(value, 2), round(error, 2)  # uniform numbers: -6/5
        (-1.2, 0.04)

    References:
        Joanes and Gill, Comparing measures of sample skewness and kurtosis (1998): G2.
    """
    if not np.isfinite(values).all():
        return math.nan, math.nan
    varied = values[:, values.max(0) > values.min(0)]
    n, count = varied.shape
    if not count:
        return math.nan, math.nan
    deviations = varied - varied.mean(0)
    deviations = deviations / np.abs(deviations).max(0)  # so that no power of them over- or underflows
    powers = [deviations**power for power in (1, 2, 3, 4)]
    sums = [power.sum(0) for power in powers]
    without = _mean_of_columns([total - power for total, power in zip(sums, powers, strict=True)], n - 1)  # [n]
    error = math.sqrt((n - 1) / n) * np.linalg.norm(without - without.mean())
    return float(_mean_of_columns(sums, n)), float(error)


def _mean_of_columns(sums: list[Array], n: int) -> Array:
    """Return the mean over columns of G2, from sums [..., columns] of the first four powers of n numbers."""
    mean, second, third, fourth = (total / n for total in sums)
    variance = second - mean**2
    is_varied = variance > 1e-12  # their largest is about 1
    moment = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
    biased = moment / np.where(is_varied, variance, 1.0) ** 2 - 3
    unbiased = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * biased + 6)
    count = is_varied.sum(-1)
    total = np.where(is_varied, unbiased, 0.0).sum(-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
