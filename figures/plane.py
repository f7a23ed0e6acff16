"""Surfaces as they are drawn: read from the file, holes where there are no numbers, the coarse grid until all is done.

Right when the drawn points are those of the file and each method shows its first seed (`tests/figures/test_plane.py`).
Cost: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np

from figures.cells import complete_grid
from figures.reading import Array, Run
from figures.style import in_order, look

PLANE = "surface/plane"
Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Plane:
    """A surface as it is drawn: loss[i, j] at x[i], y[j]; NaN is a hole, and diverged says which were computed.

    `whole` holds the axes of the finished surface where not all of it is there.
    """

    title: str
    x: Array
    y: Array
    loss: Array
    diverged: Array | None = None
    whole: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class Grid:
    """The part of a stored grid that is drawn: its points, rows and columns; the axes of all; what the title adds."""

    x: Array
    y: Array
    rows: Array
    columns: Array
    whole: tuple[Array, Array]
    note: str

    @overload
    def of(self, array: Array) -> Array: ...

    @overload
    def of(self, array: None) -> None: ...

    def of(self, array: Array | None) -> Array | None:
        """Return the drawn part of an array.

        Args:
            array: [..., G1, G2] of the file, or None.
        """
        return None if array is None else array[..., self.rows[:, None], self.columns]


def stored_grid(run: Run, key: str) -> Grid | None:
    """Return what is to be drawn of a stored grid, or None where the file holds none.

    While a grid is being filled, that is the finest grid that is complete; if it is too small for a picture, all cells.

    Args:
        run: The result file.
        key: "surface/name".
    """
    x, y, done = (run.array(key, name) for name in ("x", "y", "done"))
    if x is None or y is None:
        return None
    whole = np.arange(len(x)), np.arange(len(y))
    rows, columns = whole if done is None else complete_grid(done)
    if min(len(rows), len(columns)) < 2:  # contours need two
        rows, columns = whole
    is_whole = (len(rows), len(columns)) == (len(x), len(y))
    note = "" if is_whole else f"{len(rows)} x {len(columns)} of {len(x)} x {len(y)}"
    return Grid(x[rows], y[columns], rows, columns, (x, y), note)


def stored_plane(run: Run, key: str, title: str) -> Plane | None:
    """Return a stored surface, or None where the file holds none with a finite cell.

    Args:
        run: The result file.
        key: "surface/name".
        title: Of its panel; a surface that is not finished says so below it.
    """
    grid, loss = stored_grid(run, key), run.array(key, "loss")
    if grid is None or loss is None or not np.isfinite(loss).any():
        return None
    done, diverged = run.array(key, "done"), run.array(key, "diverged")
    if diverged is None and done is not None:  # a file from before `diverged` was stored
        diverged = ~np.isfinite(loss)
    if diverged is not None and done is not None:
        diverged = diverged & done
    shown = grid.of(np.where(np.isfinite(loss), loss, np.nan))
    return Plane("\n".join(filter(None, (title, grid.note))), grid.x, grid.y, shown, grid.of(diverged), grid.whole)


def planes(runs: Sequence[Run]) -> list[Plane]:
    """Return one plane per method, of its first seed, the known methods first.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found: dict[str, Plane] = {}
    for run in runs:
        plane = None if run.method in found else stored_plane(run, PLANE, look(run.method).label)
        if plane is not None:
            found[run.method] = plane
    return [found[method] for method in in_order(list(found))]


def grids_of(runs: Sequence[Run], kind: str, read: Callable[[Run, str, str], Drawn | None]) -> list[Drawn]:
    """Return all grids of a kind that one run holds, or the first of every method's first seed that holds one.

    Args:
        runs: As from `figures.reading.load_runs`.
        kind: Result type, for example "CurvatureMap".
        read: From a run, a key and a title to what is drawn, or None where no cell has a number.

    Returns:
        Them, titled by name in one run and by method in several.
    """
    found: dict[str, list[Drawn]] = {}
    for run in runs:
        keys = run.of_type(kind) if run.method not in found else []
        titles = [look(run.method).label if len(runs) > 1 else key.partition("/")[2] for key in keys]
        grids = [read(run, key, title) for key, title in zip(keys, titles, strict=True)]
        there = [grid for grid in grids if grid is not None]
        if there:
            found[run.method] = there[:1] if len(runs) > 1 else there
    return [grid for method in in_order(list(found)) for grid in found[method]]
