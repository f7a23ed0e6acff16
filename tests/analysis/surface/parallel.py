"""Scans in two processes; `test_ranks.py` says what must come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from analysis import Objective, Plan, bezier_path, curvature_map, linear_path, loss_surface
from tests.analysis.surface.test_path import normed
from tests.cases import CASES

SURFACES: dict[str, dict[str, Any]] = {
    "random": {"points": (5, 4), "metrics": "accuracy"},
    "hessian": {"directions": "hessian", "points": 3},
    "auto": {"points": 3, "extent": "auto", "rise": 3.0},
    "stacked": {"points": 5, "plan": Plan(stacked=3)},
}


class Stop(Exception):
    """What a test raises in the place of Ctrl-C."""


def objective(shift: float = 0.0, cut: int = 0) -> Objective:
    """A small network; with other weights or other data where a process shall differ."""
    model, loss_fn, batches = CASES[1].make(torch.float32)
    model[0].weight.data += shift
    x, y = batches[0]
    return Objective(model, loss_fn, [(x[cut:], y[cut:]), batches[1]])


def work(rank: int, folder: str) -> dict[str, Any]:
    """Compute every scan with the other process, and stop one half-way."""
    found: dict[str, Any] = {
        name: loss_surface(objective(), **settings, distributed=True, path=Path(folder, "run.h5"), name=name)
        for name, settings in SURFACES.items()
    }
    found["map"] = curvature_map(objective(), points=2, distributed=True)
    path, start, end = normed("recalibrate")
    found["linear"] = linear_path(path, start, end, points=6, distributed=True)
    found["bezier"] = bezier_path(path, start, end, points=4, steps=7, distributed=True)
    calls: list[int] = []

    def stopping(done: int, total: int) -> None:
        del total
        calls.append(done)
        if done == 6:
            raise Stop

    try:
        loss_surface(objective(), points=4, distributed=True, path=Path(folder, "stopped.h5"), progress=stopping)
    except Stop:
        found["calls"] = calls
    torch.distributed.barrier()
    found["resumed"] = loss_surface(objective(), points=4, distributed=True, path=Path(folder, "stopped.h5"))
    for name, change in (("weights", {"shift": float(rank)}), ("data", {"cut": rank})):
        try:
            loss_surface(objective(**change), points=2, distributed=True)
        except ValueError as error:
            found[f"other {name}"] = str(error)
    return found
