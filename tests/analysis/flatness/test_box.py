"""Worst cases in an L-infinity ball: linear losses and separable quadratics in closed form, others by all corners."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import analysis
from analysis import Objective, sharpness, sharpness_curve
from analysis.flatness.ascent import ascend
from analysis.flatness.worst import Search, worst_rise
from analysis.store import read
from tests.analysis.flatness.regression import problem
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_loss_rises_by_rho_times_the_one_norm(adaptive: bool, dtype: torch.dtype) -> None:
    """Fails if the ball is that of another norm, or the scale is not |w|."""
    x = torch.tensor([[1.0, -3.0, 0.5, 0.0], [2.0, 1.0, -4.0, 0.0]], dtype=dtype)
    model = nn.Linear(4, 1, bias=False).to(dtype)
    objective = Objective(model, lambda output, _: output.mean(), (x, x))
    gradient = x.mean(0).double()
    scale = model.weight.detach()[0].abs().double() if adaptive else torch.ones(4).double()
    found = sharpness(objective, 0.3, norm="linf", adaptive=adaptive)
    # losses of size 1 carry a few roundings
    assert found.value == pytest.approx(0.3 * float((scale * gradient).abs().sum()), abs=16 * torch.finfo(dtype).eps)
    assert (found.norm, found.residual, found.status.name) == ("linf", 0.0, "CONVERGED")


def test_the_first_start_is_the_corner_of_a_linear_loss() -> None:
    """Fails if the ascent starts on the sphere, from where it has a way to go: one gradient for SAM's, one there."""
    x = torch.tensor([[1.0, -3.0, 0.5, 2.0]])
    objective = Objective(nn.Linear(4, 1, bias=False), lambda output, _: output.mean(), (x, x))
    assert sharpness(objective, 0.3, norm="linf", restarts=0).num_gradients == 2


def test_a_first_step_reaches_a_corner_in_many_dimensions() -> None:
    """Fails if steps are measured by the radius: a corner of 10^4 dimensions is 100 of them away."""
    slope = torch.ones(10_000, dtype=torch.float64)
    found = ascend(
        lambda u: float(u.sum()), lambda u: slope, torch.zeros_like(slope), 0.5, steps=9, tol=1e-9, norm="linf"
    )
    assert found.value == pytest.approx(5000.0, rel=1e-12)
    assert found.num_gradients == 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("radius", [0.1, 1.0, 5.0])
def test_a_separable_quadratic_is_maximized_coordinate_by_coordinate(seed: int, radius: float) -> None:
    """The largest g u + h u^2 / 2: at the face along g, or, where h < -|g| / radius, inside at -g / h."""
    generator = torch.Generator().manual_seed(seed)
    g, h = torch.randn(2, 20, dtype=torch.float64, generator=generator)
    best = torch.where(h < -g.abs() / radius, -g / h, radius * g.sign())
    found = ascend(
        lambda u: float(g @ u + h @ u.square() / 2),
        lambda u: g + h * u,
        radius * g.sign(),
        radius,
        steps=300,
        tol=1e-8,
        norm="linf",
    )
    assert found.residual <= 1e-8
    # free coordinates are off by their gradient, below 1e-8 of the largest seen, over |h| > 1e-3 here
    assert_close(found.point, best, absolute=1e-8 * 50 / float(h.abs().min()))
    assert float(found.point.abs().max()) <= radius


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("rho", [0.1, 1.0])
def test_a_convex_quadratic_is_worst_at_a_corner(adaptive: bool, rho: float) -> None:
    """All 64 corners; an ascent can end at a lower one, 30 restarts find the highest."""
    objective, hessian, gradient = problem()
    scale = objective.weights().abs() if adaptive else torch.ones(6, dtype=torch.float64)
    corners = torch.tensor(list(itertools.product([-rho, rho], repeat=6)), dtype=torch.float64) * scale
    expected = float((corners @ gradient + ((corners @ hessian) * corners).sum(1) / 2).max())
    found = sharpness(objective, rho, norm="linf", adaptive=adaptive, restarts=30)
    assert found.value == pytest.approx(expected, rel=1e-10)  # a corner is exact


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_nothing_found_at_random_is_worse_and_the_point_is_in_the_box(case: Case) -> None:
    objective = Objective(*case.make())
    weights, base = objective.weights(), objective.loss()
    found = worst_rise(objective, Search(0.1, "none", 20, 1, 1e-2, 0, "linf"), lambda: None)
    assert float(found.perturbation.abs().max()) <= 0.1
    assert found.rise == pytest.approx(objective.loss(weights + found.perturbation) - base, rel=1e-9)
    generator = torch.Generator().manual_seed(1)
    for _ in range(100):
        corner = torch.randn(len(weights), generator=generator).double().sign()
        assert objective.loss(weights + 0.1 * corner) - base <= found.rise


