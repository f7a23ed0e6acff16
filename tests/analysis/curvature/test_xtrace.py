"""XTrace against known matrices, each leave-one-out sample against a dense QR, its error bars, and its corner cases.

The operators are matrices: nothing here sees the way from a network to its Hessian products (`test_trace.py` does).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis import Objective, Status, hessian_trace
from analysis.curvature.trace import TraceEstimate
from analysis.curvature.xtrace import xtrace
from tests.analysis.curvature.operators import Dense, trained_mlp, with_spectrum
from tests.compare import assert_close
from tests.oracles import dense

OUTLIERS = torch.cat([torch.tensor([30.0, 20.0, 10.0, 5.0, 3.0]), torch.linspace(0, 0.1, 195)])
DECAYING = 1 / torch.arange(1, 101, dtype=torch.float64) ** 2


class Recording(Dense):
    """A matrix that keeps what it was multiplied with."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix)
        self.vectors: list[Tensor] = []

    def hvp(self, vector: Tensor) -> Tensor:
        self.vectors.append(vector.clone())
        return super().hvp(vector)


def traced(operator: Any, probes: int, seed: int = 0) -> TraceEstimate:
    """Exactly this many probes."""
    return hessian_trace(operator, method="xtrace", tol=1e-300, min_probes=2 * probes, max_hvps=2 * probes, seed=seed)


def leave_one_out(matrix: Any, random: Any) -> Any:
    """Return the estimate of each column of `random`, by a dense QR of the products with the others."""
    size, probes = random.shape
    expected = []
    for index in range(probes):
        basis = np.linalg.qr(matrix @ np.delete(random, index, axis=1))[0]  # [D, m - 1]
        rest = random[:, index] - basis @ (basis.T @ random[:, index])
        rest *= math.sqrt(size - probes + 1) / np.linalg.norm(rest)
        expected.append(np.trace(basis.T @ matrix @ basis) + rest @ matrix @ rest)
    return np.array(expected)


def test_samples_and_error_are_those_of_dense_algebra() -> None:
    """Fails if a downdate, the scaling of the projected vector, or a sign in the small algebra is wrong."""
    operator = Recording(with_spectrum(torch.linspace(-1, 4, 40)).matrix)
    found = traced(operator, 8)
    matrix, random = operator.matrix.numpy(), torch.stack(operator.vectors[::2], dim=1).numpy()
    assert_close(np.square(random).sum(axis=0), np.full(8, 40.0), relative=1e-12)
    expected = leave_one_out(matrix, random)
    # the shift of rounding size moves Q by 100 eps cond(Y), cond(Y) < 1e3: 2e-11, times trace 60
    assert_close(found.samples, expected, relative=1e-9)
    assert_close(found.value, np.mean(expected), relative=1e-9)
    without = np.array([leave_one_out(matrix, np.delete(random, index, axis=1)).mean() for index in range(8)])
    jackknife = math.sqrt(7 / 8 * np.square(without - without.mean()).sum())
    assert_close(found.standard_error, jackknife, relative=1e-8)


def test_unbiased_with_an_honest_error_once_the_large_eigenvalues_are_found() -> None:
    """Fails if the standard error is off by a third in either direction: nothing falls off beyond the outliers."""
    operator = with_spectrum(OUTLIERS)
    truth = float(operator.matrix.trace())
    runs = [traced(operator, 25, seed) for seed in range(200)]
    z = np.array([(run.value - truth) / run.standard_error for run in runs])
    # Student's t with 24 degrees has standard deviation 1.04; 200 seeds +- 20 %, and the jackknife may be too large
    assert 0.7 <= z.std() <= 1.25
    assert 0.88 <= np.mean(np.abs(z) <= 1.96) <= 0.99
    assert abs(z.mean()) <= 4 * z.std() / math.sqrt(200)


