"""The Lanczos relation, its exactness law and the orthogonality of its basis, on chosen spectra.

Blind to a wrong Hessian: the operators here are matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from analysis.curvature import basis
from analysis.curvature.lanczos import Lanczos, gaussian
from tests.analysis.curvature.operators import Dense, with_spectrum
from tests.compare import assert_close

EPS = float(np.finfo(np.float64).eps)
SPECTRUM = torch.linspace(-2, 10, 40)
ROUNDING = 8 * 40 * EPS * 10  # D eps ||H||


def run(operator: Dense, steps: int, **options: Any) -> Lanczos:
    process = Lanczos(operator, gaussian(operator, torch.Generator().manual_seed(5)), **options)
    for _ in range(steps):
        process.step()
    return process


def projection(process: Lanczos) -> torch.Tensor:
    """T, from its eigenpairs."""
    values, vectors = process.ritz()
    return torch.from_numpy(vectors @ np.diag(values) @ vectors.T)


def assert_relation(process: Lanczos, operator: Dense) -> None:
    steps = process.rows
    q = process.basis.combine(np.eye(steps))
    assert_close(q @ q.T, torch.eye(steps), absolute=ROUNDING)
    rest = q @ operator.matrix - projection(process) @ q
    assert_close(rest[:-1], torch.zeros(steps - 1, 40), absolute=ROUNDING)
    assert_close(torch.linalg.vector_norm(rest[-1]), process.betas[-1], absolute=ROUNDING)
    assert_close(rest[-1], process.betas[-1] * process.direction, absolute=ROUNDING)


@pytest.mark.parametrize("steps", [1, 2, basis.BLOCK_ROWS, basis.BLOCK_ROWS + 3, 40])
@pytest.mark.parametrize("block_numbers", [2**26, 100])
def test_relation_and_orthogonality_at_every_depth(
    steps: int, block_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if a block of the basis is missed when orthogonalizing or combining; small blocks hold two rows."""
    monkeypatch.setattr(basis, "BLOCK_NUMBERS", block_numbers)
    operator = with_spectrum(SPECTRUM)
    assert_relation(run(operator, steps), operator)


@pytest.mark.parametrize("block_numbers", [2**26, 100])
def test_the_relation_holds_after_restarts(block_numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a coupling is lost, or if rows are overwritten before they were read."""
    monkeypatch.setattr(basis, "BLOCK_NUMBERS", block_numbers)
    operator = with_spectrum(SPECTRUM)
    process = run(operator, 20)
    for keep in (7, 3, 9):
        process.restart(np.arange(process.rows)[::-1][:keep])
        assert process.rows == keep
        for _ in range(8):
            process.step()
        assert_relation(process, operator)
    assert process.num_hvps == operator.calls == 20 + 3 * 8


def test_on_the_host_the_numbers_are_the_same() -> None:
    plain, host = (run(with_spectrum(SPECTRUM), 20, storage=where) for where in (None, torch.device("cpu")))
    assert np.array_equal(plain.ritz()[0], host.ritz()[0])


def test_locked_rows_are_kept_out_and_their_share_is_told() -> None:
    """A process beside rough eigenvectors: bounds are true residuals, the part along the locked rows included."""
    operator = with_spectrum(SPECTRUM)
    vectors = torch.linalg.eigh(operator.matrix)[1]
    rough = vectors.T[-2:] + 0.01 * torch.randn(2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    locked = torch.linalg.qr(rough.T)[0].T
    process = run(operator, 30, locked=locked)
    process.restart(np.arange(30)[::-1][:4])
    for _ in range(3):
        process.step()
    s = process.ritz()[1][:, -2:]
    y = process.basis.combine(s.T)
    assert_close(y @ locked.T, torch.zeros(2, 2), absolute=ROUNDING)
    theta = process.ritz()[0][-2:, None]
    assert_close(process.bounds(s), (y @ operator.matrix - torch.from_numpy(theta) * y).norm(dim=1), absolute=ROUNDING)
    assert float(process.bounds(s)[0]) > 1e-4


def test_single_precision_stays_orthogonal_past_convergence() -> None:
    """Fails without the second orthogonalization: converged directions come back as ghosts."""
    operator = with_spectrum([1e4, 1e3, *np.linspace(0, 1, 58)], torch.float32)
    process = run(operator, 50)
    q = process.basis.combine(np.eye(50)).double()
    assert_close(q @ q.T, torch.eye(50), absolute=1e-5)


def test_moments_are_exact_below_twice_the_steps_and_not_at_it() -> None:
    operator = with_spectrum(SPECTRUM)
    steps = 6
    process = run(operator, steps)
    values, vectors = process.ritz()
    v = gaussian(operator, torch.Generator().manual_seed(5))
    v = v / v.norm()
    power = v.clone()
    for j in range(2 * steps + 1):
        truth, rule = float(v @ power), float((vectors[0] ** 2 * values**j).sum())
        if j < 2 * steps:
            assert abs(rule - truth) <= 1e-11 * 10**j  # rounding, relative to ||H||^j
        else:
            assert abs(rule - truth) > 1e-6 * abs(truth)
        power = operator.matrix @ power


def test_a_closed_space_is_seen() -> None:
    assert run(with_spectrum([3.0, 3.0, 3.0, 1.0, 1.0]), 2).is_closed
    assert not run(with_spectrum(SPECTRUM), 5).is_closed


def test_what_is_left_beside_locked_rows_is_measured_on_the_scale_of_h() -> None:
    """Rounding is all that is left here: without the scale from before, it would be taken for curvature."""
    operator = with_spectrum([3.0, 2.0, *[0.0] * 8])
    vectors = torch.linalg.eigh(operator.matrix)[1].T[-2:]
    assert run(operator, 1, locked=vectors, scale=3.0).is_closed


def test_the_zero_operator_is_closed_at_once() -> None:
    process = run(Dense(torch.zeros(4, 4)), 1)
    assert process.is_closed
    assert process.scale == 0.0
