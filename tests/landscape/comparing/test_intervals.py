"""Intervals of a difference: those of scipy's tests, and they cover the known difference of two quadratics.

The samples are drawn from the closed forms z.Hz of trace and average sharpness, with numpy and without the code that
measures; that measured samples are of that form, `test_comparison.py` sees.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from landscape.comparing.intervals import Interval, bounded, independent, paired

SEEDS = 2000
# 4 standard deviations of the share of 2,000 independent intervals that cover, where each does in 95 % of cases.
SPREAD = 4 * math.sqrt(0.95 * 0.05 / SEEDS)
D = 100


def estimate(samples: np.ndarray) -> tuple[float, float, float]:
    return float(samples.mean()), float(samples.std(ddof=1) / math.sqrt(len(samples))), float(len(samples))


@pytest.fixture(scope="module")
def hessians() -> tuple[np.ndarray, np.ndarray]:
    """Two networks that are much alike: H, and H with each eigenvalue a little higher or lower, turned a little."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((D, D)))[0]
    eigenvalues = rng.uniform(1, 3, D)
    first = basis.T * eigenvalues @ basis
    second = basis.T * (eigenvalues * rng.uniform(0.95, 1.1, D)) @ basis
    return first, second


@pytest.mark.parametrize("probe", ["signs", "normal"])
def test_intervals_cover_the_difference_and_paired_ones_are_much_shorter(
    hessians: tuple[np.ndarray, np.ndarray], probe: str
) -> None:
    rng = np.random.default_rng(1)
    truth = float(np.trace(hessians[1]) - np.trace(hessians[0]))
    covered, lengths = np.zeros((SEEDS, 2), dtype=bool), np.zeros((SEEDS, 2))
    for seed in range(SEEDS):
        draws = rng.standard_normal((2, 30, D))
        if probe == "signs":
            draws = np.sign(draws)
        same = [(draws[0] @ hessian * draws[0]).sum(1) for hessian in hessians]
        other = (draws[1] @ hessians[1] * draws[1]).sum(1)
        found = paired(*same), independent(estimate(same[0]), estimate(other))
        covered[seed] = [interval.low <= truth <= interval.high for interval in found]
        lengths[seed] = [interval.high - interval.low for interval in found]
    assert covered.mean(0) == pytest.approx([0.95, 0.95], abs=SPREAD)
    # H differs by some 5 %, and so do their samples: pairs leave about a tenth of the spread
    assert lengths[:, 0].mean() < lengths[:, 1].mean() / 5


def test_pairs_that_have_nothing_in_common_are_not_too_short() -> None:
    rng = np.random.default_rng(2)
    covered = [(found := paired(rng.normal(0, 1, 8), rng.normal(1, 3, 8))).low <= 1 <= found.high for _ in range(SEEDS)]
    assert np.mean(covered) == pytest.approx(0.95, abs=SPREAD)


def test_they_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, 12), rng.normal(0.3, 2, 12)
    found, expected = paired(first, second), stats.ttest_rel(second, first).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], rel=1e-10)
    longer = rng.normal(0.3, 2, 30)
    expected = stats.ttest_ind(longer, first, equal_var=False).confidence_interval(0.95)
    found = independent(estimate(first), estimate(longer))
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], rel=1e-10)
    assert found.difference == pytest.approx(longer.mean() - first.mean())


def test_without_a_number_of_samples_it_is_the_normal_interval() -> None:
    found = independent((1.0, 0.3, math.inf), (3.0, 0.4, math.inf))
    assert [found.low, found.high] == pytest.approx([2 - 1.959964 * 0.5, 2 + 1.959964 * 0.5], rel=1e-6)
    assert independent((1.0, 0.0, 5.0), (3.0, 0.0, 5.0)) == Interval(2.0, 2.0, 2.0)


def test_a_weighted_difference_keeps_its_middle() -> None:
    found = paired(np.array([0.0, 0.0]), np.array([1.0, 3.0]), 1.5)
    assert (found.low + found.high) / 2 == found.difference == 1.5


def test_bounds_give_all_differences_they_allow() -> None:
    assert bounded((5.0, 4.5, 5.5), (7.0, 6.0, 8.0)) == Interval(2.0, 0.5, 3.5)
    assert bounded((5.0, 4.5, 5.5), (7.0, 6.0, math.inf)).high == math.inf


def test_no_interval_is_known_as_such() -> None:
    assert not Interval(1.0).is_known
    assert Interval(1.0, 0.5, math.inf).is_known
