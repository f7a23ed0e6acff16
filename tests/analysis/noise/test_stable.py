"""Quantiles of symmetric stable laws against scipy, closed forms, limits, and McCulloch's printed table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import cauchy, levy_stable, norm

from analysis.noise.stable import alpha_of_log_ratio, log_quantile, log_quantile_ratio, upper_tail


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.975, 1.025, 1.3, 1.5, 1.95])
@pytest.mark.parametrize("probability", [0.75, 0.95])
def test_quantiles_are_those_of_scipy(alpha: float, probability: float) -> None:
    expected = float(levy_stable.ppf(probability, alpha, 0))
    # scipy's own quadrature is good to about 1e-7 of the probability
    assert math.exp(log_quantile(alpha, probability)) == pytest.approx(expected, rel=1e-6)


def test_cauchy_and_gauss_are_closed_forms() -> None:
    for x in (0.1, 1.0, 20.0):
        assert upper_tail(1.0, math.log(x)) == pytest.approx(cauchy.sf(x), rel=1e-12)
        assert upper_tail(2.0, math.log(x)) == pytest.approx(norm.sf(x, scale=math.sqrt(2)), rel=1e-9, abs=1e-15)


def test_the_limit_of_small_alpha() -> None:
    """|X|^alpha tends to 1 / E with E exponential, so that log nu tends to log(log 2 / log(10/9)) / alpha."""
    limit = math.log(math.log(2) / math.log(10 / 9))
    assert 0.1 * log_quantile_ratio(0.1) == pytest.approx(limit, rel=0.002)
    beyond = float(alpha_of_log_ratio(limit / 0.02))
    assert beyond == pytest.approx(0.02, rel=0.002)


def test_the_inverse_between_the_entries_of_its_table() -> None:
    """Fails if the spline is too coarse. Halfway between entries; nearest to 1 the quadrature itself errs by 1e-5."""
    alphas = np.array([0.1125, 0.3125, 0.5875, 0.9625, 0.9875, 1.0125, 1.4375, 1.9875])
    found = alpha_of_log_ratio(np.array([log_quantile_ratio(float(alpha)) for alpha in alphas]))
    assert np.abs(found - alphas).max() < 1e-5
    assert np.abs(found - alphas)[[0, 1, 2, 3, 6, 7]].max() < 1e-6


def test_the_printed_table_is_reproduced() -> None:
    """McCulloch (1986), table III, beta = 0: three digits, themselves interpolated."""
    ratios = np.array([2.5, 2.6, 2.8, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 15.0])
    printed = [1.916, 1.808, 1.664, 1.563, 1.391, 1.279, 1.128, 1.029, 0.896, 0.698]
    assert np.abs(alpha_of_log_ratio(np.log(ratios)) - printed).max() < 0.005


def test_lighter_tails_than_the_gaussian_are_two_and_nan_stays() -> None:
    found = alpha_of_log_ratio(np.array([math.log(2.0), log_quantile_ratio(2.0), math.nan]))
    assert found[:2] == pytest.approx([2.0, 2.0])
    assert found.max(initial=0, where=~np.isnan(found)) <= 2.0
    assert math.isnan(found[2])
    near = alpha_of_log_ratio(log_quantile_ratio(2.0) + np.linspace(-0.1, 0.1, 2001))
    assert near.max() == 2.0  # nowhere above, not by rounding
    assert bool((np.diff(near) <= 0).all())
