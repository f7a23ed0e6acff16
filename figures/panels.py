"""Columns of panels over one coordinate: the loss on top, each metric below it on the same horizontal axis.

Right when every panel stands in its column, and the lowest one says its coordinate (`tests/figures/test_line.py`,
`test_path.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.curves import Curve, is_log, log_floor
from figures.style import sizes
from figures.wrap import broken, grid_shape, hide_empty, share_rows

MAX_COLUMNS = 3
LINE = 1.35  # height of a line of text, in units of its size
# Inches: height of a panel of the loss; least width of a column, one that has room for five ticks, room between texts.
PANEL = 1.6
LEAST_WIDTH = 1.3
NARROW = 1.5
GAP = 0.1
Scale = tuple[bool, float | None]  # whether an axis is logarithmic, and where bands are cut on it


@dataclass(frozen=True)
class Column:
    """Panels above one another: the curves of each quantity, and what draws them.

    Attributes:
        title: Above the first panel.
        panels: Quantity to curves.
        draw: Called with axes, quantity, curves, and the scale that the panel shares (None: as its curves want it).
    """

    title: str
    panels: Mapping[str, Sequence[Curve]]
    draw: Callable[[Axes, str, Sequence[Curve], Scale | None], None]


def in_rows(columns: Sequence[Column]) -> list[list[Column]]:
    """Return columns in rows of at most `MAX_COLUMNS`.

    Args:
        columns: In order.
    """
    return [list(columns[start : start + MAX_COLUMNS]) for start in range(0, len(columns), MAX_COLUMNS)]


def panel_grid(rows: Sequence[Sequence[Column]], coordinate: str, *, is_shared: bool = False) -> Figure:
    """Return a figure of columns.

    Args:
        rows: Rows of columns, at least one. One that shares its axes and is longer than there is room for stands in
            blocks below one another.
        coordinate: Label of the horizontal axes.
        is_shared: Whether the panels of a row have one vertical axis.
    """
    split = [_in_blocks(row) if is_shared else [row] for row in rows]
    num_columns = max(len(block) for blocks in split for block in blocks)
    width = sizes().wide if num_columns > 1 else sizes().narrow
    shares = [[1.0 if quantity == "loss" else 0.6 for quantity in _quantities(row)] for row in rows]
    # inches; beside the panels there are title, labels and, below the last block, a legend
    heights = [
        PANEL * sum(share) + (0.75 if block is blocks[-1] else 0.55)
        for share, blocks in zip(shares, split, strict=True)
        for block in blocks
    ]
    figure = Figure(figsize=(width, sum(heights)))
    parts = iter(figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    for row, blocks, ratios in zip(rows, split, shares, strict=True):
        own = [next(parts) for _ in blocks]
        axes = [
            part.subplots(len(ratios), num_columns, squeeze=False, sharex="col", height_ratios=ratios) for part in own
        ]
        if is_shared:
            share_rows(axes)
        for quantity, panels in zip(_quantities(row), zip(*axes, strict=True), strict=True):
            scale = _scale(row, quantity) if is_shared else None
            for block, across in zip(blocks, panels, strict=True):
                across[0].set_ylabel(quantity)
                for column, ax in zip(block, across, strict=False):
                    if quantity in column.panels:
                        column.draw(ax, quantity, column.panels[quantity], scale)
        for block, grid in zip(blocks, axes, strict=True):
            _name(block, grid, coordinate, width / num_columns)
        hide_empty(axes)
        _legend(own[-1], axes, width)
    return figure


def _in_blocks(row: Sequence[Column]) -> list[Sequence[Column]]:
    _, across = grid_shape(len(row), int(sizes().wide / LEAST_WIDTH))
    return [row[start : start + across] for start in range(0, len(row), across)]


def _scale(row: Sequence[Column], quantity: str) -> Scale:
    together = [curve for column in row for curve in column.panels.get(quantity, ())]
    return (True, log_floor(together)) if is_log(together) else (False, None)


def _name(block: Sequence[Column], axes: Any, coordinate: str, room: float) -> None:
    """Write titles above columns and the coordinate below them, in lines that fit the room of a column."""
    notes = max(len(ax.texts) for ax in axes[0])  # lines that a panel has put above itself
    for column, panels in zip(block, axes.T, strict=False):
        panels[0].set_title(broken(column.title, room - GAP), pad=6 + notes * LINE * sizes().small)
        lowest = [ax for ax in panels if ax.has_data()][-1]
        lowest.set_xlabel(broken(coordinate, room - GAP))
        lowest.xaxis.set_major_locator(MaxNLocator(5 if room > NARROW else 2, steps=(1, 2, 5, 10)))
        lowest.tick_params(labelbottom=True)


def _quantities(row: Sequence[Column]) -> list[str]:
    return list(dict.fromkeys(quantity for column in row for quantity in column.panels))


def _legend(part: Any, blocks: Sequence[Any], width: float) -> None:
    entries: dict[str, Any] = {}
    for ax in (ax for axes in blocks for ax in axes.ravel()):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if len(entries) > 1:
        # 1.35 inches for an entry
        part.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=int(width / 1.35))
