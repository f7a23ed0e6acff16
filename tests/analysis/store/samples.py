"""A measurement with every form of variable, a grid to fill, and children to kill while they write."""

from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

from analysis.store import Measurement, Variable, open_cells, write

GRID = (40, 30)
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["tests.analysis.store.samples"])


def every_form() -> Measurement:
    """Coordinate, plain dimension, nested group with an inherited and an own dimension, all types, empty arrays."""
    values = np.array([[1.5, np.nan, -0.0], [np.inf, -np.inf, 1e-300]])
    nested = Measurement(
        "LayerNoise",
        {
            "trace": Variable(np.array([1.0, 2.0, 3.0], np.float32), ("layer",), units="loss^2"),
            "samples": Variable(np.arange(5), ("x",)),  # its own x, of another length than the outer one
        },
        {"note": "inner"},
        {"total": Measurement("TotalNoise", {"trace": Variable(np.asarray(6.0))})},
    )
    return Measurement(
        "Sample",
        {
            "x": Variable(np.array([-1.0, 1.0]), ("x",), "1", "offset along the first direction", "arXiv 1712.09913"),
            "loss": Variable(values, ("x", "layer"), "loss", "mean loss — per sample"),
            "single": Variable(np.array([0.1, np.nan, 3.0], np.float32), ("layer",)),
            "count": Variable(np.array([2**62, -1, 0]), ("layer",)),
            "done": Variable(np.array([True, False, True]), ("layer",)),
            "names": Variable(np.array(["conv.weight", "größe", ""], dtype=object), ("layer",)),
            "empty": Variable(np.zeros((0, 3)), ("none", "layer")),
            "no_names": Variable(np.array([], dtype=object), ("none",)),
            "rho": Variable(np.asarray(0.05)),
            "seed": Variable(np.asarray(7)),
            "adaptive": Variable(np.asarray(False)),
            "method": Variable(np.asarray("gcsam", dtype=object)),
        },
        {"status": "CONVERGED", "empty": ""},
        {"raw": nested},
    )


def grid(**changes: Any) -> Measurement:
    """A surface to fill, configured by seed, extent and checkpoint."""
    configuration = {"seed": 0, "extent": 1.0, "checkpoint_sha256": "ab12", **changes}
    seed, extent = configuration["seed"], configuration["extent"]
    x, y = np.linspace(-extent, extent, GRID[0]), np.linspace(-1.0, 1.0, GRID[1])
    return Measurement(
        "Surface",
        {
            "x": Variable(x, ("x",)),
            "y": Variable(y, ("y",)),
            "loss": Variable(np.zeros(GRID), ("x", "y"), "loss", "mean loss"),
            "done": Variable(np.ones(GRID, dtype=bool), ("x", "y")),
            "seed": Variable(np.asarray(seed)),
        },
        {"checkpoint_sha256": configuration["checkpoint_sha256"], "status": configuration.get("status", "INTERRUPTED")},
    )


def value(i: int, j: int) -> float:
    """The number of a cell, NaN and 0 and negative ones among them."""
    return math.nan if (i + j) % 7 == 0 else math.sin(i) * (j - 3)


def fill(path: Path, seconds_per_cell: float = 0.0, opened: Any = None) -> None:
    """Compute the cells that are not done yet."""
    with open_cells(path, "surface", "plane", grid()) as cells:
        if opened is not None:
            opened.set()
        for i, j in np.argwhere(~cells.done).tolist():
            time.sleep(seconds_per_cell)
            cells.finish((i, j), loss=value(i, j))


def fill_in_child(path: Path, started: Any, opened: Any, seconds_per_cell: float) -> None:
    """Say that the work begins, then fill."""
    started.set()
    fill(path, seconds_per_cell, opened)


def constant(number: float) -> Measurement:
    """A measurement of 50,000 equal numbers, large enough to be caught half written."""
    return Measurement("Sample", {"numbers": Variable(np.full(50_000, number), ("n",))})


def write_in_child(path: Path, started: Any, written: Any) -> None:
    """Replace one measurement until killed."""
    started.set()
    number = 0.0
    while True:
        number += 1.0
        write(path, "noise", "replaced", constant(number))
        written.set()


def hold_cells(path: Path, opened: Any, close: Any) -> None:
    """Keep the grid open until told to close it."""
    with open_cells(path, "surface", "plane", grid()) as cells:
        cells.finish((0, 1), loss=5.0)
        opened.set()
        close.wait(30)
