"""Loss surfaces side by side on one colour scale, as filled contours and in three dimensions.

Right when the first index runs along the horizontal axis and all panels share colours and heights
(`tests/figures/test_surface.py`). Cost: about a second per figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.cells import hatch_cells
from figures.plane import Plane, planes
from figures.reading import Run
from figures.row import dress_plane, ends, row_of_planes
from figures.scale import Scale, common_scale, label_bar, scale_label, within
from figures.style import SURFACE_COLORS, sizes
from figures.wrap import MANY


def draw_contours(ax: Axes, plane: Plane, scale: Scale) -> Any:
    """Draw filled contours, with the trained weights marked; cells that diverged are hatched, missing ones are white.

    Args:
        ax: Where.
        plane: What.
        scale: Shared by all panels.

    Returns:
        The artist, for a colour bar.
    """
    # contourf wants rows along the vertical axis: loss[i, j] lies at x[i], y[j]
    loss, extend = within(plane.loss, scale).T, scale.extend
    filled = ax.contourf(plane.x, plane.y, loss, scale.levels, norm=scale.norm, cmap=SURFACE_COLORS, extend=extend)
    ax.contour(plane.x, plane.y, loss, scale.levels[::3], colors="white", linewidths=0.3, linestyles="-", alpha=0.6)
    hatch_cells(ax, plane.x, plane.y, plane.diverged, hatch="////", label="diverged")
    dress_plane(ax, *(plane.whole or (plane.x, plane.y)), plane.title)
    return filled


def draw_surface(ax: Any, plane: Plane, scale: Scale) -> None:
    """Draw the loss as height, cut at the top of the scale.

    Args:
        ax: Three-dimensional axes.
        plane: What.
        scale: Shared by all panels: the same colours, the same heights.
    """
    is_log = scale.is_log
    height = np.minimum(within(plane.loss, scale), scale.top)
    height = np.log10(height) if is_log else height
    low, high = (math.log10(end) if is_log else end for end in (scale.bottom, scale.top))
    x, y = np.meshgrid(plane.x, plane.y, indexing="ij")
    norm = Normalize(low, high)
    ax.plot_surface(x, y, height, cmap=SURFACE_COLORS, norm=norm, rcount=100, ccount=100, linewidth=0, antialiased=True)
    ax.set_zlim(low, high)
    ax.set_title(plane.title, y=0.96)
    ax.view_init(elev=30, azim=-58)
    _label_heights(ax, low, high, is_log)
    whole = plane.whole or (plane.x, plane.y)
    for axis, limit, values in zip((ax.xaxis, ax.yaxis), (ax.set_xlim, ax.set_ylim), whole, strict=True):
        axis.set_ticks(ends(values))
        room = 0.02 * (values[-1] - values[0])  # the labels of two axes meet in a corner
        limit(values[0] - room, values[-1] + room)
    ax.tick_params(pad=-3, labelsize=sizes().small)
    ax.tick_params(axis="z", pad=1)
    labelpad = 3 * sizes().text - 32  # larger tick labels push the names of the axes outwards
    ax.set_xlabel("direction 1", labelpad=labelpad)
    ax.set_ylabel("direction 2", labelpad=labelpad)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.pane.set_visible(False)


def figure_contours(runs: Sequence[Run]) -> Figure | None:
    """Return contour plots side by side on one colour scale, or None if no run holds a surface.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = planes(runs)
    return side_by_side(found) if found else None


def side_by_side(found: Sequence[Plane]) -> Figure:
    """Return contour plots of planes side by side on one colour scale.

    Args:
        found: At least one.
    """
    scale = common_scale([plane.loss for plane in found])
    return row_of_planes(
        [partial(draw_contours, plane=plane, scale=scale) for plane in found], scale, scale_label(scale)
    )


def figure_surfaces(runs: Sequence[Run]) -> Figure | None:
    """Return surfaces in three dimensions side by side, one height and colour scale, or None if there is none.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = planes(runs)
    return heights(found) if found else None


def heights(found: Sequence[Plane]) -> Figure:
    """Return planes as surfaces in three dimensions side by side, one height and colour scale.

    Args:
        found: At least one.
    """
    scale = common_scale([plane.loss for plane in found])
    columns = min(len(found), 2 if len(found) < MANY else 3)
    rows = -(-len(found) // columns)
    width = sizes().wide if columns > 1 else sizes().narrow
    figure = Figure(figsize=(width, (0.7 * width / columns + 0.3 if columns > 1 else 2.7) * rows))
    figure.set_layout_engine("none")  # three-dimensional axes do not know how much room they need
    right = 1 - sizes().text / 9 / width  # room for the colour bar and its label, in proportion to the text
    for number, plane in enumerate(found):
        row, column = divmod(number, columns)
        box = (column * right / columns, 1 - (row + 1) / rows, right / columns, 1 / rows)
        # no background: labels reach into the empty corner of the neighbour
        ax: Any = figure.add_axes(box, projection="3d", facecolor="none")
        draw_surface(ax, plane, scale)
        zoom = 0.93 if right * width / columns > 2.4 else 0.87  # labels need more of a small box
        ax.set_box_aspect((1, 1, 0.75), zoom=zoom)
    mappable = ScalarMappable(norm=scale.norm, cmap=SURFACE_COLORS)
    place = figure.add_axes((right + 0.14 / width, 0.25, 0.018, 0.5))
    label = scale_label(scale) if rows < 3 else scale_label(scale).replace("\n", " ")  # a high bar has room for a line
    bar = figure.colorbar(mappable, cax=place, label=label, extend=scale.extend)
    label_bar(bar, scale)
    return figure


def _label_heights(ax: Any, low: float, high: float, is_log: bool) -> None:
    # + 0.0: the ceiling of -0.1 is -0, and a label would say so
    ticks = np.arange(np.ceil(low), np.floor(high) + 1) + 0.0
    if is_log and len(ticks) > 1:
        ax.set_zticks(ticks, [f"$10^{{{tick:.0f}}}$" for tick in ticks])
        return
    if is_log:
        decades = 10.0 ** np.arange(np.floor(low), np.ceil(high) + 1)
        ticks = np.log10(np.outer(decades, (1, 2, 5)).ravel())
        labels = [f"{10**tick:.3g}" for tick in ticks]
    else:
        ticks = np.asarray(MaxNLocator(4).tick_values(low, high))
        labels = [f"{tick + 0.0:.12g}" for tick in ticks.round(12)]
    shown = [(tick, label) for tick, label in zip(ticks, labels, strict=True) if low <= tick <= high]
    has_room = max((len(label) for _, label in shown), default=0) <= 5  # otherwise the colour bar says it
    ax.set_zticks([tick for tick, _ in shown], [label if has_room else "" for _, label in shown])
