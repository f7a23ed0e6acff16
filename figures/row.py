"""A row of square panels, one plane in each, with one colour bar: surfaces, maps of curvature, gradients.

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


def row_of_planes(draws: Sequence[Callable[[Axes], Any]], scale: Scale, label: str) -> Figure:
    """Return panels side by side with the colour bar of the last one.

    Args:
        draws: Draw a panel and return its artist; at least one.
        scale: Of all panels.
        label: Of the colour bar.
    """
    width = sizes().wide if len(draws) > 1 else sizes().narrow
    height = 0.55 + (width - 1.1) / max(len(draws), 1.05)  # panels are square
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, len(draws), squeeze=False, sharey=True)
    for ax, draw in zip(axes[0], draws, strict=True):
        filled = draw(ax)
    axes[0, 0].set_ylabel("direction 2")
    place = axes[0, -1].inset_axes((1.03, 0.0, 0.045 * max(1, len(draws) ** 0.5), 1.0))  # as high as the panels
    bar = figure.colorbar(filled, cax=place, label=label, extend=scale.extend)
    label_bar(bar, scale)
    # below the panels: inside, it would cover cells
    entries = {label: handle for ax in axes[0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if entries:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries))
    lines = max(ax.get_title().count("\n") for ax in axes[0]) + 1.5 * bool(entries)  # the legend has room around it
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
