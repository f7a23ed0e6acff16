"""p values against scipy's tests, their uniformity where there is no effect, and Holm's rule by its definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.claims.p_values import holm, mean_p_value, rank_p_value, spread_p_value
from analysis.claims.statistics import mean_interval, spread_ratio
from tests.analysis.claims.test_statistics import PAIR, coverage_is_right


class TestMean:
    def test_is_scipys(self) -> None:
        expected = stats.ttest_1samp(PAIR[0], 0.4).pvalue
        assert mean_p_value(PAIR[0], 0.4) == pytest.approx(expected, rel=1e-12)

    def test_is_one_less_the_confidence_at_which_the_interval_ends_at_no_effect(self) -> None:
        """Rounding only: both are closed forms."""
        p_value = mean_p_value(PAIR[0])
        assert mean_interval(PAIR[0], 1 - p_value).low == pytest.approx(0.0, abs=1e-12)

    @pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0]])
    def test_none_without_spread(self, values: list[float]) -> None:
        assert math.isnan(mean_p_value(np.array(values)))


class TestSpread:
    def test_is_one_less_the_confidence_at_which_the_interval_ends_at_one(self) -> None:
        p_value = spread_p_value(*PAIR)
        assert spread_ratio(*PAIR, 1 - p_value).low == pytest.approx(1.0, rel=1e-9)

    def test_two_pairs_have_none(self) -> None:
        assert math.isnan(spread_p_value(np.array([0.0, 2.0]), np.array([0.0, 1.0])))
        assert math.isnan(spread_p_value(np.array([0.0, 1.0, 5.0]), np.array([0.0, 1.0, 5.0])))


class TestRank:
    def test_five_pairs_are_near_the_exact_distribution(self) -> None:
        """All 120 orders by hand; 1,999 permutations are within 4 of their binomial errors of it."""
        x, y = np.arange(5.0), np.array([1.0, 0.0, 3.0, 2.0, 4.0])
        seen = stats.spearmanr(x, y).statistic
        exact = np.mean([
            abs(stats.spearmanr(x, order).statistic) >= seen - 1e-12 for order in itertools.permutations(y)
        ])
        assert abs(rank_p_value(x, y) - exact) < 4 * math.sqrt(exact * (1 - exact) / 1999)

    def test_is_never_zero(self) -> None:
        x = np.arange(30.0)
        assert rank_p_value(x, x, permutations=99) == 0.01
        assert rank_p_value(x, -x, permutations=99) == 0.01

    def test_permutes_within_groups_alone(self) -> None:
        """Between the groups all rises, within each there is nothing: over all it is clear, within groups it is not."""
        x = np.array([1.0, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24])
        y = np.array([2.0, 4, 1, 3, 12, 14, 11, 13, 22, 24, 21, 23])
        groups = np.repeat(["a", "b", "c"], 4)
        assert rank_p_value(x, y) < 0.01
        assert rank_p_value(x, y, groups) > 0.5

    def test_is_uniform_without_an_effect(self) -> None:
        samples = np.random.default_rng(7).normal(size=(1000, 2, 8))
        found = np.array([rank_p_value(x, y, permutations=99) for x, y in samples])
        assert coverage_is_right(int((found > 0.2).sum()), 1000, 0.8)

    def test_the_seed_counts(self) -> None:
        x, y = PAIR
        assert rank_p_value(x, y, seed=1) == rank_p_value(x, y, seed=1)
        assert rank_p_value(x, y, seed=1) != rank_p_value(x, y, seed=2)

    @pytest.mark.parametrize(("x", "y"), [([], []), ([1.0, 2.0], [1.0, 2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])])
    def test_too_few_or_constant_numbers(self, x: list[float], y: list[float]) -> None:
        assert math.isnan(rank_p_value(np.array(x), np.array(y)))


class TestHolm:
    def test_by_hand(self) -> None:
        """3 * 0.01, 2 * 0.03, then 0.04, which may not fall below the one before."""
        np.testing.assert_allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06], rtol=1e-12)

    def test_is_capped_and_leaves_out_what_was_not_tested(self) -> None:
        np.testing.assert_allclose(holm([0.9, math.nan, 0.6]), [1.0, math.nan, 1.0])
        assert holm([]) == []

    def test_names_a_false_effect_in_one_study_of_twenty(self) -> None:
        """Ten true nulls and two effects that are always found: family-wise error at most 5 %, and nearly that."""
        generator = np.random.default_rng(8)
        wrong = sum(min(holm([1e-12, 1e-12, *generator.uniform(size=10)])[2:]) < 0.05 for _ in range(4000))
        # exactly 1 - (1 - 0.05 / 10)^10 = 4.9 %
        assert coverage_is_right(wrong, 4000, 1 - (1 - 0.005) ** 10)
