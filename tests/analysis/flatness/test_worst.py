"""The worst rise against the closed form, and the laws it keeps on networks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from analysis import Objective, sharpness
from analysis.evidence import Status
from analysis.flatness.worst import Search, worst_rise
from tests.analysis.flatness.regression import problem
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles.trust_region import maximum

RADII = (0.01, 0.3, 3.0)


def search(**changes: Any) -> Search:
    return Search(**{"rho": 0.1, "scale": "none", "steps": 100, "restarts": 0, "tol": 1e-6, "seed": 0, **changes})


@pytest.mark.parametrize("rho", RADII)
def test_a_quadratic_reaches_the_trust_region_maximum(rho: float) -> None:
    objective, hessian, gradient = problem()
    found = worst_rise(objective, search(rho=rho), lambda: None)
    expected, point = maximum(hessian, gradient, rho)
    # at a residual of 1e-6 the value is off by about its square, the point by about itself over the spectral gap
    assert found.rise == pytest.approx(expected, rel=1e-9)
    assert_close(found.perturbation, point, absolute=1e-4 * rho)
    assert found.residual <= 1e-6


@pytest.mark.parametrize("rho", RADII)
def test_adaptive_is_the_maximum_in_relative_coordinates(rho: float) -> None:
    objective, hessian, gradient = problem()
    scale = objective.weights().abs()
    expected, point = maximum(scale[:, None] * hessian * scale, scale * gradient, rho)
    found = worst_rise(objective, search(rho=rho, scale="weights"), lambda: None)
    assert found.rise == pytest.approx(expected, rel=1e-9)
    assert_close(found.perturbation, scale * point, absolute=1e-3 * rho)


def test_at_a_minimum_it_is_half_lambda_max_rho_squared() -> None:
    """The gradient is zero there, so the ascent starts at random: SAM's start does not exist."""
    objective, hessian, _ = problem(slope=0.0)
    found = sharpness(objective, rho=0.5, tol=1e-4, steps=200)
    lambda_max = float(torch.linalg.eigvalsh(hessian)[-1])
    assert found.value == pytest.approx(lambda_max * 0.5**2 / 2, rel=1e-6)
    assert found.status is Status.CONVERGED


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_nothing_found_at_random_is_worse(case: Case) -> None:
    """On networks there is no closed form; but 200 random points of the ball stay below."""
    objective = Objective(*case.make())
    found = sharpness(objective, rho=0.5)
    weights, base = objective.weights(), objective.loss()
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        u = torch.randn(len(weights), generator=generator).double()
        assert objective.loss(weights + 0.5 * u / u.norm()) - base <= found.value


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_monotone_in_rho(case: Case) -> None:
    objective = Objective(*case.make())
    values = [sharpness(objective, rho=rho, restarts=2).value for rho in (0.01, 0.1, 0.5)]
    assert values == sorted(values)
    assert values[0] > 0


def test_more_restarts_never_lower_the_value() -> None:
    objective = Objective(*CASES[1].make())
    values = [sharpness(objective, rho=2.0, restarts=restarts).value for restarts in (0, 1, 4)]
    assert values == sorted(values)


def test_the_reported_point_is_in_the_ball_and_has_the_reported_rise() -> None:
    objective = Objective(*CASES[2].make())
    found = worst_rise(objective, search(rho=0.7), lambda: None)
    assert float(found.perturbation.norm()) <= 0.7 * (1 + 1e-12)
    rise = objective.loss(objective.weights() + found.perturbation) - objective.loss()
    assert found.rise == pytest.approx(rise, rel=1e-9)


def test_adaptive_does_not_change_when_a_relu_network_is_rescaled() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    data = [(torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,)))]
    objective = Objective(model, nn.CrossEntropyLoss(), data)
    kinds = [("worst", True), ("average", True), ("worst", False)]
    before = [sharpness(objective, rho=0.1, kind=kind, adaptive=adaptive) for kind, adaptive in kinds]
    with torch.no_grad():
        model[0].weight *= 10
        model[0].bias *= 10
        model[2].weight /= 10
    after = [sharpness(objective, rho=0.1, kind=kind, adaptive=adaptive) for kind, adaptive in kinds]
    assert after[0].value == pytest.approx(before[0].value, rel=1e-6)
    assert after[1].value == pytest.approx(before[1].value, rel=1e-9)
    assert abs(after[2].value / before[2].value - 1) > 0.1  # the plain one does change


def test_few_steps_are_told_to_be_a_lower_bound() -> None:
    objective = Objective(*CASES[1].make())
    short, long = (sharpness(objective, rho=1.0, steps=steps, restarts=0, tol=1e-8) for steps in (1, 300))
    assert short.status is Status.MAX_STEPS
    assert short.value <= long.value
    assert short.residual > long.residual


def test_costs_are_counted() -> None:
    calls = {"gradient": 0, "loss": 0}
    objective, _, _ = problem()
    for name in calls:
        original = getattr(objective, name)

        def counted(*args: Any, name: str = name, original: Any = original) -> Any:
            calls[name] += 1
            return original(*args)

        setattr(objective, name, counted)
    found = worst_rise(objective, search(restarts=2, steps=5), lambda: None)
    assert (found.num_gradients, found.num_losses) == (calls["gradient"], calls["loss"])
    assert found.num_gradients <= 1 + 3 * 5


def test_a_constant_loss_has_no_sharpness() -> None:
    x = torch.ones(4, 2)
    found = sharpness(Objective(nn.Linear(2, 1), lambda output, _: 0 * output.sum(), [(x, x)]))
    assert found.value == 0.0


@pytest.mark.parametrize("kind", ["worst", "average"])
def test_a_loss_that_is_not_finite_is_told(kind: str) -> None:
    x = torch.ones(4, 2)
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, 1e-3)
    found = sharpness(Objective(model, lambda output, _: -output.log().mean(), [(x, x)]), rho=10.0, kind=kind)
    assert found.status is Status.NOT_FINITE
    assert not math.isfinite(found.value)