@pytest.mark.parametrize("probes", [5, 10, 25])
def test_on_a_steady_decay_it_is_unbiased_and_the_error_on_the_safe_side(probes: int) -> None:
    """Fails with the spread of the samples in the place of the jackknife: 1.2 to 1.6 times too small here.

    The jackknife's square is no smaller on average than the variance with one probe less (Efron and Stein 1981).
    """
    operator = with_spectrum(DECAYING)
    runs = [traced(operator, probes, seed) for seed in range(200)]
    errors = np.array([run.value for run in runs]) - float(operator.matrix.trace())
    assert abs(errors.mean()) <= 4 * errors.std() / math.sqrt(200)
    said = np.array([run.standard_error for run in runs])
    assert np.mean(np.abs(errors) <= 1.96 * said) >= 0.95
    assert math.sqrt(np.square(said).mean()) <= 4 * math.sqrt(np.square(errors).mean())  # and not for everything


def test_a_decaying_spectrum_needs_far_fewer_products_than_hutchinson() -> None:
    """Measured at 50 products: root mean square error 99 times smaller (400 seeds). Fails below a factor of 30."""
    operator = with_spectrum(DECAYING)
    truth = float(operator.matrix.trace())
    ours = [traced(operator, 25, seed).value - truth for seed in range(40)]
    theirs = [
        hessian_trace(operator, tol=1e-300, min_probes=50, max_hvps=50, seed=seed).value - truth for seed in range(40)
    ]
    assert 30 * np.sqrt(np.mean(np.square(ours))) < np.sqrt(np.mean(np.square(theirs)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("probes", [6, 12, 30, 99])
def test_low_rank_is_exact(probes: int, dtype: torch.dtype) -> None:
    """Rank 5, with more probes than that: Y is rank deficient, and each Q_(i) still holds the range of H."""
    operator = with_spectrum([5.0, 4.0, -3.0, 2.0, 1.0] + [0.0] * 95, dtype)
    found = traced(operator, probes)
    # rounding: the shift (100 eps) times the condition of 6 random products of rank 5, some hundred
    allowed = 1e4 * torch.finfo(dtype).eps * 5
    assert_close(found.samples, np.full(probes, 9.0), absolute=100 * allowed)
    assert_close(found.value, 9.0, absolute=allowed)


def test_products_that_vanish_exactly_outside_a_subspace() -> None:
    """Fails without the shift by w_i: there is no direction left to normalize, and NaN follows."""
    for rank in (0, 1, 2):
        diagonal = torch.zeros(20, dtype=torch.float64)
        diagonal[:rank] = -3.0
        found = hessian_trace(Dense(torch.diag(diagonal)), method="xtrace")
        assert (found.status, found.num_hvps) == (Status.CONVERGED, 10)
        assert_close(found.value, -3.0 * rank, absolute=1e-11)
        assert found.standard_error <= 1e-11
    found = hessian_trace(Dense(torch.zeros(20, 20)), method="xtrace")
    assert (found.value, found.standard_error, found.frobenius, found.frobenius_standard_error) == (0, 0, 0, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_probes_end_at_the_dimension_where_the_trace_is_exact(size: int) -> None:
    operator = with_spectrum(torch.linspace(-2, 7, size))
    found = hessian_trace(operator, method="xtrace", tol=1e-300)
    assert found.num_hvps == operator.calls == 2 * size
    assert (found.status, found.standard_error, len(found.samples)) == (Status.CONVERGED, 0.0, size)
    assert_close(found.value, float(operator.matrix.trace()), absolute=1e-13)


def test_products_are_counted_within_the_budget_and_none_is_repeated() -> None:
    """Fails if a further look starts anew, or if the last doubling overruns the budget."""
    for max_hvps, used in [(10, 10), (11, 10), (35, 34), (100, 100)]:
        operator, seen = Recording(with_spectrum(torch.linspace(-1, 4, 60)).matrix), []
        found = hessian_trace(
            operator,
            method="xtrace",
            tol=1e-9,
            max_hvps=max_hvps,
            progress=lambda done, total: seen.append((done, total)),  # noqa: B023
        )
        assert (found.num_hvps, operator.calls, len(found.samples)) == (used, used, used // 2)
        assert found.status is Status.MAX_HVPS
        assert seen == [(done, max_hvps) for done in range(2, used + 1, 2)]
        units = torch.stack([vector / vector.norm() for vector in operator.vectors])
        cosines = (units @ units.T).fill_diagonal_(0).abs()
        assert cosines.max() < 0.999
        # the basis, orthonormal to rounding however many doublings made it
        basis = torch.stack(operator.vectors[1::2])
        assert_close(basis @ basis.T, torch.eye(used // 2), absolute=1e-13)


def test_looks_after_the_minimum_and_each_doubling_and_stops_on_its_standard_error() -> None:
    operator = with_spectrum(OUTLIERS)
    found = hessian_trace(operator, method="xtrace", tol=0.01)
    assert found.status is Status.CONVERGED
    assert found.standard_error <= 0.01 * found.value
    assert found.num_hvps == operator.calls == 20  # 5 probes only just find the 5 outliers, 10 leave the small ones
    assert hessian_trace(operator, method="xtrace", tol=10.0, min_probes=16).num_hvps == 16
    assert hessian_trace(operator, method="xtrace", tol=10.0, min_probes=2).num_hvps == 4
    # asked at once or grown in doublings, the same probes give the same estimate
    assert traced(operator, 10).value == found.value


def test_a_negated_and_a_scaled_operator_are_treated_alike() -> None:
    for dtype in (torch.float32, torch.float64):
        operator = with_spectrum(OUTLIERS, dtype)
        plus = hessian_trace(operator, method="xtrace", tol=0.002)
        minus = hessian_trace(Dense(-operator.matrix), method="xtrace", tol=0.002)
        small = hessian_trace(Dense(operator.matrix * 1e-8), method="xtrace", tol=0.002)
        # the shift by +w_i is not negated: 100 eps, times what 25 probes amplify
        rounding = 1e4 * torch.finfo(dtype).eps
        for other, factor in [(minus, -1.0), (small, 1e-8)]:
            assert (other.num_hvps, other.status) == (plus.num_hvps, plus.status)
            assert_close(other.value / factor, plus.value, relative=rounding)
            assert_close(other.standard_error / abs(factor), plus.standard_error, absolute=rounding * plus.value)
            assert_close(other.frobenius / abs(factor), plus.frobenius, relative=rounding)


def test_same_seed_same_bits_and_the_global_generator_untouched() -> None:
    operator, state = with_spectrum(DECAYING), torch.get_rng_state()
    assert traced(operator, 10, seed=3) == traced(operator, 10, seed=3)
    assert traced(operator, 10, seed=3).value != traced(operator, 10, seed=4).value
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("bad_call", [1, 2, 5, 6])
def test_a_product_that_is_not_finite_ends_it(bad_call: int) -> None:
    class Failing(Dense):
        def hvp(self, vector: Tensor) -> Tensor:
            product = super().hvp(vector)
            return product * math.nan if self.calls == bad_call else product

    operator = Failing(with_spectrum(DECAYING).matrix)
    found = hessian_trace(operator, method="xtrace")
    assert found.status is Status.NOT_FINITE
    assert found.num_hvps == operator.calls == bad_call
    assert math.isnan(found.value)
    assert math.isnan(found.standard_error)
    assert math.isnan(found.frobenius)
    assert math.isnan(found.frobenius_standard_error)
    assert len(found.samples) == (bad_call + 1) // 2
    assert found.samples.isnan().all()


def test_network_within_its_error_of_the_dense_hessian() -> None:
    model, loss_fn, batches = trained_mlp()
    truth = dense.hessian(model, loss_fn, batches)
    found = traced(Objective(model, loss_fn, batches), 20, seed=1)
    assert_close(found.value, float(truth.trace()), absolute=4 * found.standard_error)
    assert_close(found.frobenius, float(truth.norm()), absolute=4 * found.frobenius_standard_error)
    assert found.standard_error < 0.05 * found.value


def test_the_function_of_an_operator_alone() -> None:
    operator = with_spectrum(DECAYING)
    found = xtrace(operator, tol=0.05, min_probes=5, max_hvps=100, seed=0)
    assert found.value == hessian_trace(operator, method="xtrace").value
    assert found.num_hvps == 2 * len(found.samples) == 2 * len(found.squares)
