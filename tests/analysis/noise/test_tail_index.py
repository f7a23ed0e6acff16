"""Tail exponents of numbers whose alpha is known: values, intervals that hold the truth, and what is refused.

Draws are by Chambers, Mallows and Stuck, so nothing is shared with the estimators' quantiles. Blind to one thing: for
alpha between 1.6 and 2 Hill's number is biased, which is documented and not tested away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

import analysis
from analysis import tail_index
from analysis.evidence import Status
from analysis.noise.tail_index import _quantiles
from tests.analysis.noise.draws import stable


def holds(found: analysis.TailIndex, alpha: float) -> bool:
    return found.interval_low <= alpha <= found.interval_high


@pytest.mark.parametrize(
    ("alpha", "methods"), [(2.0, ["mcculloch"]), (1.0, ["hill", "mcculloch"]), (1.5, ["hill", "mcculloch"])]
)
def test_the_interval_holds_the_truth_and_is_narrow(alpha: float, methods: list[str]) -> None:
    """Of 4,000 numbers, k = 63: Hill's standard error is alpha / 8, so that a width of 0.6 alpha is 4.8 of them."""
    values = 3.0 * stable(alpha, 4000, np.random.default_rng(0))
    for method in methods:
        found = tail_index(values, method)
        assert holds(found, alpha)
        assert found.interval_high - found.interval_low < 0.6 * alpha
        assert found.interval_low <= found.value <= found.interval_high


@pytest.mark.parametrize(
    ("method", "alpha", "low", "high"),
    [
        # 300 data sets, 95 %: four standard errors of a share are 0.05
        ("mcculloch", 1.0, 0.90, 0.995),
        ("mcculloch", 1.5, 0.90, 0.995),
        ("mcculloch", 2.0, 0.94, 1.0),  # the truth is at the end of what is possible: 97.5 %
        ("hill", 1.0, 0.90, 0.995),
        ("hill", 1.5, 0.88, 0.99),  # a bias of a third of a standard error costs about 2 %
    ],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(method: str, alpha: float, low: float, high: float) -> None:
    rng = np.random.default_rng(1)
    found = [tail_index(stable(alpha, 500, rng), method, num_gaussian=2, seed=seed) for seed in range(300)]
    assert low <= np.mean([holds(one, alpha) for one in found]) <= high


@pytest.mark.parametrize("method", ["hill", "mcculloch"])
@pytest.mark.parametrize("shared", [False, True])
def test_columns_of_one_row_count_once_where_they_move_together(method: str, shared: bool) -> None:
    """Eight columns of Cauchy numbers, a ratio of Gaussian ones, in scales of their own; rows may share a denominator.

    Fails if the columns of a row count as independent, or if one scale is taken for all. Four standard errors of a
    share of 150 are 0.07.
    """
    rng, alpha = np.random.default_rng(2), 1.0
    found = []
    for seed in range(150):
        values = rng.standard_normal((400, 8))
        values /= np.abs(rng.standard_normal((400, 1 if shared else 8)))
        found.append(tail_index(values * 10.0 ** np.arange(8), method, num_gaussian=2, seed=seed))
    share = np.mean([holds(one, alpha) for one in found])
    assert share >= 0.88
    # eight independent columns make the interval narrower by 2.8 than one, shared rows by less
    width = np.median([one.interval_high - one.interval_low for one in found])
    assert (0.5 if shared else 0.2) < width / _width_of_one(method) < (1.1 if shared else 0.5)


def _width_of_one(method: str) -> float:
    one = tail_index(stable(1.0, 400, np.random.default_rng(3)), method, num_gaussian=2)
    return one.interval_high - one.interval_low


def test_columns_of_different_tails_are_averaged_with_their_own_errors() -> None:
    """One column of alpha 0.3 among nine of 10: the error is that one's, not a tenth of the mean's. 150 data sets."""
    rng, alphas = np.random.default_rng(15), np.array([0.3, *[10.0] * 9])
    found = [tail_index(rng.random((400, 10)) ** (-1 / alphas), num_gaussian=2) for _ in range(150)]
    assert np.mean([holds(one, 1 / np.mean(1 / alphas)) for one in found]) >= 0.88


def test_hill_of_pareto_numbers_is_the_mean_of_logarithms() -> None:
    values = np.random.default_rng(4).pareto(3.0, 900) + 1
    upper = np.sort(values)[::-1]
    found = tail_index(values, num_upper=50)
    assert found.value == pytest.approx(1 / np.mean(np.log(upper[:50] / upper[50])), rel=1e-12)
    others = [1 / np.mean(np.log(upper[:k] / upper[k])) for k in range(25, 101)]
    assert (found.range_low, found.range_high) == pytest.approx((min(others), max(others)))
    # k / (Gamma(k) scaled): 1 -+ 1.96 / sqrt(50), and asymmetric
    assert found.interval_low / found.value == pytest.approx(1 - 1.96 / math.sqrt(50), abs=0.03)
    assert found.interval_high / found.value == pytest.approx(1 + 1.96 / math.sqrt(50), abs=0.03)
    assert tail_index(values).num_upper == 30


def test_hill_is_of_the_scale_and_sign_free_size() -> None:
    values = stable(1.3, 500, np.random.default_rng(5))
    assert tail_index(-7e30 * values).value == pytest.approx(tail_index(values).value, rel=1e-10)


def test_mcculloch_takes_any_location_and_scale() -> None:
    values = stable(1.3, 500, np.random.default_rng(6))
    moved = tail_index(5.0 - 1e-9 * values, "mcculloch")
    assert moved.value == pytest.approx(tail_index(values, "mcculloch").value, rel=1e-5)


def test_quantiles_are_those_of_numpys_hazen() -> None:
    ordered = np.sort(np.random.default_rng(7).standard_normal((3, 23)))
    wanted = (0.001, 0.05, 0.5, 0.95, 0.999)
    assert np.allclose(_quantiles(ordered, wanted), np.quantile(ordered, wanted, axis=1, method="hazen"), atol=1e-14)


@pytest.mark.parametrize(("method", "n"), [("hill", 400), ("mcculloch", 60)])
def test_gaussian_numbers_lie_among_their_draws(method: str, n: int) -> None:
    """Hill's number for Gaussian numbers is far from 2; a quarter of McCulloch's of 60 numbers lies below 1.75."""
    rng = np.random.default_rng(8)
    found = [tail_index(rng.standard_normal(n), method, seed=seed) for seed in range(60)]
    values = np.array([one.value for one in found])
    inside = np.mean([one.gaussian_low <= one.value <= one.gaussian_high for one in found])
    assert inside >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / 60)
    assert found[0].gaussian == pytest.approx(values.mean(), abs=4 * values.std() * math.sqrt(1 / 60 + 1 / 200))
    assert found[0].gaussian > 4 if method == "hill" else found[0].gaussian_low < 1.6


