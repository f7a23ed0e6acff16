"""Quadratics, whose crossing is 2 g.d / d.H.d, and a quartic whose crossing scipy finds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.optimize import brentq
from torch import nn

import analysis
from analysis import Objective, critical_sharpness
from analysis.evidence import Status
from tests.analysis.flatness.regression import problem
from tests.cases import CASES


@pytest.mark.parametrize("index", [0, 3, 5])
def test_along_an_eigenvector_it_is_the_eigenvalue(index: int) -> None:
    objective, hessian, _ = problem(slope=0.0)
    eigenvalues, vectors = torch.linalg.eigh(hessian)
    with torch.no_grad():
        objective.model.weight += vectors[:, index]
    found = critical_sharpness(objective, tol=1e-6)
    assert found.value == pytest.approx(float(eigenvalues[index]), rel=1e-6)  # half the bracket, and rounding
    assert found.status is Status.CONVERGED
    assert found.low <= found.learning_rate <= found.high <= found.low / (1 - 1e-6)
    assert (found.base_loss, found.num_gradients) == (objective.loss(), 1)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_along_any_direction_it_is_curvature_over_slope(scale: float) -> None:
    """Fails if the direction is normalized."""
    objective, hessian, gradient = problem()
    direction = scale * gradient * torch.linspace(0.2, 3.0, 6, dtype=torch.float64)
    found = critical_sharpness(objective, direction, tol=1e-6)
    expected = float(direction @ hessian @ direction) / float(gradient @ direction)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.num_gradients == 0


def test_a_quartic_crosses_where_scipy_says() -> None:
    x = torch.ones(1, 1, dtype=torch.float64)
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 1.3)
    objective = Objective(model, lambda output, _: (output**4 / 4 - output**2 / 8).mean(), (x, x))
    slope = 1.3**3 - 1.3 / 4

    def rise(eta: float) -> float:
        w = 1.3 - eta * slope
        return (w**4 / 4 - w**2 / 8) - (1.3**4 / 4 - 1.3**2 / 8)

    eta = brentq(rise, 1e-2, 100.0, xtol=1e-12)
    assert critical_sharpness(objective, tol=1e-6).learning_rate == pytest.approx(eta, rel=1e-6)


def test_losses_are_counted_and_the_budget_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, _, _ = problem()
    found = critical_sharpness(objective)
    assert 2 < found.num_losses <= 30
    short = critical_sharpness(objective, max_losses=found.num_losses - 1)
    assert (short.status, short.num_losses) == (Status.MAX_STEPS, found.num_losses - 1)
    assert short.low < found.learning_rate < short.high


@pytest.mark.parametrize("factor", [2.0**-30, 2.0**30])
def test_the_search_does_not_mind_units(factor: float) -> None:
    """Steps are measured by the weights. Fails if a search starts at a number, and then takes another way."""
    objective, _, gradient = problem()
    plain = critical_sharpness(objective)
    along = critical_sharpness(objective, factor * gradient)
    assert (along.value, along.num_losses) == (pytest.approx(factor * plain.value, rel=1e-12), plain.num_losses)
    with torch.no_grad():
        objective.model.weight *= factor
    scaled = critical_sharpness(objective.on([(x, factor * y) for x, y in objective.data]))
    assert (scaled.value, scaled.num_losses) == (pytest.approx(plain.value, rel=1e-12), plain.num_losses)


def test_weights_of_zero_have_steps_too() -> None:
    objective, hessian, _ = problem()
    torch.nn.init.zeros_(objective.model.weight)
    gradient = objective.gradient()
    expected = float(gradient @ hessian @ gradient) / float(gradient @ gradient)
    assert critical_sharpness(objective, tol=1e-6).value == pytest.approx(expected, rel=1e-6)


def test_a_bracket_of_exactly_the_tolerance_is_converged() -> None:
    found = critical_sharpness(problem()[0], tol=0.5)
    assert (found.high, found.status) == (2 * found.low, Status.CONVERGED)


def test_a_direction_up_or_along_a_line_has_no_bracket() -> None:
    objective, _, gradient = problem()
    upward = critical_sharpness(objective, -gradient)
    # halved from 1e-2 of the weights to eps^(3/4) of them: log2(1e-2 / 1.8e-12) = 32.3, the first try and the base
    assert (upward.low, upward.status, upward.num_losses) == (0.0, Status.NO_BRACKET, 34)
    assert math.isnan(upward.value)
    x = torch.ones(2, 2)
    line = critical_sharpness(Objective(nn.Linear(2, 1, bias=False), lambda output, _: output.mean(), (x, x)))
    assert (line.high, line.status) == (math.inf, Status.NO_BRACKET)
    flat = critical_sharpness(Objective(nn.Linear(2, 1), lambda output, _: 0 * output.mean(), (x, x)))
    level = critical_sharpness(Objective(nn.Linear(2, 1), lambda output, _: 0 * output.mean(), (x, x)), torch.ones(3))
    assert (level.high, level.status) == (math.inf, Status.NO_BRACKET)  # as high as at its start is no rise
    assert level.low > 0
    assert (flat.status, flat.low, flat.high, flat.num_losses) == (Status.NO_BRACKET, 0.0, math.inf, 1)


def test_a_loss_that_is_not_finite_is_told() -> None:
    x = torch.ones(2, 2)
    found = critical_sharpness(Objective(nn.Linear(2, 1), lambda output, _: output.mean() * math.nan, (x, x)))
    assert found.status is Status.NOT_FINITE
    assert math.isnan(found.value)


def test_either_of_loss_and_direction_that_is_not_finite_is_told() -> None:
    """Fails if one of them stands for both: then a bracket is sought where there is none."""
    objective, _, _ = problem()
    far = critical_sharpness(objective, torch.full((6,), math.inf))
    assert (far.status, far.low, far.high, far.num_losses) == (Status.NOT_FINITE, 0.0, math.inf, 1)
    x = torch.ones(2, 2)
    lost = Objective(nn.Linear(2, 1, bias=False), lambda output, _: output.mean() * math.nan, (x, x))
    assert critical_sharpness(lost, torch.ones(2)).status is Status.NOT_FINITE


def test_saved_and_loaded_equal_in_float32_and_everything_is_as_found(tmp_path: Path) -> None:
    model, loss_fn, batches = CASES[2].make(torch.float32)
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    with torch.inference_mode():
        found = critical_sharpness(Objective(model, loss_fn, batches))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    found.save(tmp_path / "run.h5", "critical")
    assert analysis.load(tmp_path / "run.h5", "sharpness/critical") == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tol": 0.0}, r"tol must be a number in \(0, 1\), got 0.0"),
        ({"tol": 1.0}, r"tol must be a number in \(0, 1\), got 1.0"),
        ({"tol": math.nan}, r"tol must be a number in \(0, 1\), got nan"),
        ({"max_losses": 1}, "max_losses must be a whole number >= 2, got 1"),
        ({"direction": torch.ones(3)}, r"direction must be a flat vector of shape \(6,\)"),
    ],
)
def test_arguments_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        critical_sharpness(problem()[0], **settings)
