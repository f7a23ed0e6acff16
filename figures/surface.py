"""Loss surfaces side by side on one colour scale, as filled contours and in three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogFormatterSciNotation, LogLocator, MaxNLocator

from figures.reading import Array, Run
from figures.style import SURFACE_COLORS, in_order, look, sizes

PLANE = "surface/plane"
CLIP_QUANTILE = 0.95  # one steep corner must not flatten everything else; the figure says where it is cut
NUM_LEVELS = 24


@dataclass(frozen=True)
class Plane:
    """A surface as it is drawn: loss[i, j] at x[i], y[j]; NaN is a hole, and diverged says which were computed."""

    title: str
    x: Array
    y: Array
    loss: Array
    diverged: Array | None = None


@dataclass(frozen=True)
class Scale:
    """One colour scale for all planes: values above `top` are drawn in the colour of `top`."""

    norm: Normalize
    levels: Array
    bottom: float
    top: float
    is_clipped: bool


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


def stored_plane(run: Run, key: str, title: str) -> Plane | None:
    """Return a stored surface, or None where the file holds none with a finite cell.

    Args:
        run: The result file.
        key: "surface/name".
        title: Of its panel.
    """
    x, y, loss, done = (run.array(key, name) for name in ("x", "y", "loss", "done"))
    if x is None or y is None or loss is None or not np.isfinite(loss).any():
        return None
    diverged = None if done is None else done & ~np.isfinite(loss)
    return Plane(title, x, y, np.where(np.isfinite(loss), loss, np.nan), diverged)


def common_scale(losses: Sequence[Array]) -> Scale:
    """Return a scale that shows all losses: logarithmic if all are positive, cut at a high quantile of them all.

    Args:
        losses: Surfaces, NaN where there is no value.
    """
    values = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    low, high = float(values.min()), float(values.max())
    top = float(np.quantile(values, CLIP_QUANTILE))
    if not top > low:
        top = high if high > low else low + max(abs(low), 1.0) * 1e-6
    if low > 0 and top / low > 10:
        return Scale(LogNorm(low, top), np.geomspace(low, top, NUM_LEVELS), low, top, high > top)
    return Scale(Normalize(low, top), np.linspace(low, top, NUM_LEVELS), low, top, high > top)


def draw_contours(ax: Axes, plane: Plane, scale: Scale) -> Any:
    """Draw filled contours, with the trained weights marked.

    Args:
        ax: Where.
        plane: What.
        scale: Shared by all panels.

    Returns:
        The artist, for a colour bar.
    """
    # contourf wants rows along the vertical axis: loss[i, j] lies at x[i], y[j]
    filled = ax.contourf(
        plane.x, plane.y, plane.loss.T, scale.levels, norm=scale.norm, cmap=SURFACE_COLORS, extend="max"
    )
    ax.contour(plane.x, plane.y, plane.loss.T, scale.levels[::3], colors="white", linewidths=0.3, alpha=0.6)
    draw_diverged(ax, plane)
    ax.plot(0, 0, marker="+", color="white", markersize=6, markeredgewidth=1.0)
    ax.set_aspect("equal")
    ax.set_xticks(_ends(plane.x))
    ax.set_yticks(_ends(plane.y))
    ax.set_title(plane.title)
    ax.set_xlabel("direction 1")
    return filled


def draw_diverged(ax: Axes, plane: Plane) -> None:
    """Hatch the cells whose loss is NaN or inf, and say so; cells that are not computed yet stay white.

    Args:
        ax: Where the plane is drawn.
        plane: What.
    """
    if plane.diverged is None or not plane.diverged.any():
        return
    x, y = _edges(plane.x), _edges(plane.y)
    corners = [
        [(x[i], y[j]), (x[i + 1], y[j]), (x[i + 1], y[j + 1]), (x[i], y[j + 1])] for i, j in np.argwhere(plane.diverged)
    ]
    ax.add_collection(PolyCollection(corners, hatch="////", facecolor="none", edgecolor="#666666", linewidth=0))
    patch = Patch(facecolor="none", edgecolor="#666666", hatch="////", label="diverged")
    ax.legend(handles=[patch], loc="lower right", frameon=True)


def draw_surface(ax: Any, plane: Plane, scale: Scale) -> None:
    """Draw the loss as height, cut at the top of the scale.

    Args:
        ax: Three-dimensional axes.
        plane: What.
        scale: Shared by all panels: the same colours, the same heights.
    """
    is_log = isinstance(scale.norm, LogNorm)
    height = np.minimum(plane.loss, scale.top)
    height = np.log10(height) if is_log else height
    low, high = (math.log10(end) if is_log else end for end in (scale.bottom, scale.top))
    x, y = np.meshgrid(plane.x, plane.y, indexing="ij")
    norm = Normalize(low, high)
    ax.plot_surface(x, y, height, cmap=SURFACE_COLORS, norm=norm, rcount=100, ccount=100, linewidth=0, antialiased=True)
    ax.set_zlim(low, high)
    ax.set_title(plane.title, y=0.96)
    ax.view_init(elev=30, azim=-58)
    # + 0.0: the ceiling of -0.1 is -0, and a label would say so
    ticks = np.arange(np.ceil(low), np.floor(high) + 1) + 0.0 if is_log else np.linspace(low, high, 3)
    if is_log:
        ax.set_zticks(ticks, [f"$10^{{{tick:.0f}}}$" for tick in ticks])
    else:
        ax.set_zticks(ticks, [f"{tick:.3g}" for tick in ticks])
    for axis, values in ((ax.xaxis, plane.x), (ax.yaxis, plane.y)):
        axis.set_ticks(_ends(values))
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
    width = sizes().wide if len(found) > 1 else sizes().narrow
    figure = Figure(figsize=(width, 0.55 + (width - 1.1) / max(len(found), 1.3)))  # panels are square
    axes = figure.subplots(1, len(found), squeeze=False, sharey=True)
    for ax, plane in zip(axes[0], found, strict=True):
        filled = draw_contours(ax, plane, scale)
    axes[0, 0].set_ylabel("direction 2")
    bar = figure.colorbar(filled, ax=list(axes[0]), label=_loss_label(scale), aspect=14, pad=0.01)
    _round_ticks(bar, scale)
    return figure


def figure_surfaces(runs: Sequence[Run]) -> Figure | None:
    """Return surfaces in three dimensions side by side, one height and colour scale, or None if there is none.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = planes(runs)
    if not found:
        return None
    scale = common_scale([plane.loss for plane in found])
    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    width = sizes().wide if columns > 1 else sizes().narrow
    figure = Figure(figsize=(width, (0.35 * width + 0.3 if columns > 1 else 2.7) * rows))
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
    bar = figure.colorbar(
        mappable, cax=place, label=_loss_label(scale), extend="max" if scale.is_clipped else "neither"
    )
    _round_ticks(bar, scale)
    return figure


def _edges(axis: Array) -> Array:
    """Return where the cells around the points of an axis begin and end: half-way between them, and at its ends."""
    return np.concatenate([axis[:1], (axis[1:] + axis[:-1]) / 2, axis[-1:]])


def _ends(axis: Array) -> list[float]:
    return sorted({float(axis[0]), 0.0, float(axis[-1])})


def _loss_label(scale: Scale) -> str:
    return f"loss (cut at {scale.top:.3g})" if scale.is_clipped else "loss"


def _round_ticks(bar: Any, scale: Scale) -> None:
    if isinstance(scale.norm, LogNorm):
        bar.locator = LogLocator()
        bar.formatter = LogFormatterSciNotation()
    else:
        ticks = MaxNLocator(5).tick_values(scale.bottom, scale.top)
        bar.locator = FixedLocator([tick for tick in ticks if scale.bottom <= tick <= scale.top])
    bar.minorticks_off()
    bar.update_ticks()
