"""The automatic range: closed form on quadratics, one radius for normalized directions, what has no range."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import Objective, loss_line, loss_surface
from tests.cases import CASES


def bowl(origin: float = 1.0) -> Objective:
    """L(w) = origin + w1^2 + 1e-6 w2^2 around w = 0, constant in w3."""

    def batch_loss(model: Any, batch: Tensor) -> tuple[Tensor, int]:
        w = model.weight[0]
        return origin + w[0] ** 2 + 1e-6 * w[1] ** 2 + 0 * (batch.sum() + w[2]), 1

    model = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    return Objective(model, batch_loss=batch_loss, data=torch.zeros(1, 3, dtype=torch.float64))


AXES = torch.eye(3, dtype=torch.float64)


@pytest.mark.parametrize("rise", [1.05, 10.0, 1e6])
def test_the_loss_at_the_end_has_risen_by_the_factor(rise: float) -> None:
    """Fails if an axis takes the other's radius, or the factor is not obeyed."""
    found = loss_surface(bowl(), AXES[:2], "none", "auto", 3, rise=rise)
    exact = [math.sqrt((rise - 1) / curvature) for curvature in (1.0, 1e-6)]
    # a bracket of 2^(1/32) taken in its middle, 1.1 percent, and two digits, 5 percent at most
    assert found.extent[:, 1].tolist() == pytest.approx(exact, rel=0.062)
    assert torch.equal(found.extent[:, 0], -found.extent[:, 1])


def test_a_line_looks_along_its_direction() -> None:
    found = loss_line(bowl(), AXES[1] * 100, "none", "auto", 5)
    assert float(found.extent[1]) == pytest.approx(30.0, rel=0.062)


def test_normalized_directions_share_the_smaller_radius() -> None:
    model, loss_fn, batches = CASES[1].make(torch.float64)
    objective = Objective(model, loss_fn, batches)
    found = loss_surface(objective, extent="auto", points=3, rise=3.0, seed=1)
    assert torch.equal(found.extent[0], found.extent[1])
    ends = torch.cat([found.loss[[0, -1], 1], found.loss[1, [0, -1]]])
    assert float(ends.max()) == pytest.approx(3.0 * objective.loss(), rel=0.3)  # the rise within 6 percent of a radius


@pytest.mark.parametrize("steep_side", [1.0, -1.0])
def test_the_steeper_side_decides(steep_side: float) -> None:
    """Fails if only one end is looked at: the loss rises from 1 to 10 at 3 on one side, at 300 on the other."""

    def batch_loss(model: Any, batch: Tensor) -> tuple[Tensor, int]:
        w = steep_side * model.weight[0, 0]
        return 1 + torch.where(w > 0, w**2, (w / 100) ** 2) + 0 * batch.sum(), 1

    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    objective = Objective(model, batch_loss=batch_loss, data=torch.zeros(1, 1, dtype=torch.float64))
    found = loss_line(objective, torch.ones(1), "none", "auto", 3)
    assert float(found.extent[1]) == pytest.approx(3.0, rel=0.062)


def test_infinity_counts_as_risen() -> None:
    """Fails if NaN is taken for low: the loss is NaN from 0.3 on."""

    def batch_loss(model: Any, batch: Tensor) -> tuple[Tensor, int]:
        w = model.weight[0, 0]
        return 1 + torch.where(w.abs() < 0.3, 0.0, math.nan) + 0 * batch.sum(), 1

    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    objective = Objective(model, batch_loss=batch_loss, data=torch.zeros(1, 1, dtype=torch.float64))
    found = loss_line(objective, torch.ones(1), "none", "auto", 3)
    assert float(found.extent[1]) == pytest.approx(0.3, rel=0.062)


@pytest.mark.parametrize(
    ("origin", "direction", "settings", "message"),
    [
        (1.0, 2, {}, "along direction 1 the loss does not turn 10 times as large up to 1e"),
        (0.0, 0, {}, "which is 0 and not above 0; give a number"),
        (-1.0, 0, {}, "which is -1 and not above 0; give a number"),
        (1.0, 0, {"rise": 1.0}, "rise must be a finite number > 1, got 1.0"),
        (1.0, 0, {"rise": math.nan}, "rise must be a finite number > 1, got nan"),
        (1.0, 0, {"extent": "wide"}, "extent must be 'auto', r > 0, .* got 'wide'"),
    ],
)
def test_what_has_no_range_is_one_line(origin: float, direction: int, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_line(bowl(origin), AXES[direction], "none", **{"extent": "auto", "points": 3, **settings})
