"""The metric of an optimizer against a step it takes; what has no second moments is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis import Objective, Preconditioned
from gcsam import GCSAM
from tests.cases import CASES
from tests.compare import assert_close


def trained(make: Any, steps: int) -> tuple[nn.Module, Any, Any, list]:
    """Return model, optimizer, data, and the weights before the last step."""
    model, loss_fn, batches = CASES[1].make()
    optimizer = make(model.parameters())
    model.eval()
    before: list = []
    for step in range(steps):
        x, y = batches[step % 2]
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
    return model, optimizer, batches, before


@pytest.mark.parametrize("steps", [1, 40])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.99)),
        lambda p: torch.optim.AdamW(p, lr=1e-3, eps=1e-4, weight_decay=0.0),
        lambda p: torch.optim.RMSprop(p, lr=1e-3),
    ],
    ids=["Adam", "AdamW", "RMSprop"],
)
def test_the_metric_is_the_one_of_the_step(make: Any, steps: int) -> None:
    """M is read off a step of torch: the update is -lr M^-1 m, m the running mean of gradients as it is stored."""
    model, optimizer, batches, before = trained(make, steps)
    objective = Objective(model, F.cross_entropy, batches)
    found = Preconditioned.from_optimizer(objective, optimizer)
    metric = []
    for parameter, earlier in zip(model.parameters(), before, strict=True):
        moment = optimizer.state[parameter].get("exp_avg", parameter.grad)
        metric.append((1e-3 * moment / (earlier - parameter.detach())).flatten())
    scale = torch.cat(metric).rsqrt()
    v = torch.linspace(-1, 1, objective.num_parameters, dtype=torch.float64)
    # a step of 1e-3 on weights of 1 carries 1e-13 of rounding; a gradient near zero some orders more
    assert_close(found.hvp(v), objective.hvp(v * scale) * scale, relative=1e-8)


def test_the_optimizer_inside_another_is_found() -> None:
    model, loss_fn, batches = CASES[1].make()
    optimizer = GCSAM(model.parameters(), torch.optim.Adam, lr=1e-3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_fn(model(batches[0][0]), batches[0][1])
        loss.backward()
        return loss

    optimizer.step(closure)
    objective = Objective(model, loss_fn, batches)
    v = torch.ones(objective.num_parameters)
    inside = Preconditioned.from_optimizer(objective, optimizer.base_optimizer)
    assert torch.equal(Preconditioned.from_optimizer(objective, optimizer).hvp(v), inside.hvp(v))


def test_misuse_is_told() -> None:
    model, optimizer, batches, _ = trained(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 1)
    objective = Objective(model, F.cross_entropy, batches)
    with pytest.raises(
        ValueError, match=r"SGD has no second moment \(exp_avg_sq or square_avg\) for '0.weight'; give the Adam"
    ):
        Preconditioned.from_optimizer(objective, optimizer)
    fresh = torch.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match=r"Adam has no second moment .* after a step"):
        Preconditioned.from_optimizer(objective, fresh)
    with pytest.raises(ValueError, match="diagonal must be a flat vector"):
        Preconditioned(objective, torch.ones(3))
    for bad in (0.0, -1.0, torch.nan, torch.inf):
        with pytest.raises(ValueError, match="diagonal must be finite and > 0 in every entry"):
            Preconditioned(objective, torch.full((objective.num_parameters,), bad))
