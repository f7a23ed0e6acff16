"""Estimates over seeds with their intervals: paired means, ratios of spread, rank correlation.

Each takes finite numbers and returns an estimate with a two-sided interval; none knows what the numbers mean.
Right when an interval equals the textbook's, and covers the truth as often as it says in simulations
(`tests/analysis/claims/test_statistics.py`). The bootstrap sorts `resamples` times; the rest is a formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

Array = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]

# The usual level of the SAM papers (arXiv 2010.01412, table 1: 95 % intervals over 5 seeds).
CONFIDENCE = 0.95

# Numbers that differ by less, relative to the largest, differ by the rounding of a sum.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval; NaN where too few numbers give none."""

    estimate: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Return whether the value lies outside; False where there is no interval."""
        return self.low > value or self.high < value


def mean_interval(values: Array, confidence: float = CONFIDENCE) -> Interval:
    """Estimate a mean by Student's t, for example of differences between paired runs.

    Exact for independent normal numbers; with five of them, mild skewness is tolerated.

    Args:
        values: Numbers [N], finite.
        confidence: Share of intervals that cover the truth, in (0, 1).

    Returns:
        The mean; without numbers NaN, and without ends where N < 2.

    Raises:
        ValueError: Not one axis, a number that is not finite, or confidence out of range.

    Example:
        >>> found = mean_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
        >>> f"{found.estimate:.0f} in {found.low:.3f} to {found.high:.3f}"  # 3 -+ 2.776 * sqrt(2.5 / 5)
        '3 in 1.037 to 4.963'
    """
    values, quantile = checked(values), upper_quantile(confidence)
    count = len(values)
    if count < 2:
        return Interval(float(values[0]) if count else math.nan, math.nan, math.nan)
    mean = float(values.mean())
    half = float(special.stdtrit(count - 1, quantile) * values.std(ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(
    values: Array, *, resamples: int = 9999, seed: int = 0, confidence: float = CONFIDENCE
) -> Interval:
    """Estimate a mean by the bias-corrected and accelerated bootstrap, which assumes no distribution.

    Beside the t interval it shows what the assumption of normal numbers does. With five numbers it is too short: it
    covers about 85 % (`test_statistics.py` counts it), so that it decides nothing here.

    Args:
        values: Numbers [N], finite.
        resamples: Bootstrap samples. 9999 is scipy's choice.
        seed: Of the bootstrap.
        confidence: Share of intervals that cover the truth where N is large, in (0, 1).

    Returns:
        The mean; without ends where N < 2; numbers equal up to rounding have an interval of no width.

    Raises:
        ValueError: Not one axis, a number that is not finite, or resamples or confidence out of range.

    References:
        Efron, Better bootstrap confidence intervals, J. Am. Stat. Assoc. 82 (1987).
    """
    values = checked(values)
    upper_quantile(confidence)
    _check_resamples(resamples)
    if len(values) < 2:
        return Interval(float(values[0]) if len(values) else math.nan, math.nan, math.nan)
    mean = float(values.mean())
    if np.ptp(values) <= ROUNDING * np.abs(values).max():
        return Interval(mean, mean, mean)
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="BCa",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def spread_ratio(treatment: Array, control: Array, confidence: float = CONFIDENCE) -> Interval:
    """Estimate the ratio of two standard deviations from paired numbers.

    The Pitman-Morgan interval: at the true ratio, the sum and the difference of the scaled numbers are uncorrelated.
    Unlike the F interval it allows for the correlation of pairs. Exact for bivariate normal numbers; sensitive to
    heavy tails, as every interval for a spread is.

    Args:
        treatment: Numbers [N], finite.
        control: Their partners [N], finite.
        confidence: Share of intervals that cover the truth, in (0, 1).

    Returns:
        std(treatment) / std(control), always positive; NaN throughout where one of them does not vary, and without
        ends where N < 3.

    Raises:
        ValueError: Lengths differ, a number that is not finite, or confidence out of range.

    Example:
        >>> spread_ratio(np.array([2.0, 4.0, 0.0, 6.0]), np.array([1.0, 2.0, 0.0, 3.0]))  # exactly twice as wide
        Interval(estimate=2.0, low=2.0, high=2.0)

    References:
        Pitman, A note on normal correlation, Biometrika 31 (1939). Morgan, Biometrika 31 (1939).
    """
    treatment, control = checked_pair(treatment, control)
    quantile, count = upper_quantile(confidence), len(treatment)
    if count < 2 or np.ptp(treatment) == 0 or np.ptp(control) == 0:
        return Interval(math.nan, math.nan, math.nan)
    ratio = float(treatment.std(ddof=1) / control.std(ddof=1))
    if count < 3:
        return Interval(ratio, math.nan, math.nan)
    correlation = float(np.corrcoef(treatment, control)[0, 1])
    t = float(special.stdtrit(count - 2, quantile))
    k = 1 + 2 * max(1 - correlation**2, 0.0) * t**2 / (count - 2)
    factor = math.sqrt(k + math.sqrt(k**2 - 1))
    return Interval(ratio, ratio / factor, ratio * factor)


def rank_correlation(
    x: Array,
    y: Array,
    groups: Array | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Estimate Spearman's rank correlation with a percentile bootstrap interval.

    Ties get their mean rank. With groups, ranks are taken and centered within each group, so that a difference
    between groups does not count, and each group is resampled by itself. Runs are treated as independent, which is
    optimistic where runs share a seed.

    Args:
        x: Numbers [N], finite.
        y: Numbers [N], finite.
        groups: Label of each pair [N]; None is one group.
        resamples: Bootstrap samples. 2000 is our choice: the ends then repeat to about 0.02 between seeds.
        seed: Of the bootstrap.
        confidence: Share of resampled correlations between the ends, in (0, 1).

    Returns:
        The correlation in [-1, 1]; NaN throughout where there are fewer than 3 pairs or one side does not vary.

    Raises:
        ValueError: Lengths differ, a number that is not finite, or resamples or confidence out of range.

    Example:
        >>> x = np.array([1.0, 2.0, 3.0, 4.0])
        >>> rank_correlation(x, x**3)
        Interval(estimate=1.0, low=1.0, high=1.0)

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    x, y = checked_pair(x, y)
    quantile = upper_quantile(confidence)
    _check_resamples(resamples)
    members = grouped(x, groups)
    estimate = float(rank_correlations(x[None], y[None], members)[0])
    if len(x) < 3 or math.isnan(estimate):
        return Interval(math.nan, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(x)), dtype=int)
    for group in members:
        drawn[:, group] = generator.choice(group, (resamples, len(group)))
    correlations = rank_correlations(x[drawn], y[drawn], members)
    correlations = correlations[np.isfinite(correlations)]  # a resample that does not vary has none
    if not correlations.size:
        return Interval(estimate, math.nan, math.nan)
    return Interval(estimate, *(float(end) for end in np.quantile(correlations, [1 - quantile, quantile])))


def grouped(x: Array, groups: Array | None) -> list[Indices]:
    """Return the positions of the members of each group; all in one where there are no groups.

    Args:
        x: Numbers [N].
        groups: Label of each [N], or None.
    """
    labels = np.zeros(len(x)) if groups is None else np.asarray(groups)
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def rank_correlations(x: Array, y: Array, members: list[Indices]) -> Array:
    """Correlate the ranks of each row, centered within groups.

    Args:
        x: Numbers [R, N].
        y: Their partners [R, N].
        members: Positions of each group.

    Returns:
        [R]; NaN where one side does not vary.
    """
    ranks_x, ranks_y = np.zeros_like(x), np.zeros_like(y)
    for group in members:
        for values, ranks in ((x, ranks_x), (y, ranks_y)):
            within = stats.rankdata(values[:, group], axis=1)
            ranks[:, group] = within - within.mean(axis=1, keepdims=True)
    scale = np.sqrt((ranks_x**2).sum(1) * (ranks_y**2).sum(1))
    product = (ranks_x * ranks_y).sum(1)
    # Ranks are halves of whole numbers, so nothing rounds and no quotient exceeds 1.
    result: Array = np.divide(product, scale, out=np.full(len(x), np.nan), where=scale > 0)
    return result


def upper_quantile(confidence: float) -> float:
    """Return the share below the upper end of a two-sided interval.

    Args:
        confidence: Share within it.

    Returns:
        (1 + confidence) / 2.

    Raises:
        ValueError: It is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}; 0.95 is usual")
    return (1 + confidence) / 2


def checked(values: Array) -> Array:
    """Return numbers in float64, or refuse them.

    Args:
        values: Numbers [N].

    Returns:
        The same.

    Raises:
        ValueError: Not one axis, or a number that is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
            f"values must be finite numbers along one axis, got {values.tolist()}; leave out what was not measured"
        )
    return values


def _check_resamples(resamples: int) -> None:
    if not resamples >= 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}; 2000 is usual")


def checked_pair(a: Array, b: Array) -> tuple[Array, Array]:
    """Return pairs in float64, or refuse them.

    Args:
        a: Numbers [N].
        b: Their partners [N].

    Returns:
        The same.

    Raises:
        ValueError: Lengths differ, or as `checked`.
    """
    a, b = checked(a), checked(b)
    if len(a) != len(b):
        raise ValueError(f"pairs need equal lengths, got {len(a)} and {len(b)}")
    return a, b
