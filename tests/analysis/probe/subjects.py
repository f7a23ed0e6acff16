"""A small training that tests of the probe watch: batches, network, loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from analysis import Objective


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """A smooth network, so that central differences are exact to their order; 43 weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def data(dtype: torch.dtype = torch.float64, size: int = 24, seed: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x, torch.arange(size) % 3


def objective_of(model: nn.Module, **given: Any) -> Objective:
    x, y = data(next(model.parameters()).dtype)
    return Objective(model, cross_entropy, [(x[:10], y[:10]), (x[10:], y[10:])], **given)


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x, y = data(next(model.parameters()).dtype, seed=2)
    optimizer.zero_grad()
    cross_entropy(model(x), y).backward()
    optimizer.step()


def sgd(model: nn.Module, lr: float = 0.5, momentum: float = 0.9) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
