"""Excess kurtosis: scipy's unbiased value, closed forms, and standard errors that are the scatter over resamplings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kurtosis

from analysis.noise.kurtosis import excess_kurtosis


def test_the_value_is_the_mean_of_scipys_over_columns() -> None:
    values = np.random.default_rng(0).standard_t(8, size=(60, 4)) * [1.0, 1e-200, 1e200, 5.0] + [0.0, 0.0, 0.0, 3.0]
    expected = kurtosis(values / [1.0, 1e-200, 1e200, 5.0], bias=False).mean()
    assert excess_kurtosis(values)[0] == pytest.approx(expected, rel=1e-10)


def test_the_error_is_the_brute_force_jackknife() -> None:
    values = np.random.default_rng(1).standard_normal((30, 3))
    without = np.array([kurtosis(np.delete(values, i, 0), bias=False).mean() for i in range(30)])
    expected = math.sqrt(29 / 30 * np.square(without - without.mean()).sum())
    assert excess_kurtosis(values)[1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["gaussian", "shared scale"])
def test_the_error_is_the_scatter(kind: str) -> None:
    """800 data sets: mean within 4 standard errors; mean squared error within 10 % of the scatter, plus its own 5 %.

    "Shared scale" multiplies rows by 1 or 2 at random, so that columns move together: fails if they count as
    independent. Its kurtosis: 3 E s^4 / (E s^2)^2 - 3 = 3 * 8.5 / 6.25 - 3.
    """
    rng = np.random.default_rng(2)
    found = []
    for _ in range(800):
        values = rng.standard_normal((500, 4))
        if kind == "shared scale":
            values *= rng.integers(1, 3, size=(500, 1))
        found.append(excess_kurtosis(values))
    values, errors = np.array(found).T
    truth = 0.0 if kind == "gaussian" else 3 * 8.5 / 6.25 - 3
    # G2 is unbiased for Gaussian numbers alone; for the others its bias is of order 1/n, about 0.01 here
    assert abs(values.mean() - truth) < 4 * values.std() / math.sqrt(800) + (0.0 if kind == "gaussian" else 0.02)
    assert math.sqrt(np.square(errors).mean()) == pytest.approx(values.std(), rel=0.15)


def test_columns_that_do_not_vary_are_left_out() -> None:
    values = np.random.default_rng(3).standard_normal((40, 3))
    alone = excess_kurtosis(values[:, :1])
    values[:, 1:] = 7.0
    assert excess_kurtosis(values) == alone
    values[0, 1] = 8.0  # varies in one row alone: n without a bound, and the error from the other rows
    value, error = excess_kurtosis(values)
    assert value == pytest.approx((alone[0] + kurtosis(values[:, 1], bias=False)) / 2, rel=1e-9)
    assert math.isfinite(error)


def test_what_has_no_kurtosis_is_nan() -> None:
    for number in (1.0, 0.0, math.nan, math.inf):
        values = np.full((10, 2), number)
        assert all(math.isnan(found) for found in excess_kurtosis(values))
    spread = np.arange(20.0).reshape(10, 2)
    spread[3, 1] = math.inf
    assert all(math.isnan(found) for found in excess_kurtosis(spread))
