"""The scale of every weight against a loop over outputs, and measures with it against closed forms of quadratics.

What no test here sees: whether rows are the right filters for a layer that `Objective.row_dims` gets wrong; that is
tested by perturbing rows (`tests/gcsam/test_centralize.py`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import analysis
from analysis import Objective, pac_bayes_sigma, sharpness, sharpness_curve, sharpness_difference
from analysis.evidence import from_measurement
from analysis.flatness.perturbation import perturbation, scale_named, weight_scale
from analysis.store import read
from tests.analysis.flatness.regression import problem
from tests.cases import CASES
from tests.compare import assert_close
from tests.oracles import dense
from tests.oracles.trust_region import maximum

CALLS: dict[str, Any] = {
    "sharpness": sharpness,
    "sharpness_curve": lambda objective, **settings: sharpness_curve(objective, [0.1], **settings),
    "pac_bayes_sigma": lambda objective, **settings: pac_bayes_sigma(objective, samples=2, **settings),
}


class Mixed(nn.Module):
    """One layer of each kind whose outputs lie along another axis; no input reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2)
        self.up = nn.ConvTranspose2d(3, 5, 2, bias=False)
        self.norm = nn.LayerNorm((2, 3))
        self.words = nn.Embedding(6, 3)
        self.head = nn.Linear(4, 2)


def filters(model: Mixed) -> Tensor:
    """Return the norm of each weight's filter, output by output."""
    conv, up, head = torch.empty_like(model.conv.weight), torch.empty_like(model.up.weight), torch.empty(2, 4).double()
    for output in range(4):
        conv[output] = model.conv.weight[output].square().sum().sqrt()
    for output in range(5):
        up[:, output] = model.up.weight[:, output].square().sum().sqrt()
    for output in range(2):
        head[output] = model.head.weight[output].square().sum().sqrt()
    words = torch.stack([row.square().sum().sqrt().expand(3) for row in model.words.weight])
    norm = [model.norm.weight.abs(), model.norm.bias.abs()]
    pieces = [conv, model.conv.bias.abs(), up, *norm, words, head, model.head.bias.abs()]
    return torch.cat([piece.detach().flatten() for piece in pieces])


def test_every_weight_has_the_norm_of_its_filter_or_its_own() -> None:
    torch.manual_seed(0)
    model = Mixed().double()
    nn.init.normal_(model.norm.weight)
    nn.init.normal_(model.norm.bias)
    objective = Objective(model, nn.MSELoss(), (torch.ones(1), torch.ones(1)))
    assert_close(weight_scale(objective, "filters"), filters(model), relative=1e-15)
    assert torch.equal(weight_scale(objective, "weights"), objective.weights().abs())
    assert torch.equal(weight_scale(objective, "none"), torch.ones(objective.num_parameters, dtype=torch.float64))


def test_what_of_u_moves_the_weights() -> None:
    """Fails if a random start keeps a part that the map takes to zero: its perturbation would be too short."""
    objective, _, _ = problem()
    with torch.no_grad():
        objective.model.weight[0, 1:3] = 0.0
    u = torch.linspace(1, 2, 6, dtype=torch.float64)
    assert perturbation(objective, "weights").moving(u).tolist() == [1.0, 0.0, 0.0, *u[3:].tolist()]
    assert torch.equal(perturbation(objective, "none").moving(u), u)
    assert torch.equal(perturbation(objective, "filters").moving(u), u)
    assert_close(perturbation(objective, "none", "centralized").moving(u), u - 1.5, relative=1e-15)
    assert_close(perturbation(objective, "none", "centralized").of(u), u - 1.5, relative=1e-15)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_one_filter_is_a_ball_of_another_radius(norm: str) -> None:
    """A linear layer of one output is one filter. Fails if a row's norm is not that of the whole row."""
    objective, _, _ = problem()
    size = float(objective.weights().norm())
    one, other = sharpness(objective, 0.1, adaptive="filters", norm=norm), sharpness(objective, 0.1 * size, norm=norm)
    assert one.value == pytest.approx(other.value, rel=1e-6)
    assert (one.adaptive, one.scale, other.adaptive, other.scale) == (True, "filters", False, "none")


