"""p values of the comparisons, and what they become when many comparisons are made.

Each is of the test that the comparison's interval inverts, so that p < 0.05 where the 95 % interval excludes no effect;
the rank correlation, whose interval is a bootstrap, is permuted. Right when p values are uniform where there is no
effect, and Holm's rule names a false effect in at most 5 % of studies
(`tests/analysis/claims/test_p_values.py`). Costs the permutations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from analysis.claims.statistics import Array, checked, checked_pair, grouped, rank_correlations

# The smallest p value is then 1 / 2000, which 40 comparisons leave at 0.02. Our choice.
PERMUTATIONS = 1999


def mean_p_value(values: Array, no_effect: float = 0.0) -> float:
    """Return the p value of Student's test that the mean is `no_effect`.

    Args:
        values: Numbers [N], finite.
        no_effect: The mean that is tested.

    Returns:
        In [0, 1]; NaN where N < 2 or they do not vary.

    Raises:
        ValueError: Not one axis, or a number that is not finite.
    """
    values = checked(values)
    if len(values) < 2 or np.ptp(values) == 0:
        return math.nan
    t = float(values.mean() - no_effect) * math.sqrt(len(values)) / float(values.std(ddof=1))
    return float(2 * stats.t.sf(abs(t), len(values) - 1))


def spread_p_value(treatment: Array, control: Array) -> float:
    """Return the p value of the Pitman-Morgan test that two paired samples have the same standard deviation.

    Args:
        treatment: Numbers [N], finite.
        control: Their partners [N], finite.

    Returns:
        In [0, 1]; NaN where N < 3, or sum or difference of the pairs does not vary.

    Raises:
        ValueError: Lengths differ, or a number that is not finite.

    References:
        Pitman, Biometrika 31 (1939). Morgan, Biometrika 31 (1939).
    """
    treatment, control = checked_pair(treatment, control)
    total, difference = treatment + control, treatment - control
    if len(total) < 3 or np.ptp(total) == 0 or np.ptp(difference) == 0:
        return math.nan
    return float(stats.pearsonr(total, difference).pvalue)


def rank_p_value(
    x: Array, y: Array, groups: Array | None = None, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """Return the p value of no rank correlation, by permuting y, within each group where there are groups.

    Args:
        x: Numbers [N], finite.
        y: Numbers [N], finite.
        groups: Label of each pair [N]; None is one group.
        permutations: How many; the p value is at least 1 / (permutations + 1).
        seed: Of the permutations.

    Returns:
        In (0, 1], two-sided; NaN where N < 3 or one side does not vary.

    Raises:
        ValueError: Lengths differ, or a number that is not finite.

    References:
        Phipson, Smyth, Permutation p-values should never be zero, Stat. Appl. Genet. Mol. Biol. 9 (2010).
    """
    x, y = checked_pair(x, y)
    members = grouped(x, groups)
    seen = float(rank_correlations(x[None], y[None], members)[0])
    if len(x) < 3 or math.isnan(seen):
        return math.nan
    generator = np.random.default_rng(seed)
    order = np.empty((permutations, len(x)), dtype=int)
    for group in members:
        order[:, group] = generator.permuted(np.tile(group, (permutations, 1)), axis=1)
    drawn = rank_correlations(np.broadcast_to(x, order.shape), y[order], members)
    # equal correlations may differ by rounding, and must count as equal
    return float(1 + np.sum(np.abs(drawn) >= abs(seen) - 1e-12)) / (permutations + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm's rule: below 0.05 in a study without effects in at most 5 % of studies.

    Args:
        p_values: In [0, 1]; NaN where no test was made, which does not count as one.

    Returns:
        In the same order, NaN for NaN, none below what was given.

    Example:
        >>> holm([0.04, 0.01, float("nan"), 0.03])
        [0.06, 0.03, nan, 0.06]

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(given), np.nan)
    order = np.argsort(given)[: int(np.isfinite(given).sum())]  # NaN comes last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * given[order]), 1.0)
    return [float(value) for value in adjusted]
