"""What two processes with a copy of the model each are asked to do; `test_processes.py` says what must come out."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gcsam import GCSAM
from tests.gcsam.small import network

X = torch.randn(8, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.arange(8) % 3
STEPS = 4
BASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "adam": (torch.optim.Adam, {"lr": 0.01}),
}


def share(rank: int) -> tuple[Tensor, Tensor]:
    """Return the examples of one process."""
    return X[rank::2], Y[rank::2]


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def work(rank: int) -> dict[str, Any]:
    """Do all of it, because starting two processes takes longer than any part."""
    return {
        **{(way, base): steps(rank, way, base) for way in ("global", "local") for base in BASES},
        "by hand": by_hand(rank),
        "synchronized": synchronized(rank),
        "bad": bad_gradient(rank),
        "overflow": overflow(rank),
        "without model": without_model(rank),
    }


def _parallel(way: str, base: str = "sgd", dtype: torch.dtype = torch.float64) -> tuple[nn.Module, GCSAM]:
    model = DistributedDataParallel(network(dtype))
    base_class, arguments = BASES[base]
    return model, GCSAM.from_model(model, base_class, rho=0.1, perturbation=way, **arguments)


def steps(rank: int, way: str, base: str) -> dict[str, Any]:
    model, optimizer = _parallel(way, base)
    x, y = share(rank)
    moved = []

    def closure() -> Tensor:
        moved.append(weights(model))
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)
    return {"weights": weights(model), "w": moved[0], "w + epsilon": moved[1]}


def by_hand(rank: int) -> list[Tensor]:
    model, optimizer = _parallel("local")
    x, y = share(rank)
    for _ in range(STEPS):
        with model.no_sync():
            F.cross_entropy(model(x), y).backward()
        optimizer.ascend(zero_grad=True)
        F.cross_entropy(model(x), y).backward()
        optimizer.descend(zero_grad=True)
    return weights(model)


def synchronized(rank: int) -> dict[str, list[bool]]:
    """Tell for each forward and backward pass of a step whether the gradients are averaged."""
    seen: dict[str, list[bool]] = {}
    for way in ("global", "local"):
        model, optimizer = _parallel(way)
        x, y = share(rank)
        seen[way] = []

        def closure(model=model, x=x, y=y, found=seen[way]) -> None:
            found.append(model.require_backward_grad_sync)
            loss = F.cross_entropy(model(x), y)
            found.append(model.require_backward_grad_sync)
            loss.backward()

        optimizer.step(closure)
    return seen


def bad_gradient(rank: int) -> dict[str, Any]:
    """The first gradient of rank 1 is bad, in one step; a good step follows."""
    model, optimizer = _parallel("local", "adam")
    x, y = share(rank)
    calls = []

    def closure() -> None:
        F.cross_entropy(model(x), y).backward()
        calls.append(1)
        if rank == 1 and len(calls) == 1:
            next(model.parameters()).grad.fill_(math.nan)

    before = weights(model)
    optimizer.step(closure)
    after, states, skipped = weights(model), len(optimizer.state), optimizer.num_skipped
    optimizer.step(closure)
    return {"before": before, "after": after, "states": states, "skipped": skipped, "next": weights(model)}


def overflow(rank: int) -> dict[str, Any]:
    """The first gradient of rank 1 overflows under a GradScaler."""
    model, optimizer = _parallel("local", dtype=torch.float32)
    x, y = share(rank)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    calls = []

    def closure() -> None:
        scaler.scale(F.cross_entropy(model(x.float()), y)).backward()
        calls.append(1)
        if rank == 1 and len(calls) == 1:
            next(model.parameters()).grad.fill_(math.inf)

    before = weights(model)
    optimizer.step(closure, scaler=scaler)
    scaler.update()
    return {"before": before, "after": weights(model), "scale": scaler.get_scale(), "skipped": optimizer.num_skipped}


def without_model(rank: int) -> str:
    model = network()
    optimizer = GCSAM(model.parameters(), torch.optim.SGD, perturbation="local", lr=0.1)
    try:
        optimizer.step(lambda: model(X).sum().backward())
    except RuntimeError as error:
        return str(error)
    return ""
