"""Intervals against textbook numbers, scipy's tests turned round, and simulations that count how often they cover.

The simulations are blind to a coverage that is wrong by less than their own four standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from analysis.claims import Interval, bootstrap_interval, mean_interval, rank_correlation, spread_ratio

PAIR = (np.array([0.3, 1.7, -0.4, 2.2, 0.9, -1.1]), np.array([0.1, 0.6, 0.2, 0.9, -0.3, -0.5]))


def coverage_is_right(covered: int, trials: int, nominal: float) -> bool:
    """Whether a count is within four binomial standard errors of the nominal coverage."""
    return abs(covered / trials - nominal) < 4 * math.sqrt(nominal * (1 - nominal) / trials)


class TestMean:
    def test_by_hand(self) -> None:
        """Mean 0.02; squares sum to 2e-4 * 0.5; t(0.975, 4) = 2.776445 from a printed table of 7 digits."""
        found = mean_interval(np.array([0.01, 0.02, 0.03, 0.02, 0.02]))
        standard_error = math.sqrt(2e-4 / 4 / 5)
        assert found.estimate == pytest.approx(0.02, rel=1e-12)
        assert found.low == pytest.approx(0.02 - 2.776445 * standard_error, rel=1e-6)
        assert found.high == pytest.approx(0.02 + 2.776445 * standard_error, rel=1e-6)

    def test_confidence_widens(self) -> None:
        """t(0.995, 4) = 4.604095."""
        found = mean_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), confidence=0.99)
        assert found.high == pytest.approx(3 + 4.604095 * math.sqrt(0.5), rel=1e-6)

    @pytest.mark.parametrize("confidence", [0.95, 0.8])
    def test_covers_as_often_as_it_says(self, confidence: float) -> None:
        """Fails if a normal quantile stands for Student's: five numbers then cover 87.8 %."""
        samples = np.random.default_rng(1).normal(3.0, 2.0, (4000, 5))
        covered = sum(not mean_interval(sample, confidence).excludes(3.0) for sample in samples)
        assert coverage_is_right(covered, 4000, confidence)

    def test_equal_numbers_have_no_width(self) -> None:
        assert mean_interval(np.zeros(5)) == Interval(0.0, 0.0, 0.0)

    @pytest.mark.parametrize(("values", "estimate"), [([], math.nan), ([2.0], 2.0)])
    def test_too_few_numbers_give_no_interval(self, values: list[float], estimate: float) -> None:
        found = mean_interval(np.array(values))
        assert found.estimate == pytest.approx(estimate, nan_ok=True)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert not found.excludes(0.0)


class TestBootstrap:
    def test_is_scipys(self) -> None:
        values = np.random.default_rng(11).exponential(size=9)
        rng = np.random.default_rng(3)
        expected = stats.bootstrap(
            (values,), np.mean, n_resamples=500, confidence_level=0.9, method="BCa", random_state=rng
        ).confidence_interval
        found = bootstrap_interval(values, resamples=500, seed=3, confidence=0.9)
        assert found.estimate == values.mean()
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)

    def test_is_skewed_where_the_numbers_are(self) -> None:
        found = bootstrap_interval(np.array([0.0, 0.1, 0.2, 0.3, 0.2, 0.1, 5.0, 0.0]))
        assert found.high - found.estimate > 1.5 * (found.estimate - found.low)

    def test_five_numbers_are_covered_too_seldom(self) -> None:
        """The share that the docstring gives, within 4 binomial errors of 400 samples."""
        samples = np.random.default_rng(9).normal(1.0, 2.0, (400, 5))
        covered = sum(not bootstrap_interval(sample, resamples=500).excludes(1.0) for sample in samples)
        assert coverage_is_right(covered, 400, 0.85)

    def test_too_few_or_equal_numbers(self) -> None:
        assert bootstrap_interval(np.full(5, 2.0)) == Interval(2.0, 2.0, 2.0)
        single = bootstrap_interval(np.array([2.0]))
        assert single.estimate == 2.0
        assert math.isnan(single.low)
        assert math.isnan(bootstrap_interval(np.array([])).estimate)

    def test_numbers_that_differ_by_rounding(self) -> None:
        found = bootstrap_interval(np.array([0.1, 0.1, 0.1, np.nextafter(0.1, 1), np.nextafter(0.1, 1)]))
        assert found.low <= found.estimate <= found.high

    def test_no_resamples(self) -> None:
        with pytest.raises(ValueError, match="resamples must be at least 1, got 0; 2000 is usual"):
            bootstrap_interval(PAIR[0], resamples=0)


class TestSpread:
    @pytest.mark.parametrize("confidence", [0.95, 0.7])
    def test_the_ends_are_where_morgans_test_has_that_p_value(self, confidence: float) -> None:
        """At a ratio of the spreads, x / ratio + y and x / ratio - y are uncorrelated: scipy's test of that."""
        x, y = PAIR
        found = spread_ratio(x, y, confidence)
        assert found.estimate == pytest.approx(np.std(x) / np.std(y), rel=1e-12)
        for end in (found.low, found.high):
            p_value = stats.pearsonr(x / end + y, x / end - y).pvalue
            assert p_value == pytest.approx(1 - confidence, rel=1e-6)  # rounding only: both are closed forms

    def test_covers_as_often_as_it_says(self) -> None:
        """Pairs correlated by 0.8, spreads in the ratio 2; an interval for independent samples would cover 99.1 %."""
        generator = np.random.default_rng(2)
        y = generator.normal(size=(4000, 6))
        x = 2 * (0.8 * y + 0.6 * generator.normal(size=(4000, 6)))
        covered = sum(not spread_ratio(a, b).excludes(2.0) for a, b in zip(x, y, strict=True))
        assert coverage_is_right(covered, 4000, 0.95)

    def test_swapping_inverts(self) -> None:
        x, y = PAIR
        one, other = spread_ratio(x, y), spread_ratio(y, x)
        assert one.low == pytest.approx(1 / other.high, rel=1e-12)

    @pytest.mark.parametrize(("x", "y"), [([1.0] * 5, [1.0, 2, 3, 4, 5]), ([1.0, 2, 3, 4, 5], [1.0] * 5), ([], [])])
    def test_no_spread_is_no_ratio(self, x: list[float], y: list[float]) -> None:
        found = spread_ratio(np.array(x), np.array(y))
        assert math.isnan(found.estimate)
        assert math.isnan(found.low)

    def test_two_pairs_give_no_interval(self) -> None:
        found = spread_ratio(np.array([0.0, 2.0]), np.array([0.0, 1.0]))
        assert found.estimate == 2.0
        assert math.isnan(found.high)


