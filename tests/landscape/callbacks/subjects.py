"""What both trainers train: a network with dropout and batch norm, its batches, and the data of the probe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from analysis import ProbeRecord, gradient_noise, hessian_trace, load, sharpness
from gcsam.optimizer import GCSAM


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))


def data(size: int = 32) -> tuple[Tensor, Tensor]:
    x = torch.randn(size, 6, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(size) % 3


def optimizer_of(method: str, model: nn.Module) -> torch.optim.Optimizer:
    if method == "gcsam":
        return GCSAM.from_model(model, torch.optim.SGD, rho=0.1, lr=0.1, momentum=0.9)
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def assert_rows(path: Any, kept: dict[int, dict[str, Tensor]], make: Any, key: str = "training/probe") -> ProbeRecord:
    """Measure directly at the weights kept by step, and compare; return the record.

    Float32 on both sides, 20 samples: a mean times 20 and a sum differ by a few roundings of 6e-8.
    """
    record = load(path, key)
    assert isinstance(record, ProbeRecord)
    model = network()
    for row, step in enumerate(record.step.tolist()):
        model.load_state_dict(kept[step])
        objective = make(model)
        assert math.isclose(record.loss[row].item(), objective.loss(), rel_tol=1e-6)
        trace = hessian_trace(objective, min_probes=10, max_hvps=10).value
        assert math.isclose(record.trace[row].item(), trace, rel_tol=1e-5)
        rise = sharpness(objective, steps=1, restarts=0).value
        assert math.isclose(record.sharpness[row].item(), rise, rel_tol=1e-3)  # a difference of two losses
        noise = gradient_noise(objective).centralized.total.trace
        assert math.isclose(record.centralized.trace[row].item(), noise, rel_tol=1e-5)
    return record


def cosine(step: int, total: int) -> float:
    """The learning rate of the given step, from 1."""
    return 0.05 * (1 + math.cos(math.pi * (step - 1) / total))
