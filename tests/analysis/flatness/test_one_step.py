"""SAM's perturbation as it is, against its formula, with a gradient that plain autograd finds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import analysis
from analysis import Objective, sharpness, sharpness_curve
from analysis.evidence import Status
from tests.analysis.flatness.regression import problem
from tests.cases import CASES
from tests.oracles import dense

RHO = 0.3


@pytest.mark.parametrize("index", [1, 2])
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("adaptive", [False, "weights", "filters"])
def test_it_is_the_rise_along_the_gradient_by_the_formula(index: int, norm: str, adaptive: Any) -> None:
    """Against epsilon = rho T^2 g / ||T g|| in L2 (Kwon et al., eq. 7), rho T sign(g) in a box; T diagonal."""
    model, loss_fn, batches = CASES[index].make()
    objective = Objective(model, loss_fn, batches)
    gradient, weights = dense.gradient(model, loss_fn, batches), dense.weights(model)
    scale = torch.ones_like(weights)
    if adaptive:
        sizes = [
            p.detach().flatten(1).norm(dim=1)[:, None].expand(-1, p[0].numel()).flatten()
            if adaptive == "filters" and p.ndim > 1
            else p.detach().abs().flatten()
            for p in model.parameters()
        ]
        scale = torch.cat(sizes)
    if norm == "l2":
        epsilon = RHO * scale.square() * gradient / (scale * gradient).norm()
    else:
        epsilon = RHO * scale * gradient.sign()
    found = sharpness(objective, RHO, adaptive=adaptive, norm=norm, steps=0)
    x, y = (torch.cat(list(column)) for column in zip(*batches, strict=True))
    model.eval()
    with torch.no_grad():
        before = float(loss_fn(model(x), y))
        nn.utils.vector_to_parameters(weights + epsilon, model.parameters())
        expected = float(loss_fn(model(x), y)) - before
    # losses of size 1 and their gradients carry a few roundings
    assert found.value == pytest.approx(expected, abs=1e-14)
    assert expected > 1e-3
    assert (found.num_gradients, found.num_losses, found.status) == (1, 2, Status.COMPLETE)
    assert math.isnan(found.residual)
    assert found.base_loss == pytest.approx(before, rel=1e-14)


def test_costs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a second gradient is computed for a residual, or restarts count."""
    objective, calls = problem()[0], {"gradient": 0, "loss": 0}
    for name in calls:
        original = getattr(objective, name)

        def counted(*args: Any, name: str = name, original: Any = original) -> Any:
            calls[name] += 1
            return original(*args)

        monkeypatch.setattr(objective, name, counted)
    monkeypatch.setattr("analysis.flatness.sharpness.parts_of", lambda *_: [(objective, 24)])
    seen: list[tuple[int, int]] = []
    sharpness(objective, steps=0, restarts=5, progress=lambda *pair: seen.append(pair))
    assert calls == {"gradient": 1, "loss": 2}
    assert seen == [(1, 1)]


def test_steps_never_end_lower() -> None:
    for case in CASES[1:4]:
        objective = Objective(*case.make())
        values = [sharpness(objective, 1.0, steps=steps, restarts=0).value for steps in (0, 1, 20)]
        assert values == sorted(values)


def test_a_fall_along_the_gradient_is_told_as_it_is() -> None:
    """L = (w - 1)^2 / 2 - (w - 1)^4 from w = 1.1 climbs past its maximum: fails if 0 takes the place of a fall."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 1.1)
    x = torch.ones(1, 1, dtype=torch.float64)
    objective = Objective(model, lambda output, _: ((output - 1) ** 2 / 2 - (output - 1) ** 4).mean(), (x, x))
    expected = (1.1**2 / 2 - 1.1**4) - (0.1**2 / 2 - 0.1**4)
    assert sharpness(objective, 1.0, steps=0).value == pytest.approx(expected, rel=1e-12)
    assert sharpness(objective, 1.0).value > 0
    curve = sharpness_curve(objective, [0.3, 1.0], steps=0)
    assert float(curve.value[0]) > 0 > float(curve.value[1])  # the point of the smaller ball does not count here
    assert curve.statuses == ("COMPLETE", "COMPLETE")


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_without_a_gradient_there_is_no_perturbation(norm: str) -> None:
    x = torch.ones(4, 2)
    found = sharpness(Objective(nn.Linear(2, 1), lambda output, _: 0 * output.sum(), (x, x)), steps=0, norm=norm)
    assert (found.value, found.status) == (0.0, Status.COMPLETE)


def test_a_loss_that_is_not_finite_is_told() -> None:
    x = torch.ones(4, 2)
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    found = sharpness(Objective(model, lambda output, _: -output.log().mean(), (x, x)), 10.0, steps=0)
    assert found.status is Status.NOT_FINITE
    assert math.isnan(found.value)


def test_of_subsets_it_is_m_sharpness_saved_and_loaded_equal(tmp_path: Path) -> None:
    objective = Objective(*CASES[1].make(torch.float32))
    found = sharpness(objective, m=3, steps=0)
    assert (found.num_gradients, found.num_losses, found.m) == (4, 8, 3)
    assert found.value > sharpness(objective, steps=0).value  # each subset has its own way up
    found.save(tmp_path / "run.h5", "sam")
    assert analysis.load(tmp_path / "run.h5", "sharpness/sam") == found
    curve = sharpness_curve(objective, [0.05], m=3, steps=0)
    assert torch.equal(curve.samples[0], found.samples)
