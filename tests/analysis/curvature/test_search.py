"""Restarts under a memory limit, copies of an eigenvalue, warm starts: against dense spectra and a Krylov count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from analysis import Status, hessian_eigenvalues
from tests.analysis.curvature.operators import Dense, with_spectrum
from tests.compare import assert_close


def network_like(size: int = 400) -> torch.Tensor:
    """A few outliers over a bulk that falls off, with some negative values: what Hessians of networks look like."""
    bulk = torch.logspace(0, -4, size - 14, dtype=torch.float64)
    bulk[::4] *= -0.3
    return torch.cat([bulk, torch.tensor([30.0, 21.0, 17.0, 13.0, 11.0, 8.0, 6.5, 5.0, 4.0, 3.0, 2.5, 2.0, 1.7, 1.4])])


def assert_pairs(found: Any, operator: Dense, tol: float) -> None:
    v = found.vectors
    honest = torch.linalg.vector_norm(v @ operator.matrix - found.values[:, None] * v, dim=1)
    rounding = 100 * 2.2e-16 * 30  # of one product, relative to ||H||
    assert bool((honest <= found.residuals * (1 + 1e-6) + rounding).all())
    assert bool((found.residuals <= tol * found.values.abs() * (1 + 1e-6)).all())
    assert_close(v @ v.T, torch.eye(len(v)), absolute=1e-10)


@pytest.mark.parametrize(("which", "factor"), [("largest", 1.5), ("magnitude", 1.5), ("both", 3.5), ("smallest", 4.5)])
@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
def test_with_little_memory_the_same_pairs(which: str, factor: float, k: int, tol: float) -> None:
    """A restart that keeps too little needs many times the products.

    The small negative end is hard for any polynomial that must stay small on outliers a hundred times larger, and 12
    rows cannot hold all 14 of them: 4.2 times the products there, and 6 where a restart keeps the wanted end alone.
    """
    operator = with_spectrum(network_like())
    pairs = 2 * k if which == "both" else k
    free = hessian_eigenvalues(operator, k, which, tol, max_hvps=600, max_basis=400)
    small = hessian_eigenvalues(operator, k, which, tol, max_hvps=600, max_basis=2 * pairs + 10)
    assert free.status is small.status is Status.CONVERGED
    assert_pairs(small, operator, tol)
    assert_close(small.values, free.values, relative=2 * tol)
    assert small.num_hvps <= factor * free.num_hvps


def test_the_limit_is_kept() -> None:
    from analysis.curvature import basis

    rows = []

    class Counting(basis.Basis):
        def append(self, vector: torch.Tensor) -> None:
            super().append(vector)
            rows.append(self.rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.curvature.lanczos.Basis", Counting)
        found = hessian_eigenvalues(with_spectrum(network_like()), 2, tol=1e-8, max_basis=6, max_hvps=400)
    assert found.status is Status.CONVERGED
    assert found.num_hvps > max(rows) == 6


@pytest.mark.parametrize("k", [3, 4, 6])
def test_a_threefold_eigenvalue_is_found_three_times_when_asked_for(k: int) -> None:
    """Beside a spectrum without other copies no Krylov space closes: only a new start can find them."""
    spectrum = network_like()
    spectrum[-2:] = 30.0
    expected = spectrum.sort(descending=True).values[:k]
    operator = with_spectrum(spectrum)
    found = hessian_eigenvalues(operator, k, tol=1e-3, copies=True)
    assert_close(found.values, expected, relative=1e-3)
    assert found.has_copies
    assert found.status is Status.CONVERGED
    assert_pairs(found, operator, 1e-3)
    assert found.num_hvps == operator.calls
    once = hessian_eigenvalues(operator, k, tol=1e-3)
    assert not once.has_copies
    assert float((once.values > 29.0).sum()) < 3


def test_where_there_are_no_copies_none_are_made() -> None:
    operator = with_spectrum(network_like())
    found = hessian_eigenvalues(operator, 5, copies=True)
    assert_close(found.values, [30.0, 21.0, 17.0, 13.0, 11.0], relative=1e-2)
    assert_close(found.vectors @ found.vectors.T, torch.eye(5), absolute=1e-10)


def test_copies_at_both_ends() -> None:
    spectrum = network_like()
    spectrum[:2], spectrum[-1] = -9.0, 30.0
    found = hessian_eigenvalues(with_spectrum(spectrum), 2, "both", tol=1e-4, copies=True)
    assert_close(found.values, [30.0, 30.0, -9.0, -9.0], relative=1e-4)


def test_a_budget_that_ends_while_copies_are_sought_says_so() -> None:
    operator = with_spectrum(network_like())
    alone = hessian_eigenvalues(operator, 3, copies=False).num_hvps
    found = hessian_eigenvalues(operator, 3, copies=True, max_hvps=alone + 6)
    assert found.status is Status.MAX_HVPS
    assert not found.has_copies
    assert found.num_hvps == alone + 6
    assert_close(found.values, [30.0, 21.0, 17.0], relative=1e-2)  # what stood before still stands


def test_a_warm_start_costs_less_and_finds_the_same() -> None:
    """The matrix a little later: its eigenvectors have turned by some degrees."""
    first = with_spectrum(network_like())
    earlier = hessian_eigenvalues(first, 5, tol=1e-3)
    noise = torch.randn(400, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    later = Dense(first.matrix + 0.002 * (noise + noise.T))
    cold = hessian_eigenvalues(later, 5, tol=1e-3)
    warm = hessian_eigenvalues(later, 5, tol=1e-3, start=earlier.vectors)
    assert warm.num_hvps < cold.num_hvps
    assert_close(warm.values, cold.values, relative=2e-3)
    assert_pairs(warm, later, 1e-3)


def test_a_warm_start_still_finds_what_is_orthogonal_to_it() -> None:
    operator = with_spectrum(network_like())
    wrong = torch.linalg.eigh(operator.matrix)[1].T[100:102]
    assert_close(hessian_eigenvalues(operator, 1, start=wrong).values, [30.0], relative=1e-2)


def test_a_basis_on_the_host_gives_the_same_numbers() -> None:
    operator = with_spectrum(network_like())
    assert hessian_eigenvalues(operator, 3) == hessian_eigenvalues(operator, 3, basis_device="cpu")


def test_thirty_pairs_against_the_dense_spectrum() -> None:
    operator = with_spectrum(network_like())
    found = hessian_eigenvalues(operator, 30, tol=1e-4, max_hvps=400)
    assert found.status is Status.CONVERGED
    assert_close(found.values, np.sort(network_like().numpy())[::-1][:30], absolute=3e-3)
    assert_pairs(found, operator, 1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_basis": 3}, r"max_basis must be a whole number of vectors >= 4, .* got 3; 2 \* pairs \+ 10 = 14"),
        ({"max_basis": 2.5}, r"max_basis must be a whole number .* got 2\.5"),
        ({"start": torch.ones(7)}, r"start must be finite and of shape \(20,\) or \(K, 20\), got \(7,\)"),
        ({"start": torch.ones(2, 7)}, r"start must be .* got \(2, 7\)"),
        ({"start": torch.full((20,), torch.nan)}, r"start must be finite"),
    ],
)
def test_misuse_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hessian_eigenvalues(with_spectrum(torch.linspace(0, 1, 20)), 2, **options)
