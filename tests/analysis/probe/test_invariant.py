"""Watching changes nothing: with and without a probe a training ends in the same bits, and each call leaves no trace.

The network has dropout and batch norm, a frozen weight and a module in eval mode; its batches are drawn with numpy's
and Python's own random numbers, and so are the probe's data, shuffled by torch's; the probe measures while gradients
are being accumulated.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from analysis import Objective, Probe, every
from gcsam import GCSAM, hold_statistics
from tests.analysis.probe.subjects import data
from tests.analysis.test_objective import assert_same, everything

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")],
)


class Rolling(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Samples whose loading draws random numbers of every kind, as augmentation that is switched off may do."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        return self.x[index], self.y[index]


def network(device: str) -> nn.Module:
    model = nn.Sequential(
        nn.Linear(4, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(8, 6),
        nn.BatchNorm1d(6),
        nn.Linear(6, 3),
    ).to(device)
    model[0].bias.requires_grad_(False)
    model[5].eval()
    return model


def optimizer_of(method: str, model: nn.Module) -> Any:
    if method == "sgd":
        return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    if method == "adam":
        return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    return GCSAM.from_model(model, torch.optim.SGD, rho=0.1, lr=0.1, momentum=0.9)


def trained(method: str, device: str, path: Path | None) -> dict[str, Any]:
    """Train for 3 steps of two micro-batches; return everything that is there at the end, and the losses."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    model = network(device)
    optimizer = optimizer_of(method, model)
    x, y = (tensor.to(device) for tensor in data(torch.float32))
    probe = None
    if path is not None:
        held = Objective(
            model, cross_entropy, torch.utils.data.DataLoader(Rolling(*data(torch.float32)), 9, shuffle=True)
        )
        probe = Probe(held, path, optimizer=optimizer, schedule=every(1), budget=math.inf)
    losses = []

    def watch() -> None:
        if probe is not None:
            before = {**everything(model), "optimizer": optimizer.state_dict()}
            probe.step()
            assert_same(before, {**everything(model), "optimizer": optimizer.state_dict()})

    def passes(is_watched: bool) -> None:
        for part in (slice(0, 12), slice(12, 24)):
            scale = 1 + 0.1 * np.random.rand() + 0.1 * random.random()  # noqa: NPY002
            loss = cross_entropy(model(scale * x[part]), y[part])
            loss.backward()
            losses.append(loss.item())
            if is_watched:
                watch()  # gradients are there, and half of them

    for _ in range(3):
        optimizer.zero_grad()
        passes(is_watched=True)
        if method == "gcsam":
            optimizer.ascend(zero_grad=True)
            with hold_statistics(model):
                passes(is_watched=False)
        optimizer.step()
        watch()
    if probe is not None:
        assert probe.record.lambda_max.isfinite().sum() == 10
        assert probe.record.raw.trace.isfinite().all()
    generator = torch.cuda.get_rng_state() if device == "cuda" else None
    return {
        "values": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "optimizer": optimizer.state_dict(),
        "random": (torch.get_rng_state(), np.random.get_state()[1], random.getstate(), generator),  # noqa: NPY002
        "losses": losses,
    }


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("method", ["sgd", "adam", "gcsam"])
def test_a_training_with_a_probe_ends_in_the_same_bits(method: str, device: str, tmp_path: Path) -> None:
    """Fails if a measurement draws a random number, runs in train mode, or touches a gradient or a buffer."""
    assert_same(trained(method, device, None), trained(method, device, tmp_path / "run.h5"))


def test_the_comparison_sees_a_single_random_number() -> None:
    """The oracle itself: one number drawn on the way makes another training."""
    model = network("cpu")
    before = everything(model)
    torch.rand(1)
    with pytest.raises(AssertionError):
        assert_same(before, everything(model))
