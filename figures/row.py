"""Rows of square panels, one plane in each, with one colour bar: surfaces, maps of curvature, gradients.

Right when all panels have the axes of their plane and the bar is that of their scale (`tests/figures/test_surface.py`,
`test_convexity.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Array
from figures.scale import Scale, label_bar
from figures.style import sizes
from figures.wrap import grid_shape


def row_of_planes(draws: Sequence[Callable[[Axes], Any]], scale: Scale, label: str) -> Figure:
    """Return panels side by side, at most `MOST_IN_ROW` in a row, with the colour bar of the last one.

    Args:
        draws: Draw a panel and return its artist; at least one.
        scale: Of all panels.
        label: Of the colour bar.
    """
    width = sizes().wide if len(draws) > 1 else sizes().narrow
    rows, columns = grid_shape(len(draws))
    height = 0.55 + rows * (width - 1.1) / max(columns, 1.05)  # panels are square
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    panels = list(axes.ravel())[: len(draws)]
    for ax, draw in zip(panels, draws, strict=True):
        filled = draw(ax)
    for ax in panels[:-columns]:  # another one stands below
        ax.set_xlabel("")
    for ax in axes[:, 0]:
        ax.set_ylabel("direction 2")
    for ax in axes.ravel()[len(draws) :]:
        ax.remove()
    if rows == 1:  # as high as the panels
        place = {"cax": panels[-1].inset_axes((1.03, 0.0, 0.045 * max(1, len(draws) ** 0.5), 1.0))}
    else:
        place = {"ax": panels, "pad": 0.02, "aspect": 30, "shrink": 0.9}
    bar = figure.colorbar(filled, label=label, extend=scale.extend, **place)
    label_bar(bar, scale)
    # below the panels: inside, it would cover cells
    entries = {label: handle for ax in panels for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries))
    # each further row has its titles and ticks, and the legend room around it
    lines = rows * max(ax.get_title().count("\n") for ax in panels) + 3 * (rows - 1) + 1.5 * bool(entries)
    figure.set_figheight(height + lines * 1.4 * sizes().text / 72)
    return figure


def dress_plane(ax: Axes, x: Array, y: Array, title: str, *, color: str = "white", room: float = 0.0) -> None:
    """Mark the trained weights of a plane and name its axes; both have one unit of length.

    Args:
        ax: Where the plane is drawn.
        x: All its points along the first direction, drawn or not.
        y: Along the second.
        title: Of the panel.
        color: Of the mark.
        room: Around the points, as a share of the axis.
    """
    ax.plot(0, 0, marker="+", color=color, markersize=6, markeredgewidth=1.0, zorder=5)
    ax.set_aspect("equal")
    for place, limit, axis in ((ax.set_xticks, ax.set_xlim, x), (ax.set_yticks, ax.set_ylim, y)):
        place(ends(axis))
        limit(axis[0] - room * (axis[-1] - axis[0]), axis[-1] + room * (axis[-1] - axis[0]))
    ax.set_title(title)
    ax.set_xlabel("direction 1")


def ends(axis: Array) -> list[float]:
    """Return both ends of an axis and 0, in order.

    Args:
        axis: Its points.
    """
    return sorted({float(axis[0]), 0.0, float(axis[-1])})
