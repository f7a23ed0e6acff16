"""What all scans share: place a grid, open its cells in the file, fill them, and end as a result.

Right when a killed scan goes on and equals an uninterrupted one, a file of other weights, data, directions or settings
is refused by name, and processes that share a scan end with the same result (`tests/analysis/surface/test_scan.py`,
`test_ranks.py`). Cost: opening writes the file once, a cell is a few microseconds.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from analysis.evidence import Result, Status
from analysis.objective import Objective
from analysis.store import Cells, list_measurements, open_cells, read
from analysis.surface.directions import Directions, Given, choose
from analysis.surface.extent import resolved
from analysis.surface.grid import Extent, Index, Progress, axes, fill
from analysis.surface.identity import state_sha256
from analysis.surface.plan import AUTO, Plan, checked
from analysis.surface.points import Points
from analysis.surface.ranks import Ranks
from analysis.surface.results import Scan

Scanned = TypeVar("Scanned", bound=Scan)
PathLike = str | os.PathLike[str] | None
OUTCOME = ("origin_loss", "status", "status_meaning")
SAME_LOSS = 1e-4  # relative: the same data in another order differ by rounding, another loss function by far more


@dataclass(frozen=True)
class Grid:
    """Where a scan looks: directions, coordinates along them, and the processes that share it."""

    objective: Objective
    chosen: Directions
    coordinates: list[list[float]]
    seed: int
    ranks: Ranks

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each direction."""
        return tuple(len(axis) for axis in self.coordinates)

    @property
    def axes(self) -> list[Tensor]:
        """Coordinates along each direction, float64."""
        return [torch.tensor(axis, dtype=torch.float64) for axis in self.coordinates]

    def at(self, weights: Tensor, index: Index) -> Tensor:
        """Return the weights of a cell, from those of the origin and never from a neighbour's.

        Args:
            weights: [D], of the origin.
            index: Of the cell.
        """
        for vector, axis, i in zip(self.chosen.vectors, self.coordinates, index, strict=True):
            weights = torch.add(weights, vector, alpha=axis[i])
        return weights

    def fields(self, origin_loss: float, data_fingerprint: str) -> dict[str, Any]:
        """Return the fields of `results.Scan`, and refuse processes that would scan different things.

        Args:
            origin_loss: At the weights themselves.
            data_fingerprint: Of all data.
        """
        sha256 = state_sha256(self.objective)
        self.ranks.refuse_differences({"weights": sha256, "data": data_fingerprint})
        return {
            "origin_loss": self.ranks.of_first(origin_loss),
            "source": self.chosen.source,
            "normalize": self.chosen.normalize,
            "zero_1d": self.chosen.zero_1d,
            "seed": self.seed,
            "batchnorm": self.objective.batchnorm,
            "names": self.objective.names,
            "state_sha256": sha256,
            "data_fingerprint": data_fingerprint,
            "status": Status.INTERRUPTED,
        }

    def plane_fields(self) -> dict[str, Any]:
        """Return the fields of `results.Plane` that say where it lies, of a block too."""
        found = {
            "directions": self.chosen.vectors.cpu(),
            "cosine": self.chosen.cosine,
            "single_share": self.chosen.single_share,
            "extent": torch.stack([axis[[0, -1]] for axis in self.axes]),
            "points": torch.tensor(self.shape),
        }
        return {**found, **dict(zip("xyz", self.axes, strict=False))}


def place(
    objective: Objective,
    directions: Given,
    count: int,
    normalize: str,
    extent: Extent | str,
    points: int | Sequence[int],
    seed: int,
    rise: float,
    *,
    zero_1d: bool,
    distributed: bool,
) -> Grid:
    """Choose the directions, and where along them to evaluate. Arguments: see `analysis.surface.scan.loss_surface`."""
    axes(1.0 if isinstance(extent, str) else extent, points, count)  # a mistake is found before any work
    ranks = Ranks(together=distributed)
    chosen = choose(objective, directions, count, normalize, zero_1d=zero_1d, seed=seed)
    vectors = ranks.of_first(chosen.vectors).to(objective.device)  # eigenvectors may differ by rounding on a GPU
    chosen = dataclasses.replace(chosen, vectors=vectors)
    found = resolved(objective, vectors, extent, rise, is_common=chosen.normalize != "none")
    return Grid(objective, chosen, ranks.of_first(axes(found, points, count)), seed, ranks)


