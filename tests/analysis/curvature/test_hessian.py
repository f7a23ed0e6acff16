"""Eigenpairs against chosen spectra and a dense float64 Hessian of a trained network.

The dense oracle is blind to relative errors below 1e-8; chosen spectra are blind to the way from model to product.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from analysis import Objective, Status, hessian_eigenvalues, load
from tests.analysis.curvature.operators import Dense, trained_mlp, with_spectrum
from tests.compare import assert_close
from tests.oracles import dense


@pytest.fixture(scope="module")
def network() -> tuple[Objective, torch.Tensor, torch.Tensor]:
    model, loss_fn, batches = trained_mlp()
    hessian = dense.hessian(model, loss_fn, batches)
    return Objective(model, loss_fn, batches), hessian, torch.linalg.eigvalsh(hessian)


@pytest.mark.parametrize("k", [1, 2, 5, 10, 30])
@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_network_against_dense_eigenvalues(network: Any, k: int, which: str) -> None:
    objective, hessian, truth = network
    assert objective.num_parameters == 244
    found = hessian_eigenvalues(objective, k, which, tol=1e-4, max_hvps=244)  # D always suffices
    expected = truth.flip(0)[:k] if which == "largest" else truth[:k]
    assert found.status is Status.CONVERGED
    floor = 1e-5 * float(truth.abs().max())  # float32 products: about 100 units of rounding of ||H||
    errors = (found.values.double()[:, None] - truth).abs().min(dim=1).values  # to the nearest true eigenvalue
    assert bool((errors <= found.residuals.double() + floor).all())
    if which == "largest":  # at the other end lies a cluster closer than float32 can order
        assert_close(found.values, expected, absolute=max(1e-4 * float(expected.abs().max()), floor))
    v = found.vectors.double()
    assert_close(v @ v.T, torch.eye(k), absolute=1e-5)  # no ghosts
    honest = torch.linalg.vector_norm(v @ hessian - found.values.double()[:, None] * v, dim=1)
    assert bool((honest <= found.residuals.double() * (1 + 1e-3) + floor).all())


def test_products_are_near_the_ideal_count(network: Any) -> None:
    """Ideal: dense float64 Krylov space from the same start, stopped by the true residual of all five pairs."""
    objective, hessian, _ = network
    found = hessian_eigenvalues(objective, 5, tol=1e-3)
    start = torch.randn(244, generator=torch.Generator().manual_seed(0)).double()
    basis = (start / start.norm())[None]
    for ideal in range(1, 60):
        values, s = torch.linalg.eigh(basis @ hessian @ basis.T)
        v = s.T.flip(0)[:5] @ basis
        top = values.flip(0)[:5]
        if ideal >= 5 and bool(((v @ hessian - top[:, None] * v).norm(dim=1) <= 1e-3 * top.abs()).all()):
            break
        new = hessian @ basis[-1]
        for _ in range(2):
            new = new - basis.T @ (basis @ new)
        basis = torch.cat([basis, (new / new.norm())[None]])
    assert found.num_hvps <= 1.1 * ideal
    assert found.num_hvps <= 25


@pytest.mark.parametrize(
    ("which", "k", "expected"),
    [
        ("largest", 2, [2.0, 1.0]),
        ("smallest", 2, [-5.0, 1.0]),
        ("magnitude", 2, [-5.0, 2.0]),
        ("both", 1, [2.0, -5.0]),
        ("largest", 3, [2.0, 1.0, -5.0]),
    ],
)
def test_each_end_of_the_spectrum(which: str, k: int, expected: list[float]) -> None:
    assert_close(hessian_eigenvalues(with_spectrum([1.0, -5.0, 2.0]), k, which).values, expected, absolute=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e8])
def test_scaling_the_loss_scales_the_values_and_nothing_else(scale: float) -> None:
    spectrum = torch.linspace(-1, 20, 80).double() ** 3 / 400
    plain = hessian_eigenvalues(with_spectrum(spectrum), 5)
    scaled = hessian_eigenvalues(with_spectrum(spectrum * scale), 5)
    assert_close(scaled.values, plain.values * scale, relative=1e-10)
    assert (scaled.status, scaled.num_hvps) == (plain.status, plain.num_hvps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("spectrum", "k", "expected"),
    [
        ([5.0, 5.0, *[1.0] * 10], 2, [5.0, 5.0]),
        ([5.0, 5.0, 5.0, 2.0, 2.0, *[1.0] * 10], 4, [5.0, 5.0, 5.0, 2.0]),
        ([3.0, 2.0, *[0.0] * 48], 5, [3.0, 2.0, 0.0, 0.0, 0.0]),
        ([0.0] * 6, 3, [0.0, 0.0, 0.0]),
        ([7.0], 1, [7.0]),
        ([-1.0, -2.0, -3.0], 3, [-1.0, -2.0, -3.0]),
    ],
)
def test_repeated_zero_and_few_eigenvalues(
    spectrum: list[float], k: int, expected: list[float], dtype: torch.dtype
) -> None:
    """Fails if a closed Krylov space ends the search, or is divided by zero."""
    found = hessian_eigenvalues(with_spectrum(spectrum, dtype), k)
    assert found.status is (Status.CONVERGED if len(set(spectrum)) == len(spectrum) else Status.BREAKDOWN)
    assert found.has_copies or found.status is Status.CONVERGED
    assert_close(found.values, expected, absolute=1000 * torch.finfo(dtype).eps)
    assert found.num_hvps <= len(spectrum)


def test_repeated_pairs_without_a_full_space() -> None:
    """A projection of rank 2 in 50 dimensions needs a handful of products, not 50."""
    assert hessian_eigenvalues(with_spectrum([3.0, 2.0, *[0.0] * 48]), 5).num_hvps <= 8


def test_starved_budget_is_a_status_and_residuals_still_hold() -> None:
    operator = with_spectrum(torch.linspace(0, 1, 200))
    found = hessian_eigenvalues(operator, 5, max_hvps=8)
    assert found.status is Status.MAX_HVPS
    assert found.num_hvps == operator.calls == 8
    v = found.vectors
    honest = torch.linalg.vector_norm(v @ operator.matrix - found.values[:, None] * v, dim=1)
    assert_close(found.residuals, honest, relative=1e-6)


def test_cost_progress_and_repeatability() -> None:
    operator, seen = with_spectrum(torch.linspace(0, 1, 60)), []
    state = torch.get_rng_state()
    first = hessian_eigenvalues(operator, 2, seed=3, progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(state, torch.get_rng_state())
    assert first.num_hvps == operator.calls
    assert seen == [(i + 1, 200) for i in range(operator.calls)]
    assert first == hessian_eigenvalues(with_spectrum(torch.linspace(0, 1, 60)), 2, seed=3)
    other = hessian_eigenvalues(operator, 2, seed=4)
    assert not torch.equal(first.vectors, other.vectors)
    assert_close(first.values, other.values, absolute=0.02)  # two residuals at tol 1e-2


def test_tighter_tolerance_costs_more_and_gives_smaller_residuals() -> None:
    operator = with_spectrum(torch.linspace(0, 1, 120))
    loose, tight = (hessian_eigenvalues(operator, 1, tol=tol) for tol in (1e-1, 1e-6))
    assert loose.num_hvps < tight.num_hvps
    assert float(tight.residuals[0]) <= 1e-6 < float(loose.residuals[0])


def test_products_that_are_not_finite_give_nan_and_a_status() -> None:
    found = hessian_eigenvalues(Dense(torch.full((5, 5), math.nan)), 2)
    assert found.status is Status.NOT_FINITE
    assert bool(found.values.isnan().all())
    assert bool(found.vectors.isnan().all())


def test_saved_and_loaded_equal(network: Any, tmp_path: Any) -> None:
    found = hessian_eigenvalues(network[0], 2)
    assert found.names == network[0].names
    found.save(tmp_path / "r.h5", "final")
    assert load(tmp_path / "r.h5") == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be from 1 on with k <= D = 3.* got 0"),
        ({"k": 4}, "k <= D = 3.* got 4"),
        ({"k": 2, "which": "both"}, "2k <= D = 3.* got 2"),
        ({"which": "top"}, "which must be one of largest, smallest, both, magnitude, got 'top'"),
        ({"k": 1, "tol": 0.0}, r"tol must be between 0 and 1.* got 0\.0"),
        ({"k": 1, "tol": np.nan}, "tol must be between 0 and 1.* got nan"),
        ({"k": 3, "max_hvps": 2}, "max_hvps must be at least 3.* got 2"),
    ],
)
def test_misuse_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hessian_eigenvalues(with_spectrum([1.0, 2.0, 3.0]), **options)
