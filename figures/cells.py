"""Cells of a grid in a picture: where they begin and end, which carry a mark, and the grid that is complete so far.

Right when a mark covers its own cell, and a grid computed coarse to fine shows its coarse points over the whole plane
(`tests/figures/test_cells.py`). Cost: none.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from figures.reading import Array


def edges(axis: Array) -> Array:
    """Return where the cells around the points of an axis begin and end: half-way between them, and at its ends.

    Args:
        axis: Rising, at least one point.
    """
    return np.concatenate([axis[:1], (axis[1:] + axis[:-1]) / 2, axis[-1:]])


def hatch_cells(
    ax: Axes, x: Array, y: Array, mask: Array | None, *, hatch: str, label: str, color: str = "#666666"
) -> None:
    """Hatch cells, with an entry for the legend.

    Args:
        ax: Where the plane is drawn.
        x: Points along the horizontal axis [G1].
        y: Along the vertical axis [G2].
        mask: Which cells, [G1, G2]; None is none of them.
        hatch: Pattern, as matplotlib knows it.
        label: What it means.
        color: Of the pattern.
    """
    if mask is None or not mask.any():
        return
    right, up = edges(x), edges(y)
    corners = [
        [(right[i], up[j]), (right[i + 1], up[j]), (right[i + 1], up[j + 1]), (right[i], up[j + 1])]
        for i, j in np.argwhere(mask)
    ]
    ax.add_collection(PolyCollection(corners, hatch=hatch, facecolor="none", edgecolor=color, linewidth=0, label=label))


def complete_grid(done: Array) -> tuple[Array, Array]:
    """Return the rows and columns of the finest complete grid: all cells at their crossings are done.

    A grid filled coarse to fine is complete at every second, fourth, ... point long before its end. Where no such grid
    is complete, the rows and columns with the largest gaps are left out until there is none.

    Args:
        done: Whether each cell is computed [G1, G2].

    Returns:
        Indices of rows and of columns; empty where nothing is done.
    """
    rows, columns = (np.arange(length) for length in done.shape)
    stride = 1
    while stride <= (min(done.shape) - 1) // 2 or stride == 1:
        for first in range(stride):
            for left in range(stride):
                if done[first::stride, left::stride].all():
                    return _with_last(done, rows[first::stride], columns[left::stride])
        stride *= 2
    while len(rows) and len(columns) and not done[np.ix_(rows, columns)].all():
        there = done[np.ix_(rows, columns)]
        by_row, by_column = there.mean(1), there.mean(0)
        if by_row.min() <= by_column.min():
            rows = np.delete(rows, by_row.argmin())
        else:
            columns = np.delete(columns, by_column.argmin())
    return rows, columns


def _with_last(done: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Add the last row and column if they are done too: a stride seldom ends at them."""
    last_row, last_column = done.shape[0] - 1, done.shape[1] - 1
    if rows[-1] != last_row and done[last_row, columns].all():
        rows = np.append(rows, last_row)
    if columns[-1] != last_column and done[rows, last_column].all():
        columns = np.append(columns, last_column)
    return rows, columns