def test_gaussian_draws_have_the_covariance_of_the_columns() -> None:
    """Sixteen copies of one column say no more than one: fails if the draws are of independent columns."""
    one = np.random.default_rng(9).standard_normal((300, 1))
    wide, copied, apart = (
        tail_index(table, "hill", num_gaussian=400)
        for table in (one, one.repeat(16, 1), np.random.default_rng(9).standard_normal((300, 16)))
    )
    widths = [found.gaussian_high - found.gaussian_low for found in (wide, copied, apart)]
    assert widths[1] == pytest.approx(widths[0], rel=0.25)
    assert widths[2] < 0.5 * widths[0]


def test_norms_stand_beside_norms_of_gaussian_vectors_of_their_rank() -> None:
    """Exact for equal eigenvalues: the squared norm is then chi-squared with as many degrees of freedom as the rank."""
    rng = np.random.default_rng(10)
    found = [tail_index(np.linalg.norm(rng.standard_normal((300, 20)), axis=1), rank=20.0) for _ in range(40)]
    assert np.mean([one.gaussian_low <= one.value <= one.gaussian_high for one in found]) >= 0.8
    assert found[0].gaussian > 3 * tail_index(rng.standard_normal(300)).gaussian


def test_the_same_seed_gives_the_same_result_and_another_does_not() -> None:
    values = stable(1.5, 300, np.random.default_rng(11))
    first, again, other = (tail_index(values, "mcculloch", seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.value == other.value
    assert first.interval_low != other.interval_low
    assert first.gaussian != other.gaussian


def test_a_higher_level_is_wider() -> None:
    values = stable(1.2, 300, np.random.default_rng(12))
    for method in ("hill", "mcculloch"):
        narrow, wide = (tail_index(values, method, level=level) for level in (0.68, 0.99))
        assert wide.interval_low < narrow.interval_low < narrow.interval_high < wide.interval_high
        assert wide.gaussian_low < narrow.gaussian_low < narrow.gaussian_high


def test_tensors_lists_and_integers_are_taken() -> None:
    values = torch.arange(-50, 51)
    assert tail_index(values) == tail_index(values.tolist()) == tail_index(values.double()[:, None].requires_grad_())


@pytest.mark.parametrize("method", ["hill", "mcculloch"])
@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: np.zeros(100), Status.NO_SPREAD),
        (lambda: np.full(100, 3.0), Status.NO_SPREAD),
        (lambda: np.full(100, math.nan), Status.NOT_FINITE),
        (lambda: np.append(np.arange(99.0), -math.inf), Status.NOT_FINITE),
    ],
)
def test_numbers_without_tails_are_told(method: str, make: Callable[[], np.ndarray], status: Status) -> None:
    found = tail_index(make(), method)
    assert found.status is status
    for name in ("value", "interval_low", "interval_high", "gaussian", "gaussian_low", "gaussian_high", "range_low"):
        assert math.isnan(getattr(found, name))