def follow(points: Points, plan: Plan | str, ranks: Ranks, num_points: int, path: PathLike, key: str) -> None:
    """Make points follow the plan asked for; a scan that was begun goes on with its own, and all processes with one.

    Args:
        points: Just opened.
        plan: As in `loss_surface`.
        ranks: The processes that share them.
        num_points: There will be.
        path: The file of the scan.
        key: Of the scan in it.

    Raises:
        ValueError: No plan, or one that the data cannot follow.
    """
    wanted = checked(plan)
    if wanted == AUTO and ranks.is_first:
        wanted = _begun_with(path, key) or points.fastest(num_points)
    wanted = ranks.of_first(wanted)
    points.follow(wanted if isinstance(wanted, Plan) else Plan())


def run(
    begun: Scanned,
    grid: Grid,
    compute: Callable[[Sequence[Index]], Sequence[Mapping[str, Any]]],
    filled: Sequence[str],
    path: PathLike,
    name: str,
    progress: Progress | None,
    *,
    together: int = 1,
) -> Scanned:
    """Fill the cells of a scan, in its file where it has one, and return it as a result.

    Args:
        begun: The scan with no cell done.
        grid: Where it looks.
        compute: As `fill` takes it.
        filled: The arrays it gives values for.
        path: Result file, or None.
        name: Of the scan in it.
        progress: As in `loss_surface`.
        together: As in `fill`.

    Returns:
        The scan with all cells done. Its status is that of the directions, or NOT_FINITE.
    """
    with cells_of(begun, grid.ranks, filled, OUTCOME, path, name) as cells:
        fill(grid.shape, cells, compute, grid.ranks, progress, together)
    arrays: dict[str, Any] = {key: torch.from_numpy(np.array(cells[key])) for key in (*filled, "done")}
    status = Status.NOT_FINITE if bool(arrays["diverged"].any()) else grid.chosen.status
    found = dataclasses.replace(begun, **arrays, status=status)
    if path is not None and grid.ranks.is_first and read(path, f"{begun.group}/{name}") != found.to_measurement():
        found.save(path, name)  # a finished file is left alone
    return found


@contextmanager
def cells_of(
    begun: Result, ranks: Ranks, filled: Sequence[str], outcome: Sequence[str], path: PathLike, name: str
) -> Iterator[Cells]:
    """Open the cells of a scan: in its file, or in memory where it has none; those of the file on all processes.

    Args:
        begun: The scan with no cell done.
        ranks: The processes that share it; the first one writes.
        filled: The arrays to fill.
        outcome: What does not count as configuration, the loss it is compared with first.
        path: Result file, or None.
        name: Of the scan in it.

    Yields:
        The cells.

    Raises:
        ValueError: The file was begun with another configuration or another loss function.
    """
    measurement = begun.to_measurement()
    if path is None:
        yield Cells({key: measurement.variables[key].data.copy() for key in (*filled, "done")}, "done")
    elif ranks.is_first:
        with open_cells(path, begun.group, name, measurement, filled, outcome=outcome) as cells:
            _refuse_other_loss(begun, outcome[0], path, name)
            ranks.of_first({key: np.array(array) for key, array in cells.items()})
            yield cells
    else:
        yield Cells(ranks.of_first({}), "done")


def _refuse_other_loss(begun: Result, field: str, path: str | os.PathLike[str], name: str) -> None:
    stored, given = float(read(path, f"{begun.group}/{name}").variables[field].data), getattr(begun, field)
    if not math.isclose(stored, given, rel_tol=SAME_LOSS) and stored == stored:
        raise ValueError(
            f"{begun.group}/{name} in {os.fspath(path)} was begun with another loss function ({field} was "
            f"{stored:.6g} and is {given:.6g}); choose another name or file, or delete it"
        )


def _begun_with(path: PathLike, key: str) -> Plan | None:
    if path is None or not Path(path).is_file() or key not in list_measurements(path):
        return None
    stored = read(path, key).variables
    if not {"batch_size", "channels_last", "stacked"} <= stored.keys():
        return None  # of another kind: refused by name where the cells are opened
    return Plan(*(stored[name].data.item() for name in ("batch_size", "channels_last", "stacked")))
