"""How large an effect is beside its spread over seeds, and how large one must be to be seen with so many seeds.

All for paired differences that are independent and normal, as the t interval assumes. Right when the interval of the
effect size covers the truth as often as it says, and a planted effect of the detectable size is found as often as the
power says, in simulations (`tests/analysis/claims/test_power.py`). Costs a search for a root.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import optimize, special

from analysis.claims.statistics import CONFIDENCE, Array, Interval, checked, upper_quantile

# The usual one (Cohen 1988): an effect of the detectable size is missed in one study of five.
POWER = 0.8
# Seeds beyond which nobody goes on: such an effect is called too small to be settled.
MAX_SEEDS = 10_000
# A t beyond which only the uncertainty of the standard deviation counts, to 1e-5.
LARGE_T = 1e3


def effect_size(values: Array, confidence: float = CONFIDENCE) -> Interval:
    """Estimate mean / standard deviation of paired differences: Hedges' g, with the interval of the noncentral t.

    Args:
        values: Differences [N], finite.
        confidence: Share of intervals that cover the truth, in (0, 1).

    Returns:
        g, without the bias of the plain ratio; NaN throughout where N < 3 or they do not vary: of two numbers the
        ratio has no mean, so that nothing is without bias.

    Raises:
        ValueError: Not one axis, a number that is not finite, or confidence out of range.

    Example:
        >>> found = effect_size(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
        >>> f"{found.estimate:.2f} in {found.low:.2f} to {found.high:.2f}"
        '1.51 in 0.33 to 3.41'

    References:
        Hedges, Distribution theory for Glass's estimator of effect size, J. Educ. Statist. 6 (1981). Steiger, Fouladi,
        Noncentrality interval estimation, in What If There Were No Significance Tests? (1997).
    """
    values, quantile = checked(values), upper_quantile(confidence)
    count = len(values)
    if count < 3 or np.ptp(values) == 0:
        return Interval(math.nan, math.nan, math.nan)
    plain = float(values.mean() / values.std(ddof=1))
    t = plain * math.sqrt(count)
    # where the t that was seen is the upper, or lower, quantile of the noncentral t
    low, high = (_noncentrality(t, count - 1, share) / math.sqrt(count) for share in (quantile, 1 - quantile))
    return Interval(plain * _unbiased(count - 1), low, high)


def detectable(count: int, power: float = POWER, confidence: float = CONFIDENCE) -> float:
    """Return the smallest mean / standard deviation that the t interval of N pairs tells from zero with this power.

    Args:
        count: N, the number of pairs.
        power: Share of studies that find it, in (0, 1).
        confidence: Of the interval, in (0, 1).

    Returns:
        In standard deviations of the differences; inf where N < 2.

    Raises:
        ValueError: Power or confidence out of range.

    Example:
        >>> f"{detectable(5):.2f} {detectable(20):.2f}"
        '1.68 0.66'

    References:
        Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), ch. 2.
    """
    if not 0 < power < 1:
        raise ValueError(f"power must lie between 0 and 1, got {power}; 0.8 is usual")
    return _detectable(count, power, upper_quantile(confidence))


def seeds_needed(size: float, power: float = POWER, confidence: float = CONFIDENCE) -> int | None:
    """Return how many pairs tell an effect of this size from zero with this power.

    Args:
        size: Mean / standard deviation of the differences, of either sign.
        power: Share of studies that find it, in (0, 1).
        confidence: Of the interval, in (0, 1).

    Returns:
        At least 2; None where it would be more than 10,000, or the size is NaN.

    Raises:
        ValueError: Power or confidence out of range.

    Example:
        >>> seeds_needed(1.7), seeds_needed(-0.67), seeds_needed(0.0)
        (5, 20, None)
    """
    if not abs(size) >= detectable(MAX_SEEDS, power, confidence):
        return None
    few, enough = 1, MAX_SEEDS
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if detectable(middle, power, confidence) <= abs(size) else (middle, enough)
    return enough


@functools.lru_cache(maxsize=1024)  # a search for the number of seeds asks for the same counts again and again
def _detectable(count: int, power: float, quantile: float) -> float:
    if count < 2:
        return math.inf
    critical = float(special.stdtrit(count - 1, quantile))
    return _noncentrality(critical, count - 1, 1 - power) / math.sqrt(count)


def _noncentrality(t: float, degrees: int, share: float) -> float:
    """Return the noncentrality at which a share of the noncentral t lies below t."""
    if abs(t) > LARGE_T:  # only the standard deviation is then uncertain, and t * s / sigma is the noncentrality
        tail = 1 - share if t > 0 else share
        return t * _deviation(tail, degrees)
    # t = (z + noncentrality) / v with z normal and v^2 a mean of squares: beyond these ends the share is below 1e-4
    ends = [t * _deviation(tail, degrees) for tail in (1e-5, 1 - 1e-5)]
    low, high = min(ends) - 4, max(ends) + 4
    # scipy.special has the same distribution as scipy.stats without its checks, which took most of the time
    return float(optimize.brentq(lambda nc: float(special.nctdtr(degrees, nc, t)) - share, low, high, xtol=1e-10))


def _deviation(share: float, degrees: int) -> float:
    """Return what a share of standard deviations lies below, in units of the true one."""
    return math.sqrt(2 * float(special.gammaincinv(degrees / 2, share)) / degrees)


def _unbiased(degrees: int) -> float:
    """Return the factor that makes mean / standard deviation unbiased."""
    return math.exp(special.gammaln(degrees / 2) - special.gammaln((degrees - 1) / 2)) / math.sqrt(degrees / 2)
