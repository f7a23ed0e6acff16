"""How many seeds would settle a criterion: the study that goes on, simulated from what has been seen so far.

The seeds at hand stay and new ones are added; the truth is taken to be what has been estimated. The number proposed is
the smallest at which four in five of such studies end with the whole interval of the next look on the estimate's side
of the bound. Only sums and sums of squares are drawn, not runs, so a thousand further seeds cost what one costs.

The proposal is as unsure as the estimates it rests on. The range beside it has the spread of the differences (for a
spread, the correlation of the pairs) at the two ends of its 80 % interval, with the estimate itself held fixed: were it
let go, every unsettled study could need any number. Right when studies that go on from given runs settle in four of
five cases at the number proposed (`tests/analysis/claims/test_further.py`). Cost: about 10 ms.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from analysis.claims.power import MAX_SEEDS, POWER
from analysis.claims.statistics import Array, checked, checked_pair, upper_quantile

# Studies drawn for each number of seeds: the share that settle is then known to 0.6 %.
DRAWS = 4000
# Of the range: as many in a hundred as the power, so that number and range are read alike. Our choice.
RANGE = 0.8
_RANGE_SHARES = ((1 - RANGE) / 2, (1 + RANGE) / 2)


@dataclass(frozen=True)
class Needed:
    """Seeds in all, the present ones among them, that settle a criterion in four of five studies.

    Args:
        total: inf for more than 10,000; NaN where nothing is known.
        low: With the spread at the favorable end of its 80 % interval.
        high: At the other end.
    """

    total: float = math.nan
    low: float = math.nan
    high: float = math.nan


def seeds_for_mean(values: Array, bound: float, confidence: float, power: float = POWER) -> Needed:
    """Propose how many seeds would show on which side of a bound a mean lies.

    Args:
        values: Differences of pairs at hand [N], finite.
        bound: In their unit.
        confidence: Of the interval of the next look, in (0, 1).
        power: Share of studies that settle, in (0, 1).

    Returns:
        More than N; NaN throughout where N < 2 or they do not vary.

    Raises:
        ValueError: As `checked`, or confidence out of range.

    Example:
        >>> found = seeds_for_mean(np.array([0.3, -0.4, 1.1, 0.5, -0.5]), 0.0, 0.95)
        >>> found.low < found.total < found.high
        True
    """
    values, quantile = checked(values), upper_quantile(confidence)
    count = len(values)
    if count < 2 or np.ptp(values) == 0:
        return Needed()
    distance, squares = abs(float(values.mean()) - bound), float(((values - values.mean()) ** 2).sum())
    spread = math.sqrt(squares / (count - 1))

    def settle(total: int, true_spread: float) -> float:
        shift, scatter = _go_on(np.array([[squares]]), np.array([[true_spread]]), count, total)
        mean = distance + math.sqrt(total - count) / total * shift[:, 0]
        deviation = np.sqrt(scatter[:, 0, 0] / (total - 1))
        return float(np.mean(mean * math.sqrt(total) > special.stdtrit(total - 1, quantile) * deviation))

    ends = (math.sqrt((count - 1) / stats.chi2.ppf(share, count - 1)) for share in _RANGE_SHARES[::-1])
    return _needed(settle, count, [spread, *(spread * end for end in ends)], power)


def seeds_for_spread(treatment: Array, control: Array, bound: float, confidence: float, power: float = POWER) -> Needed:
    """Propose how many seeds would show on which side of a bound a ratio of standard deviations lies.

    Args:
        treatment: Numbers at hand [N], finite.
        control: Their partners [N].
        bound: Of std(treatment) / std(control), above 0.
        confidence: Of the interval of the next look, in (0, 1).
        power: Share of studies that settle, in (0, 1).

    Returns:
        More than N; NaN throughout where N < 3, or one side does not vary or follows the other exactly.

    Raises:
        ValueError: As `checked_pair`, or confidence out of range.
    """
    treatment, control = checked_pair(treatment, control)
    quantile, count = upper_quantile(confidence), len(treatment)
    if count < 3 or np.ptp(treatment) == 0 or np.ptp(control) == 0:
        return Needed()
    scaled = np.stack([treatment / bound, control])
    scatter = np.cov(scaled) * (count - 1)  # [2, 2]
    deviations = np.sqrt(np.diag(scatter) / (count - 1))
    correlation = float(scatter[0, 1] / math.sqrt(scatter[0, 0] * scatter[1, 1]))
    if not abs(correlation) < 1 - 1e-12:
        return Needed()
    sign = 1.0 if deviations[0] > deviations[1] else -1.0

    def settle(total: int, true_correlation: float) -> float:
        root = deviations[:, None] * np.linalg.cholesky(np.array([[1, true_correlation], [true_correlation, 1]]))
        _, whole = _go_on(scatter, root, count, total)
        along, across = whole[:, 0, 0], whole[:, 1, 1]
        # sum and difference of the scaled pairs are uncorrelated where the ratio is the bound (Pitman, Morgan)
        sums, differences = along + across + 2 * whole[:, 0, 1], along + across - 2 * whole[:, 0, 1]
        seen = sign * (along - across) / np.sqrt(sums * differences)
        critical = special.stdtrit(total - 2, quantile)
        return float(np.mean(seen > critical / math.sqrt(total - 2 + critical**2)))

    half = float(stats.norm.ppf(_RANGE_SHARES[1])) / math.sqrt(max(count - 3, 1))
    ends = (math.tanh(math.atanh(correlation) + step) for step in (half, -half))
    return _needed(settle, count, [correlation, *ends], power)


def _go_on(scatter: Array, root: Array, count: int, total: int) -> tuple[Array, Array]:
    """Draw what new seeds make of the squares and products around the mean of those at hand.

    Args:
        scatter: Of those at hand [D, D].
        root: Cholesky factor of the covariance of new ones [D, D], whose mean is that of those at hand.
        count: Seeds at hand.
        total: Seeds in all, more.

    Returns:
        Mean of the new ones from that of those at hand, times the root of their number [draw, D]; scatter of all
        [draw, D, D].
    """
    generator, size = np.random.default_rng(0), len(root)
    shift = generator.standard_normal((DRAWS, size)) @ root.T
    triangle, degrees = np.zeros((DRAWS, size, size)), total - count - 1
    for row in range(min(size, degrees)):  # the scatter of the new ones by Bartlett's decomposition
        triangle[:, row, row] = np.sqrt(generator.chisquare(degrees - row, DRAWS))
        triangle[:, row + 1 :, row] = generator.standard_normal((DRAWS, size - row - 1))
    factors = root @ triangle
    between = count / total * shift[:, :, None] * shift[:, None, :]
    whole: Array = scatter + factors @ factors.transpose(0, 2, 1) + between
    return shift, whole


def _needed(settle: Callable[[int, float], float], count: int, nuisances: list[float], power: float) -> Needed:
    """Search the number of seeds at each value of what is not known, and sort the ends of the range."""
    total, *ends = (_smallest(functools.partial(_is_enough, settle, nuisance, power), count) for nuisance in nuisances)
    return Needed(total, min(total, *ends), max(total, *ends))


def _is_enough(settle: Callable[[int, float], float], nuisance: float, power: float, total: int) -> bool:
    return settle(total, nuisance) >= power


def _smallest(is_enough: Callable[[int], bool], count: int) -> float:
    """Return the smallest number of seeds above the present one that is enough; inf beyond 10,000."""
    few, more = count, 1
    while not is_enough(count + more):
        if count + more >= MAX_SEEDS:
            return math.inf
        few, more = count + more, min(2 * more, MAX_SEEDS - count)
    enough = count + more
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if is_enough(middle) else (middle, enough)
    return float(enough)
