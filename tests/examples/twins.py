"""The networks and batches given to the examples, and the slow twin of GCSAM trained on the same."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gcsam.centralize import module_dims
from tests.oracles import gcsam_twin

FOLDER = Path(__file__).parents[2] / "examples"
NEEDS = {
    "lightning_automatic": "pytorch_lightning",
    "lightning_manual": "pytorch_lightning",
    "huggingface_trainer": "transformers",
    "accelerate_loop": "accelerate",
}
MOMENTUM = {"lr": 0.1, "momentum": 0.9}
EPOCHS = 2
# float32: 10 roundings of 6e-8 of numbers below 1 in each of 8 steps, and momentum adds up ten of them
ATOL = 5e-6


def load(name):
    """Import an example by its path; skip where the library it shows is missing."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is installed by the extra `test`")
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network(dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def data(dtype=torch.float32):
    """Return four batches of 8 examples."""
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
    return list(zip(x.split(8), (torch.arange(32) % 3).split(8), strict=True))


def twin(base_class, arguments, *, dtype=torch.float32, clip=math.inf, schedule=None, epochs=EPOCHS, split=1):
    """Train by the twin; return the weights and the loss of each step. `split`: shares with an epsilon of their own."""
    model, batches = network(dtype), data(dtype)
    parameters, axes = list(model.parameters()), list(module_dims(model).values())
    base = base_class(parameters, foreach=False, **arguments)
    scheduler = None if schedule is None else schedule(base)
    losses = []
    for _ in range(epochs):
        for x, y in batches:
            losses.append(cross_entropy(model(x), y).item())
            calls = []

            def backward(x=x, y=y, calls=calls):
                cross_entropy(model(x), y).backward()
                calls.append(1)
                if len(calls) == 2 and clip < math.inf:
                    nn.utils.clip_grad_norm_(parameters, clip)

            if split == 1:
                gcsam_twin.step(parameters, backward, base, axes, [0.05] * len(axes))
            else:
                local_step(model, base, axes, [(x[rank::split], y[rank::split]) for rank in range(split)])
            if scheduler is not None:
                scheduler.step()
    return parameters, losses


def local_step(model, base, axes, shares):
    w = [parameter.detach().clone() for parameter in model.parameters()]
    total = [torch.zeros_like(a) for a in w]
    for x, y in shares:
        first = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
        epsilon = gcsam_twin.epsilon_of(w, first, axes, [0.05] * len(axes))
        for parameter, a, e in zip(model.parameters(), w, epsilon, strict=True):
            parameter.data = a + e
        second = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
        total = [a + g / len(shares) for a, g in zip(total, second, strict=True)]
        for parameter, a in zip(model.parameters(), w, strict=True):
            parameter.data = a
    for parameter, gradient in zip(model.parameters(), total, strict=True):
        parameter.grad = gradient
    base.step()


def cosine(base):
    return torch.optim.lr_scheduler.CosineAnnealingLR(base, EPOCHS * 4)


def assert_near(model, parameters, atol=ATOL):
    for a, b in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)
