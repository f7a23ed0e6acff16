"""Each statistic in the unit of its claim, from pairs whose numbers are worked out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.claims import bootstrap_interval, detectable, effect_size, mean_interval, seeds_needed, spread_ratio
from analysis.claims.effects import paired_effect, rank_effect

ONE, OTHER = np.array([1.0, 2.0, 4.0, 3.0, 1.5, 2.5]), np.array([1.1, 1.9, 5.0, 3.9, 1.6, 2.6])


def test_ratios_are_percent_of_the_control() -> None:
    """The geometric mean of the ratios, whatever the scale of both."""
    found = paired_effect("log-ratio", ONE, OTHER, 0.0, 0.9)
    logs = np.log(ONE) - np.log(OTHER)
    assert found.interval.estimate == pytest.approx(100 * (stats.gmean(ONE / OTHER) - 1), rel=1e-9)
    assert found.interval.low == pytest.approx(100 * math.expm1(mean_interval(logs, 0.9).low), rel=1e-9)
    assert found.bootstrap.high == pytest.approx(100 * math.expm1(bootstrap_interval(logs, confidence=0.9).high))
    assert found.p_value == pytest.approx(stats.ttest_rel(np.log(ONE), np.log(OTHER)).pvalue, rel=1e-9)
    assert found.size.low == pytest.approx(effect_size(logs, 0.9).low, rel=1e-9)
    smallest = detectable(6, confidence=0.9) * logs.std(ddof=1)
    assert found.detectable == pytest.approx(100 * math.expm1(smallest), rel=1e-9)
    assert found.seeds_needed == seeds_needed(effect_size(logs).estimate, confidence=0.9)


def test_differences_are_percentage_points() -> None:
    found = paired_effect("difference", ONE, OTHER, 0.0, 0.95)
    assert found.interval.estimate == pytest.approx(100 * float(np.mean(ONE - OTHER)), rel=1e-12)
    assert found.detectable == pytest.approx(100 * detectable(6) * (ONE - OTHER).std(ddof=1), rel=1e-9)
    assert found.p_value == pytest.approx(stats.ttest_rel(ONE, OTHER).pvalue, rel=1e-9)


def test_a_level_is_tested_against_its_own_no_effect() -> None:
    """A mean of 0.9 with no effect at 0.99: the size is of the distance between them, the estimate of that to 1."""
    level = np.array([0.88, 0.9, 0.92, 0.89, 0.91])
    found = paired_effect("level", level, np.ones(5), -1.0, 0.95)
    assert found.interval.estimate == pytest.approx(-10.0)
    assert found.p_value == pytest.approx(stats.ttest_1samp(level, 0.99).pvalue, rel=1e-9)
    assert found.size.estimate == pytest.approx(effect_size(level - 0.99).estimate, rel=1e-9)


def test_a_spread_has_no_size() -> None:
    found = paired_effect("spread", ONE, OTHER, 0.0, 0.95)
    ratio = spread_ratio(ONE, OTHER)
    assert (found.interval.low, found.interval.high) == (100 * (ratio.low - 1), 100 * (ratio.high - 1))
    assert found.p_value == pytest.approx(stats.pearsonr(ONE + OTHER, ONE - OTHER).pvalue, rel=1e-9)
    assert math.isnan(found.size.estimate)
    assert math.isnan(found.detectable)


def test_no_difference_at_all_needs_no_end_of_seeds() -> None:
    """Differences of mean zero: no number of seeds finds it; equal pairs have no spread, so nobody knows."""
    found = paired_effect("difference", np.array([1.0, 2.0, 1.0]), np.array([2.0, 1.0, 1.0]), 0.0, 0.95)
    assert found.seeds_needed == math.inf
    assert math.isnan(paired_effect("difference", ONE, ONE, 0.0, 0.95).seeds_needed)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs(count: int) -> None:
    found = paired_effect("log-ratio", ONE[:count], OTHER[:count], 0.0, 0.95)
    for number in (found.interval.low, found.bootstrap.low, found.p_value, found.detectable, found.seeds_needed):
        assert math.isnan(number)


def test_ranks_within_groups() -> None:
    groups = np.array(["a", "a", "a", "b", "b", "b"])
    found = rank_effect(ONE, OTHER, groups, 0.9)
    assert found.interval.estimate == pytest.approx(1.0)
    assert found.p_value == pytest.approx(2 / 36, abs=4 * math.sqrt(2 / 36 / 1999))  # two of 3! * 3! orders