@pytest.mark.parametrize("adaptive", [False, True])
def test_more_restarts_never_lower_the_value(adaptive: bool) -> None:
    objective = Objective(*CASES[1].make())
    values = [
        sharpness(objective, 1.0, norm="linf", adaptive=adaptive, restarts=restarts).value for restarts in (0, 1, 4)
    ]
    assert values == sorted(values)


def test_the_box_holds_the_ball_and_the_ball_of_its_corners_holds_the_box() -> None:
    objective, _, _ = problem()
    inner, box, outer = (
        sharpness(objective, rho, norm=norm, restarts=9).value
        for rho, norm in ((0.3, "l2"), (0.3, "linf"), (0.3 * math.sqrt(6), "l2"))
    )
    assert inner < box < outer


def test_adaptive_in_a_box_does_not_change_when_weights_of_zero_stay() -> None:
    """Fails if a weight of 0 moves: 0/0, or a perturbation where c = 0."""
    model = nn.Linear(3, 1).double()
    nn.init.zeros_(model.bias)
    x = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = Objective(model, nn.MSELoss(), (x, x[:, :1] + 1))
    found = worst_rise(objective, Search(0.1, "weights", 20, 2, 1e-2, 0, "linf"), lambda: None)
    assert float(found.perturbation[-1]) == 0.0
    assert bool((found.perturbation.abs() <= 0.1 * objective.weights().abs()).all())
    assert found.rise > 0


def test_a_curve_in_a_box_never_falls_and_says_its_norm() -> None:
    found = sharpness_curve(Objective(*CASES[2].make()), [0.01, 0.1, 0.5], norm="linf", steps=5)
    assert bool((found.value.diff() >= 0).all())
    assert found.norm == "linf"


def test_saved_and_loaded_equal_and_files_without_a_norm_are_l2(tmp_path: Path, monkeypatch: Any) -> None:
    objective, _, _ = problem()
    for norm in ("l2", "linf"):
        found = sharpness(objective, norm=norm)
        found.save(tmp_path / "run.h5", norm)
        assert analysis.load(tmp_path / "run.h5", f"sharpness/{norm}") == found
    stored = read(tmp_path / "run.h5", "sharpness/l2")
    del stored.variables["norm"]
    assert analysis.evidence.from_measurement(stored) == sharpness(objective)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "l1"}, "norm must be one of l2, linf, got 'l1'"),
        ({"norm": math.nan}, "norm must be one of l2, linf, got nan"),
        ({"norm": "linf", "kind": "average"}, "norm='linf' is for kind='worst': Gaussian perturbations have no ball"),
    ],
)
def test_norms_that_are_none_are_refused(settings: dict[str, Any], message: str) -> None:
    objective, _, _ = problem()
    for call in (lambda: sharpness(objective, **settings), lambda: sharpness_curve(objective, [0.1], **settings)):
        with pytest.raises(ValueError, match=message):
            call()