def test_columns_without_spread_are_left_out_and_counted() -> None:
    column = stable(1.5, 200, np.random.default_rng(13))
    sparse = np.where(np.arange(200) < 60, column, 0.0)  # mcculloch: more than half are equal; hill: enough are not
    few = np.where(np.arange(200) < 20, column, 0.0)  # 20 are not 0, and hill looks at 2 * 14 + 1
    table = np.stack([column, sparse, few, np.ones(200)], 1)
    quantiles, hill = tail_index(table, "mcculloch"), tail_index(table, "hill")
    assert (quantiles.num_columns, quantiles.num_left_out) == (4, 3)
    assert (hill.num_columns, hill.num_left_out) == (4, 2)
    assert quantiles.value == tail_index(column, "mcculloch").value
    assert 1 / hill.value == pytest.approx((1 / tail_index(column).value + 1 / tail_index(sparse).value) / 2)


def test_equal_upper_numbers_leave_no_warning() -> None:
    values = np.minimum(np.abs(stable(1.5, 400, np.random.default_rng(14))), 20.0)  # clipped: a few largest are equal
    found = tail_index(values)
    assert math.isfinite(found.value)
    assert found.range_low <= found.value <= found.range_high
    two_steps = np.append(np.full(370, 1.0), np.full(30, 2.0))  # the upper 20 are equal, and the next one as well
    assert tail_index(two_steps).status is Status.NO_SPREAD
    ties = np.append(np.full(16, 1.0), np.full(4, 2.0))  # k = 4: all excesses are equal, so that none tells of errors
    assert tail_index(ties).value == pytest.approx(1 / math.log(2))
    assert tail_index(ties).interval_low > 0


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    for method in ("hill", "mcculloch"):
        found = tail_index(norm.ppf((np.arange(100) + 0.5) / 100), method)
        found.save(tmp_path / "run.h5", method)
        assert analysis.load(tmp_path / "run.h5", f"noise/{method}") == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"values": np.ones(19)}, r"values must be at least 20 numbers, \[n\] or \[n, columns\], got shape \(19,\)"),
        ({"values": np.ones((30, 0))}, r"got shape \(30, 0\)"),
        ({"values": np.ones((30, 2, 2))}, r"got shape \(30, 2, 2\)"),
        ({"method": "moments"}, "method must be one of hill, mcculloch, got 'moments'"),
        ({"level": 1.0}, "level must be between 0 and 1, got 1.0"),
        ({"level": math.nan}, "level must be between 0 and 1, got nan"),
        ({"num_upper": 1}, "num_upper must be a whole number from 2 to 99, got 1; None is 10"),
        ({"num_upper": 100}, "num_upper must be a whole number from 2 to 99, got 100"),
        ({"num_upper": math.nan}, "num_upper must be a whole number from 2 to 99, got nan"),
        ({"rank": 0.5}, "rank must be a finite number >= 1, for method='hill' and one column of norms, got 0.5"),
        ({"rank": math.nan}, "rank must be a finite number >= 1, .* got nan"),
        ({"rank": 3.0, "method": "mcculloch"}, "rank must be a finite number >= 1, for method='hill'"),
        ({"rank": 3.0, "values": np.ones((100, 2))}, "rank must be .* one column of norms, got 3.0"),
        ({"num_resamples": 19}, "num_resamples must be a whole number >= 20, got 19"),
        ({"num_resamples": math.nan}, "num_resamples must be a whole number >= 20, got nan"),
        ({"num_gaussian": 1}, "num_gaussian must be a whole number >= 2, got 1"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
    ],
)
def test_arguments_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tail_index(**{"values": np.arange(100.0), **settings})
