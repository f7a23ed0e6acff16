"""A small network with every kind of axis rule, its data, and what tests of the optimizer do with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

X = torch.randn(6, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.arange(6) % 3


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """A convolution, a transposed one, one element per row, biases: every kind of axis rule."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3),
            nn.Tanh(),
            nn.ConvTranspose2d(3, 2, 2),
            nn.Conv2d(2, 2, 1, groups=2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(18, 3),
        ).to(dtype)


def backward_of(model: nn.Module, x: Tensor = X, y: Tensor = Y) -> Callable[[], Tensor]:
    """Return a closure that adds the gradient of the cross entropy to `.grad`."""

    def closure() -> Tensor:
        loss = F.cross_entropy(model(x.to(next(model.parameters()).dtype)), y)
        loss.backward()
        return loss

    return closure


def epsilon(optimizer: Any, model: nn.Module, closure: Callable[[], Any] | None = None) -> list[Tensor]:
    """Return what `ascend()` adds to every weight; the weights are put back."""
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model.zero_grad()
    (closure or backward_of(model))()
    optimizer.ascend()
    moved = [parameter.detach() - w for parameter, w in zip(model.parameters(), before, strict=True)]
    optimizer.restore()
    return moved
