"""Effect sizes and power against scipy's noncentral t turned round, printed tables, and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.claims.power import MAX_SEEDS, detectable, effect_size, seeds_needed
from analysis.claims.statistics import mean_interval
from tests.analysis.claims.test_statistics import coverage_is_right


class TestEffectSize:
    @pytest.mark.parametrize("shift", [-3.0, 0.0, 0.4, 50.0])
    def test_the_ends_are_where_the_seen_t_is_a_quantile(self, shift: float) -> None:
        """Root finder's tolerance: 1e-10 of the noncentrality; the density of t is below 1 there."""
        values = np.array([0.3, 1.7, -0.4, 2.2, 0.9, -1.1]) + shift
        found = effect_size(values, 0.9)
        t = stats.ttest_1samp(values, 0.0).statistic
        assert stats.nct.cdf(t, 5, found.low * math.sqrt(6)) == pytest.approx(0.95, abs=1e-9)
        assert stats.nct.cdf(t, 5, found.high * math.sqrt(6)) == pytest.approx(0.05, abs=1e-9)

    def test_is_unbiased_and_covers(self) -> None:
        """True 1.2 with 5 numbers: the plain ratio would be 25 % too large, Hedges' g is not, within 4 errors."""
        samples = np.random.default_rng(5).normal(1.2, 1.0, (800, 5))
        found = [effect_size(sample) for sample in samples]
        estimates = np.array([each.estimate for each in found])
        assert abs(estimates.mean() - 1.2) < 4 * estimates.std() / math.sqrt(800)
        assert coverage_is_right(sum(not each.excludes(1.2) for each in found), 800, 0.95)

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_a_huge_effect_goes_over_into_the_interval_of_the_spread(self, sign: float) -> None:
        """With t = 990 and 1010, on both sides of the change of formula, the ends over t agree to 1e-4."""
        noise = np.array([-1.0, 0.5, 0.5, 1.0, -1.0])
        ends = []
        for t in (990.0, 1010.0):
            values = sign * (t * noise.std(ddof=1) / math.sqrt(5) + noise)
            found = effect_size(values)
            ends.append((found.low / t, found.high / t))
        np.testing.assert_allclose(ends[0], ends[1], rtol=1e-4)

    @pytest.mark.parametrize("values", [[], [1.0], [1.0, 3.0], [2.0, 2.0, 2.0]])
    def test_none_without_spread_or_of_too_few(self, values: list[float]) -> None:
        found = effect_size(np.array(values))
        assert math.isnan(found.estimate)
        assert math.isnan(found.low)


class TestPower:
    def test_a_printed_table(self) -> None:
        """Cohen's tables: a paired effect of 0.5 deviations needs 34 pairs at 80 %, 44 at 90 % (two-sided 5 %)."""
        assert seeds_needed(0.5) == 34
        assert seeds_needed(0.5, power=0.9) == 44

    @pytest.mark.parametrize(("count", "power"), [(5, 0.8), (12, 0.5)])
    def test_is_the_share_of_studies_that_find_it(self, count: int, power: float) -> None:
        size = detectable(count, power)
        samples = np.random.default_rng(6).normal(-size, 1.0, (4000, count))
        assert coverage_is_right(sum(mean_interval(sample).excludes(0.0) for sample in samples), 4000, power)

    def test_fewer_seeds_do_not_suffice(self) -> None:
        for size in (0.05, 0.7, 3.0):
            needed = seeds_needed(size)
            assert needed is not None
            assert detectable(needed) <= size < detectable(needed - 1)

    def test_the_sign_does_not_count(self) -> None:
        assert seeds_needed(-0.5) == seeds_needed(0.5)

    @pytest.mark.parametrize("size", [0.0, math.nan, 0.99 * detectable(MAX_SEEDS)])
    def test_too_small_to_be_settled(self, size: float) -> None:
        assert seeds_needed(size) is None

    def test_more_confidence_needs_more(self) -> None:
        assert detectable(5, confidence=0.99) > detectable(5) > detectable(5, power=0.5)

    def test_one_pair_shows_nothing(self) -> None:
        assert detectable(1) == math.inf

    @pytest.mark.parametrize("power", [0.0, 1.0, math.nan])
    def test_power_out_of_range(self, power: float) -> None:
        with pytest.raises(ValueError, match=r"power must lie between 0 and 1, got .*; 0.8 is usual"):
            detectable(5, power)
