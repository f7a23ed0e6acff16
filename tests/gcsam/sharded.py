"""What two processes with one sharded model are asked to do; `test_shards.py` says what must come out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint import state_dict as checkpoint_state
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard

from gcsam import GCSAM
from tests.gcsam.parallel import STEPS, X, Y, share

RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "adaptive": {"adaptive": True},
    "published, centralized descent": {"radius": "published", "centralize_descent": True},
    "random": {"projection": "random", "projection_seed": 3, "centralize_descent": True},
    "sam": {"centralize_ascent": False},
    "matched": {"centralize_ascent": False, "radius": "matched"},
    "friendly": {"centralize_ascent": False, "friendly": 1.0},
    "adam": {"base_class": torch.optim.Adam, "lr": 0.01},
}
AXES = (0, 1)


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a network whose tensors do not divide evenly along axis 0, and do along axis 1, as FSDP asks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.Tanh(), nn.ConvTranspose2d(4, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(18, 3)
        ).to(dtype)


def settings(name: str) -> dict[str, Any]:
    return {"base_class": torch.optim.SGD, "lr": 0.1, "rho": 0.1, "eta": 0.05} | RUNS[name]


def sharded(axis: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Cut weights along an axis, and biases along the only one they have."""
    model = network(dtype)
    place: Callable[[nn.Parameter], Shard] = lambda parameter: Shard(axis if parameter.ndim > 1 else 0)  # noqa: E731
    return fully_shard(model, mesh=init_device_mesh("cpu", (2,)), shard_placement_fn=place)


def backward_of(model: nn.Module, rank: int) -> Callable[[], Tensor]:
    x, y = share(rank)

    def closure() -> Tensor:
        loss = F.cross_entropy(model(x.to(next(model.parameters()).dtype)), y)
        loss.backward()
        return loss

    return closure


def whole(model: nn.Module) -> list[Tensor]:
    """Return copies of the whole weights."""
    return [parameter.detach().full_tensor().clone() for parameter in model.parameters()]


def work(rank: int, folder: str) -> dict[str, Any]:
    return {
        **{(axis, name): steps(rank, axis, name) for axis in AXES for name in RUNS},
        "bad": [bad_gradient(rank, at_pass) for at_pass in (1, 2)],
        "scaled": [scaled(rank, overflow_at) for overflow_at in (None, 1, 2)],
        "resumed": resumed(rank, folder),
        "local": local(rank),
    }


def steps(rank: int, axis: int, name: str) -> dict[str, Any]:
    model = sharded(axis)
    optimizer = GCSAM.from_model(model, **settings(name))
    w = whole(model)
    closure = backward_of(model, rank)
    closure()
    optimizer.ascend()
    epsilon = [b - a for a, b in zip(w, whole(model), strict=True)]
    ratios = [optimizer.ascent_ratio(), *optimizer.ascent_ratios().values()]
    optimizer.restore()
    for _ in range(STEPS):
        optimizer.step(closure)
    buffers = sum(buffer.numel() for buffer in optimizer._workspace._buffers.values())
    return {"weights": whole(model), "epsilon": epsilon, "ratios": ratios, "buffers": buffers}


def bad_gradient(rank: int, at_pass: int) -> dict[str, Any]:
    """One number in the part of rank 1 is bad, in one pass; a good step follows."""
    model = sharded()
    optimizer = GCSAM.from_model(model, torch.optim.Adam)
    calls = []

    def closure() -> None:
        backward_of(model, rank)()
        calls.append(1)
        if rank == 1 and len(calls) == at_pass:
            next(model.parameters()).grad.to_local().view(-1)[0] = math.nan

    before = whole(model)
    optimizer.step(closure)
    after, states, skipped = whole(model), len(optimizer.state), optimizer.num_skipped
    optimizer.step(closure)
    return {"before": before, "after": after, "states": states, "skipped": skipped, "next": whole(model)}


def scaled(rank: int, overflow_at: int | None) -> dict[str, Any]:
    """One step in float32 under a GradScaler; one pass may overflow, in the part of rank 1."""
    model = sharded(dtype=torch.float32)
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.1, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x, y = share(rank)
    before = whole(model)
    for at_pass in (1, 2):
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(x.float()), y)).backward()
        if rank == 1 and at_pass == overflow_at:
            next(model.parameters()).grad.to_local().view(-1)[0] = math.inf
        if at_pass == 1:
            optimizer.ascend(scaler=scaler)
    scaler.step(optimizer)
    scaler.update()
    return {"before": before, "after": whole(model), "scale": scaler.get_scale()}


def resumed(rank: int, folder: str) -> dict[str, Any]:
    """Run on after saving; load into a fresh model and optimizer, and run these on."""
    found = {}
    for base_class, arguments in (
        (torch.optim.AdamW, {"lr": 0.01, "friendly": 1.0}),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    ):
        is_flat = base_class is torch.optim.AdamW  # one entry for each parameter and option, for resharding
        options = checkpoint_state.StateDictOptions(flatten_optimizer_state_dict=is_flat)
        model = sharded()
        optimizer = GCSAM.from_model(model, base_class, rho=0.1, **arguments)
        _run(model, optimizer, rank)
        path = Path(folder) / base_class.__name__
        weights, state = checkpoint_state.get_state_dict(model, optimizer, options=options)
        checkpoint.save({"model": weights, "optimizer": state}, checkpoint_id=path)
        _run(model, optimizer, rank)

        other = sharded()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.mul_(2)
        fresh = GCSAM.from_model(other, base_class, rho=0.3, **arguments)
        weights, state = checkpoint_state.get_state_dict(other, fresh, options=options)
        content = {"model": weights, "optimizer": state}
        checkpoint.load(content, checkpoint_id=path)
        checkpoint_state.set_state_dict(
            other,
            fresh,
            model_state_dict=content["model"],
            optim_state_dict=content["optimizer"],
            options=options,
        )
        _run(other, fresh, rank)
        group = fresh.param_groups[0]
        found[base_class.__name__] = {
            "through": whole(model),
            "resumed": whole(other),
            "rho": group["rho"],
            "steps": group["gcsam_steps"],
            "tensors": {name.rpartition(".")[2] for name in _tensors_in(path)} - {"weight", "bias"},
        }
    return found


def _tensors_in(path: Path) -> list[str]:
    """Return the names of all tensors in a distributed checkpoint."""
    entries = checkpoint.FileSystemReader(path).read_metadata().state_dict_metadata
    return [name for name, entry in entries.items() if hasattr(entry, "chunks")]


def _run(model: nn.Module, optimizer: GCSAM, rank: int) -> None:
    for _ in range(3):
        optimizer.step(backward_of(model, rank))


def local(rank: int) -> str:
    model = sharded()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, perturbation="local", lr=0.1)
    backward_of(model, rank)()
    try:
        optimizer.ascend()
    except ValueError as error:
        return str(error)
    return ""


def joint() -> tuple[Tensor, Tensor]:
    return X, Y