def test_worst_and_average_of_a_quadratic_of_several_filters_and_biases() -> None:
    model, loss_fn, batches = CASES[0].make()
    objective = Objective(model, loss_fn, batches)
    hessian, gradient = dense.hessian(model, loss_fn, batches), dense.gradient(model, loss_fn, batches)
    rows = model.weight.detach().norm(dim=1, keepdim=True).expand(3, 4).flatten()
    scale = torch.cat([rows, model.bias.detach().abs()])
    worst = sharpness(objective, 0.2, adaptive="filters", tol=1e-6, steps=200)
    # the oracle's Hessian is by central differences, exact to 1e-9
    assert worst.value == pytest.approx(maximum(scale[:, None] * hessian * scale, scale * gradient, 0.2)[0], rel=1e-8)
    average = sharpness(objective, 0.2, "average", "filters", samples=200)
    expected = 0.2**2 / 2 * float((hessian.diagonal() * scale.square()).sum())
    assert abs(average.value - expected) < 4 * average.standard_error < 0.4 * expected
    sigma = pac_bayes_sigma(objective, average.value, "filters", samples=200)
    assert abs(sigma.value - 0.2) < 4 * sigma.standard_error < 0.1
    assert (sigma.adaptive, sigma.scale) == (True, "filters")


@pytest.mark.parametrize("kind", ["worst", "average"])
def test_a_curve_has_the_scale_of_sharpness(kind: str) -> None:
    objective = Objective(*CASES[2].make())
    found = sharpness_curve(objective, [0.1], kind, "filters", samples=4)
    assert torch.equal(found.samples[0], sharpness(objective, 0.1, kind, "filters", samples=4).samples)
    assert (found.adaptive, found.scale) == (True, "filters")


def test_true_is_weights() -> None:
    objective = Objective(*CASES[2].make())
    for call in CALLS.values():
        assert call(objective, adaptive=True) == call(objective, adaptive="weights")
        assert call(objective, adaptive=True) != call(objective, adaptive="filters")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("adaptive", [False, True])
def test_files_without_a_scale_have_that_of_adaptive(name: str, adaptive: bool, tmp_path: Path) -> None:
    found = CALLS[name](problem()[0], adaptive=adaptive)
    found.save(tmp_path / "run.h5", "found")
    assert analysis.load(tmp_path / "run.h5", "sharpness/found") == found
    stored = read(tmp_path / "run.h5", "sharpness/found")
    del stored.variables["scale"]
    assert from_measurement(stored) == found
    assert found.scale == ("weights" if adaptive else "none")


def test_two_scales_are_not_compared(tmp_path: Path) -> None:
    objective, _, _ = problem()
    a, b = (sharpness_curve(objective, [0.1], adaptive=adaptive, m=6) for adaptive in ("weights", "filters"))
    with pytest.raises(ValueError, match="both must be measured with the same scale, got 'weights' and 'filters'"):
        sharpness_difference(a, b)
    same = sharpness_difference(b, b)
    assert (same.adaptive, same.scale) == (True, "filters")
    same.save(tmp_path / "run.h5", "same")
    assert analysis.load(tmp_path / "run.h5", "sharpness/same") == same


@pytest.mark.parametrize("adaptive", ["rows", "none", "", math.nan, None, 1])
def test_other_scales_are_refused(adaptive: Any) -> None:
    message = r"adaptive must be False, True \(for 'weights'\), 'weights' or 'filters', got "
    for call in (*CALLS.values(), lambda _, adaptive: scale_named(adaptive)):
        with pytest.raises(ValueError, match=message + repr(adaptive)):
            call(problem()[0], adaptive=adaptive)
