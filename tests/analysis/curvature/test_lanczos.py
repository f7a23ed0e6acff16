"""The Lanczos relation, its exactness law and the orthogonality of its basis, on chosen spectra.

Blind to a wrong Hessian: the operators here are matrices.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.curvature.lanczos import BLOCK_ROWS, Lanczos, gaussian
from tests.analysis.curvature.operators import Dense, with_spectrum
from tests.compare import assert_close

EPS = float(np.finfo(np.float64).eps)
SPECTRUM = torch.linspace(-2, 10, 40)


def run(operator: Dense, steps: int) -> Lanczos:
    process = Lanczos(operator)
    process.start(gaussian(operator, torch.Generator().manual_seed(5)))
    for _ in range(steps):
        process.step()
    return process


@pytest.mark.parametrize("steps", [1, 2, BLOCK_ROWS, BLOCK_ROWS + 3, 40])
def test_relation_and_orthogonality_at_every_depth(steps: int) -> None:
    """Fails if a block of the basis is missed when orthogonalizing or combining."""
    operator = with_spectrum(SPECTRUM)
    process = run(operator, steps)
    q = process.basis.combine(np.eye(steps))
    t = torch.diag(torch.tensor(process.alphas, dtype=torch.float64))
    for i, beta in enumerate(process.betas[:-1]):
        t[i, i + 1] = t[i + 1, i] = beta
    rounding = 8 * 40 * EPS * 10  # D eps ||H||
    assert_close(q @ q.T, torch.eye(steps), absolute=rounding)
    rest = q @ operator.matrix - t @ q
    assert_close(rest[:-1], torch.zeros(steps - 1, 40), absolute=rounding)
    assert_close(torch.linalg.vector_norm(rest[-1]), process.betas[-1], absolute=rounding)


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


def test_a_closed_space_is_seen_and_left() -> None:
    operator = with_spectrum([3.0, 3.0, 3.0, 1.0, 1.0])
    process = run(operator, 2)
    assert process.is_closed
    process.start(gaussian(operator, torch.Generator().manual_seed(6)))
    process.step()
    assert process.betas[1] == 0.0
    assert process.starts == [0, 2]
    q = process.basis.combine(np.eye(3))
    assert_close(q @ q.T, torch.eye(3), absolute=100 * EPS)
    assert not run(with_spectrum(SPECTRUM), 5).is_closed


def test_the_zero_operator_is_closed_at_once() -> None:
    process = run(Dense(torch.zeros(4, 4)), 1)
    assert process.is_closed
    assert process.scale == 0.0
