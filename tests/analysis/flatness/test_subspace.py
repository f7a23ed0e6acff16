"""Perturbations P u against closed forms with the matrix of P, formed from its definition, in float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import analysis
from analysis import Centralized, Objective, hessian_eigenvalues, sharpness, sharpness_curve, sharpness_difference
from analysis.evidence import from_measurement
from analysis.flatness.worst import Search, worst_rise
from analysis.store import read
from tests.analysis.flatness.regression import DIMENSION, problem
from tests.cases import CASES
from tests.oracles import dense
from tests.oracles.trust_region import maximum

P = torch.eye(DIMENSION, dtype=torch.float64) - torch.full((DIMENSION, DIMENSION), 1 / DIMENSION, dtype=torch.float64)


def centralized_rows(model: Any, gradient: Tensor) -> Tensor:
    """Return the gradient less the mean of each row of the two matrices of an MLP, biases as they are."""
    pieces, start = [], 0
    for parameter in model.parameters():
        piece = gradient[start : start + parameter.numel()].reshape(parameter.shape)
        start += parameter.numel()
        pieces.append((piece - piece.mean(1, keepdim=True) if piece.ndim == 2 else piece).flatten())
    return torch.cat(pieces)


@pytest.mark.parametrize("rho", [0.05, 1.0])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_worst_of_a_quadratic_is_the_maximum_of_its_restriction(rho: float, slope: float) -> None:
    """The maximum over ||u|| <= rho of g.Pu + Pu.H.Pu / 2: the trust region of P H P and P g."""
    objective, hessian, gradient = problem(slope=slope)
    if slope == 0:  # at the minimum the maximum is lambda_max(P H P) rho^2 / 2
        expected = float(torch.linalg.eigvalsh(P @ hessian @ P)[-1]) * rho**2 / 2
    else:
        expected = maximum(P @ hessian @ P, P @ gradient, rho)[0]
    found = sharpness(objective, rho, subspace="centralized", tol=1e-6, steps=200)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.value < sharpness(objective, rho, tol=1e-6, steps=200).value * (1 - 1e-3)
    assert (found.subspace, found.scale) == ("centralized", "none")


def test_the_worst_point_lies_in_the_subspace_and_in_the_ball() -> None:
    objective = Objective(*CASES[1].make())
    for steps, restarts in ((20, 2), (0, 0)):
        found = worst_rise(
            objective, Search(0.4, "none", steps, restarts, 1e-3, 0, subspace="centralized"), lambda: None
        )
        moved = Centralized(objective).project(found.perturbation)
        assert float((moved - found.perturbation).norm()) < 1e-14
        assert float(found.perturbation.norm()) <= 0.4 * (1 + 1e-12)
    assert float(found.perturbation.norm()) == pytest.approx(0.4, rel=1e-12)


def test_without_steps_it_is_the_rise_along_the_perturbation_of_gcsam() -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    along = centralized_rows(model, dense.gradient(model, loss_fn, batches))
    expected = objective.loss(objective.weights() + 0.3 * along / along.norm()) - objective.loss()
    found = sharpness(objective, 0.3, subspace="centralized", steps=0)
    assert found.value == pytest.approx(expected, abs=1e-14)
    assert abs(expected / sharpness(objective, 0.3, steps=0).value - 1) > 1e-3


def test_average_of_a_quadratic_is_half_rho_squared_trace_of_the_restriction() -> None:
    objective, hessian, _ = problem()
    found = sharpness(objective, 0.3, "average", subspace="centralized", samples=400)
    expected = 0.3**2 / 2 * float(torch.trace(P @ hessian @ P))
    assert abs(found.value - expected) < 4 * found.standard_error
    assert abs(found.value - 0.3**2 / 2 * float(torch.trace(hessian))) > 4 * found.standard_error


def test_small_balls_at_a_minimum_see_the_largest_eigenvalue_of_the_centralized_hessian() -> None:
    objective, _, _ = problem(slope=0.0)
    top = float(hessian_eigenvalues(Centralized(objective), k=1, tol=1e-6).values[0])
    found = sharpness(objective, 0.01, subspace="centralized", tol=1e-4, steps=200)
    assert found.value == pytest.approx(top * 0.01**2 / 2, rel=1e-6)


@pytest.mark.parametrize("kind", ["worst", "average"])
def test_curve_difference_and_files(kind: str, tmp_path: Path) -> None:
    objective = Objective(*CASES[1].make())
    found = sharpness_curve(objective, [0.1], kind, subspace="centralized", samples=4)
    one = sharpness(objective, 0.1, kind, subspace="centralized", samples=4)
    assert torch.equal(found.samples[0], one.samples)
    assert found.subspace == "centralized"
    for name, result in (("curve", found), ("one", one), ("difference", sharpness_difference(one, one))):
        assert result.subspace == "centralized"
        result.save(tmp_path / "run.h5", name)
        assert analysis.load(tmp_path / "run.h5", f"sharpness/{name}") == result
    plain = sharpness(objective, 0.1, kind, samples=4)
    with pytest.raises(ValueError, match="both must be measured with the same subspace, got 'centralized' and 'all'"):
        sharpness_difference(one, plain)
    plain.save(tmp_path / "run.h5", "plain")
    stored = read(tmp_path / "run.h5", "sharpness/plain")
    del stored.variables["subspace"]  # as files of earlier versions
    assert from_measurement(stored) == plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subspace": "rows"}, "subspace must be one of all, centralized, got 'rows'"),
        ({"subspace": math.nan}, "subspace must be one of all, centralized, got nan"),
        ({"subspace": "centralized", "norm": "linf"}, "subspace='centralized' is for norm='l2' and adaptive=False"),
        ({"subspace": "centralized", "adaptive": True}, "subspace='centralized' is for norm='l2' and adaptive=False"),
    ],
)
def test_subspaces_that_are_none_are_refused(settings: dict[str, Any], message: str) -> None:
    objective, _, _ = problem()
    for call in (lambda: sharpness(objective, **settings), lambda: sharpness_curve(objective, [0.1], **settings)):
        with pytest.raises(ValueError, match=message):
            call()
