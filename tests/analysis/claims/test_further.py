"""The number of seeds proposed: studies that go on from given runs, run by run, settle as often as it says.

The oracle adds runs and takes the interval; the code draws sums of squares. For few seeds at hand and many proposed
the number is that of the noncentral t (`seeds_needed`), which knows nothing of the seeds at hand.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.claims import further
from analysis.claims.further import DRAWS, Needed, _go_on, seeds_for_mean, seeds_for_spread
from analysis.claims.power import seeds_needed
from analysis.claims.statistics import Array, mean_interval, spread_ratio

STUDIES = 1500


def settles_in_four_of_five(count: int, slack: float) -> bool:
    """Whether a count is 0.8 within four binomial errors, plus what a whole seed more and 4000 draws may add."""
    return abs(count / STUDIES - 0.8) < 4 * math.sqrt(0.16 / STUDIES) + 4 * math.sqrt(0.16 / 4000) + slack


def standardized(seed: int, shape: tuple[int, ...]) -> Array:
    """Numbers whose sample covariance is exactly the unit matrix, and whose means are zero."""
    drawn = np.atleast_2d(np.random.default_rng(seed).normal(size=shape))
    drawn -= drawn.mean(1, keepdims=True)
    return np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(drawn)))) @ drawn


@pytest.mark.parametrize(
    ("count", "distance", "bound", "slack"),
    [(5, 1.0, 0.0, 0.02), (5, -0.6, 2.0, 0.01), (12, 0.5, -1.0, 0.01)],  # of 13, 35 and 40 seeds, one adds so much
)
def test_means_settle_at_the_number_proposed(count: int, distance: float, bound: float, slack: float) -> None:
    values = 3.0 * (standardized(0, (count,))[0] + distance) + bound
    total = int(seeds_for_mean(values, bound, 0.9875).total)
    new = np.random.default_rng(1).normal(3.0 * distance + bound, 3.0, (STUDIES, total - count))
    ends = [mean_interval(np.concatenate([values, more]), 0.9875) for more in new]
    settled = sum(found.low > bound if distance > 0 else found.high < bound for found in ends)
    assert settles_in_four_of_five(settled, slack)


@pytest.mark.parametrize(
    ("count", "ratio", "correlation", "bound", "slack"),
    [(5, 0.5, 0.3, 1.0, 0.03), (6, 1.5, 0.8, 0.9, 0.03), (8, 0.7, -0.4, 1.1, 0.02)],
)
def test_spreads_settle_at_the_number_proposed(
    count: int, ratio: float, correlation: float, bound: float, slack: float
) -> None:
    covariance = np.array([[ratio**2, ratio * correlation], [ratio * correlation, 1.0]])
    pairs = np.linalg.cholesky(covariance) @ standardized(2, (2, count))
    total = int(seeds_for_spread(*pairs, bound, 0.9875).total)
    new = np.random.default_rng(3).multivariate_normal([5.0, -3.0], covariance, (STUDIES, total - count))
    seen = pairs + np.array([[5.0], [-3.0]])
    ends = [spread_ratio(*np.concatenate([seen, more.T], axis=1), 0.9875) for more in new]
    settled = sum(found.high < bound if ratio < bound else found.low > bound for found in ends)
    assert settles_in_four_of_five(settled, slack)


@pytest.mark.slow
@pytest.mark.parametrize(("truth", "share"), [(1.0, 0.84), (0.5, 0.70)])
def test_from_a_truth_that_is_not_known(truth: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many of the studies that five seeds leave open settle at the number proposed: what docs/how-to/ab.md says."""
    monkeypatch.setattr(further, "DRAWS", 400)  # quicker, and a few percent rougher
    generator, settled = np.random.default_rng(8), []
    while len(settled) < 250:
        values = generator.normal(truth, 1.0, 5)
        if not mean_interval(values, 0.975).excludes(0.0):
            total = min(seeds_for_mean(values, 0.0, 0.9875).total, 10_000)
            new = generator.normal(truth, 1.0, int(total) - 5)
            settled.append(mean_interval(np.concatenate([values, new]), 0.9875).excludes(0.0))
    assert abs(np.mean(settled) - share) < 4 * math.sqrt(share * (1 - share) / len(settled))