class TestRankCorrelation:
    def test_is_spearmans_with_ties(self) -> None:
        x, y = np.array([1.0, 2, 2, 3, 5, 8, 8, 9]), np.array([2.0, 1, 4, 4, 3, 9, 7, 7])
        assert rank_correlation(x, y).estimate == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_monotone_is_one_throughout(self, sign: float) -> None:
        x = np.array([0.1, 0.2, 5.0, 7.0, 100.0])
        assert rank_correlation(x, sign * np.log(x)) == Interval(sign, sign, sign)

    def test_groups_take_away_what_lies_between_them(self) -> None:
        """Within each group y falls, between them it rises (Simpson): all together positive, within exactly -1."""
        x = np.array([1.0, 2, 3, 11, 12, 13, 21, 22, 23])
        y = np.array([3.0, 2, 1, 13, 12, 11, 23, 22, 21])
        groups = np.array(["a", "a", "a", "b", "b", "b", "c", "c", "c"])
        assert rank_correlation(x, y).estimate > 0.7
        assert rank_correlation(x, y, groups) == Interval(-1.0, -1.0, -1.0)

    def test_covers_about_as_often_as_it_says(self) -> None:
        """A percentile interval of 25 pairs covers a little less than it says; 300 trials see 5 % at z = 4."""
        generator = np.random.default_rng(3)
        samples = generator.normal(size=(300, 2, 25))
        covered = sum(not rank_correlation(x, y, resamples=300).excludes(0.0) for x, y in samples)
        assert 0.90 <= covered / 300 <= 0.99

    def test_seed_and_number_of_resamples_count(self) -> None:
        x, y = np.random.default_rng(4).normal(size=(2, 30))
        assert rank_correlation(x, y, seed=1) == rank_correlation(x, y, seed=1)
        assert rank_correlation(x, y, seed=1) != rank_correlation(x, y, seed=2)
        single = rank_correlation(x, y, resamples=1)
        assert single.low == single.high

    def test_confidence_widens(self) -> None:
        x, y = PAIR
        narrow, wide = rank_correlation(x, y, confidence=0.5), rank_correlation(x, y, confidence=0.99)
        assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high

    @pytest.mark.parametrize(("x", "y"), [([], []), ([1.0, 2.0], [1.0, 2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])])
    def test_too_few_or_constant_numbers(self, x: list[float], y: list[float]) -> None:
        found = rank_correlation(np.array(x), np.array(y))
        assert math.isnan(found.estimate)
        assert math.isnan(found.low)

    def test_resamples_that_do_not_vary_give_no_interval(self) -> None:
        """Seed found by search: the one resample of these three pairs draws the first two times the tied number."""
        x, y = np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
        found = [rank_correlation(x, y, resamples=1, seed=seed) for seed in range(20)]
        assert any(math.isnan(interval.low) for interval in found)
        assert not any(math.isnan(interval.estimate) for interval in found)

    @pytest.mark.parametrize("resamples", [0, -5, math.nan])
    def test_resamples_out_of_range(self, resamples: int) -> None:
        with pytest.raises(ValueError, match=r"resamples must be at least 1, got .*; 2000 is usual"):
            rank_correlation(*PAIR, resamples=resamples)


PAIRED: list[Callable[..., Interval]] = [spread_ratio, rank_correlation]


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 95.0, math.nan])
def test_confidence_out_of_range(confidence: float) -> None:
    message = "confidence must lie between 0 and 1, got .*; 0.95 is usual"
    with pytest.raises(ValueError, match=message):
        mean_interval(PAIR[0], confidence)
    for statistic in PAIRED:
        with pytest.raises(ValueError, match=message):
            statistic(*PAIR, confidence=confidence)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_none(bad: float) -> None:
    numbers = np.array([1.0, bad, 2.0])
    message = "values must be finite numbers along one axis, got .*; leave out what was not measured"
    with pytest.raises(ValueError, match=message):
        mean_interval(numbers)
    for statistic in PAIRED:
        with pytest.raises(ValueError, match=message):
            statistic(np.zeros(3), numbers)
    with pytest.raises(ValueError, match=message):
        mean_interval(np.zeros((2, 2)))


@pytest.mark.parametrize("statistic", PAIRED)
def test_pairs_of_different_length(statistic: Callable[..., Interval]) -> None:
    with pytest.raises(ValueError, match="pairs need equal lengths, got 3 and 4"):
        statistic(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize(("value", "is_outside"), [(0.9, True), (1.0, False), (1.5, False), (2.0, False), (2.1, True)])
def test_excludes(value: float, is_outside: bool) -> None:
    assert Interval(1.5, 1.0, 2.0).excludes(value) == is_outside
