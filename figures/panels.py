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

from figures.curves import Curve, is_log
from figures.style import sizes

MAX_COLUMNS = 3
LINE = 1.35  # height of a line of text, in units of its size


@dataclass(frozen=True)
class Column:
    """Panels above one another: the curves of each quantity, and what draws them.

    Attributes:
        title: Above the first panel.
        panels: Quantity to curves.
        draw: Called with axes, quantity, curves, and whether the axis is logarithmic (None: as the curves want it).
    """

    title: str
    panels: Mapping[str, Sequence[Curve]]
    draw: Callable[[Axes, str, Sequence[Curve], bool | None], None]


def in_rows(columns: Sequence[Column]) -> list[list[Column]]:
    """Return columns in rows of at most `MAX_COLUMNS`.

    Args:
        columns: In order.
    """
    return [list(columns[start : start + MAX_COLUMNS]) for start in range(0, len(columns), MAX_COLUMNS)]


def panel_grid(rows: Sequence[Sequence[Column]], coordinate: str, *, is_shared: bool = False) -> Figure:
    """Return a figure of columns.

    Args:
        rows: Rows of columns, at least one.
        coordinate: Label of the horizontal axes.
        is_shared: Whether the panels of a row have one vertical axis.
    """
    num_columns = max(map(len, rows))
    shares = [[1.0 if quantity == "loss" else 0.6 for quantity in _quantities(row)] for row in rows]
    heights = [1.6 * sum(row) + 0.75 for row in shares]  # inches; the rest is for the title, labels and legend
    figure = Figure(figsize=(sizes().wide if num_columns > 1 else sizes().narrow, sum(heights)))
    parts: Any = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)
    for part, row, ratios in zip(parts[:, 0], rows, shares, strict=True):
        quantities = _quantities(row)
        axes = part.subplots(
            len(quantities),
            num_columns,
            squeeze=False,
            sharex="col",
            sharey="row" if is_shared else "none",
            height_ratios=ratios,
        )
        for down, quantity in enumerate(quantities):
            together = [curve for column in row for curve in column.panels.get(quantity, ())]
            for ax, column in zip(axes[down], row, strict=False):
                if quantity in column.panels:
                    column.draw(ax, quantity, column.panels[quantity], is_log(together) if is_shared else None)
            axes[down, 0].set_ylabel(quantity)
        notes = max(len(ax.texts) for ax in axes[0])  # lines that a panel has put above itself
        for place, column in enumerate(row):
            axes[0, place].set_title(column.title, pad=6 + notes * LINE * sizes().small)
            lowest = axes[max(map(quantities.index, column.panels)), place]
            lowest.set_xlabel(coordinate)
            lowest.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
            lowest.tick_params(labelbottom=True)
        for ax in axes.ravel():
            if not ax.has_data():
                ax.set_axis_off()
        _legend(part, axes)
    return figure


def _quantities(row: Sequence[Column]) -> list[str]:
    return list(dict.fromkeys(quantity for column in row for quantity in column.panels))


def _legend(part: Any, axes: Any) -> None:
    entries: dict[str, Any] = {}
    for ax in axes.ravel():
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if len(entries) > 1:
        columns = int((sizes().wide if axes.shape[1] > 1 else sizes().narrow) / 1.35)  # inches for an entry
        part.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)