@pytest.mark.parametrize("distance", [0.4, -0.1, 0.04])
def test_few_at_hand_hardly_count(distance: float) -> None:
    """Within 10 %: five seeds at hand, and 0.6 % of 4000 draws, which is 1.2 % of a number of seeds."""
    values = standardized(4, (5,))[0] + distance
    assert seeds_for_mean(values, 0.0, 0.95).total == pytest.approx(seeds_needed(distance, confidence=0.95), rel=0.1)


def test_nearly_up_to_ten_thousand_and_not_beyond() -> None:
    """0.030 deviations need 8,700 seeds, 0.025 more than 10,000; equal means any number."""
    values = standardized(4, (5,))[0]
    assert 8000 < seeds_for_mean(values + 0.030, 0.0, 0.95).total < 9500
    assert seeds_for_mean(values + 0.025, 0.0, 0.95).total == math.inf
    assert seeds_for_mean(values, 0.0, 0.95) == Needed(math.inf, math.inf, math.inf)


def test_the_range_is_that_of_the_spread() -> None:
    """The ends of the 80 % interval of a deviation, by a printed table of chi^2 with 9 degrees: 4.168 and 14.684.

    The seeds needed grow with the square; ten at hand, which keep their own spread, move the ends by less than 15 %.
    """
    found = seeds_for_mean(standardized(5, (10,))[0] + 0.2, 0.0, 0.95)
    assert found.low / found.total == pytest.approx(9 / 14.684, rel=0.15)
    assert found.high / found.total == pytest.approx(9 / 4.168, rel=0.15)


def test_the_range_of_a_spread_is_that_of_the_correlation() -> None:
    """Pairs that go together more closely are compared more sharply."""
    covariance = np.array([[0.64, 0.8 * 0.6], [0.8 * 0.6, 1.0]])
    found = seeds_for_spread(*np.linalg.cholesky(covariance) @ standardized(6, (2, 20)), 1.0, 0.95)
    assert 20 < found.low < 0.85 * found.total
    assert found.high > 1.1 * found.total


def test_more_confidence_and_more_power_take_more() -> None:
    values = standardized(7, (5,))[0] + 0.5
    plain = seeds_for_mean(values, 0.0, 0.95).total
    assert seeds_for_mean(values, 0.0, 0.99).total > plain > seeds_for_mean(values, 0.0, 0.95, power=0.5).total


@pytest.mark.parametrize("more", [1, 2, 3, 10])
def test_squares_and_products_of_all_are_those_of_runs_that_are_added(more: int) -> None:
    """Mean and deviation of each, over as many draws of runs, within four errors of the difference.

    Fails if the seeds at hand, the new ones, or the distance of their means are left out.
    """
    covariance, seen = np.array([[4.0, 1.0], [1.0, 1.0]]), standardized(9, (2, 5))
    root = np.linalg.cholesky(covariance)
    shift, whole = _go_on(np.cov(seen) * 4, root, 5, 5 + more)
    new = np.random.default_rng(10).multivariate_normal([0.0, 0.0], covariance, (DRAWS, more)).transpose(0, 2, 1)
    runs = np.concatenate([np.broadcast_to(seen, (DRAWS, 2, 5)), new], axis=2)
    centered = runs - runs.mean(2, keepdims=True)
    expected = centered @ centered.transpose(0, 2, 1)
    error = np.sqrt((whole.var(0) + expected.var(0)) / DRAWS)
    assert (np.abs(whole.mean(0) - expected.mean(0)) < 4 * error).all()
    np.testing.assert_allclose(whole.std(0), expected.std(0), rtol=0.15)  # of squares of normals: 2 % each, tails more
    np.testing.assert_allclose(np.cov(shift.T), covariance, atol=4 * math.sqrt(2 * 16 / DRAWS))


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_nothing_is_known_without_spread(values: list[float]) -> None:
    found = seeds_for_mean(np.array(values), 0.0, 0.95)
    assert math.isnan(found.total)
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("treatment", "control"),
    [([1.0, 2.0], [1.0, 3.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])],
)
def test_nor_where_one_side_follows_the_other(treatment: list[float], control: list[float]) -> None:
    assert math.isnan(seeds_for_spread(np.array(treatment), np.array(control), 1.0, 0.95).total)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="values must be finite numbers along one axis"):
        seeds_for_mean(np.array([1.0, math.nan]), 0.0, 0.95)
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got nan"):
        seeds_for_mean(np.array([1.0, 2.0]), 0.0, math.nan)
