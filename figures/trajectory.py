"""Where training went, drawn on the loss of its plane, beside what the plane does not show.

The losses at the points themselves, those of the plane below them and the distance between stand beside the picture: a
path that does not follow the contours is explained there. Right when every point lies where the file says and no panel
is transposed (`tests/figures/test_trajectory.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.cells import hatch_cells
from figures.plane import Plane, stored_plane
from figures.reading import Array, Run
from figures.scale import common_scale, label_bar, scale_label, within
from figures.style import SURFACE_COLORS, Look, look, sizes

PATH, PLANE = "surface/trajectory", "surface/trajectory_plane"
# Read on viridis: light against the dark valley, dark against the light walls.
COLORS = ("#D55E00", "#FFFFFF", "#CC79A7", "#000000")
MARKERS = ("o", "D", "^", "s")


@dataclass(frozen=True)
class Path:
    """The points of one run, in order: coordinates [T, 2]; distance, loss and plane_loss [T]."""

    look: Look
    coordinates: Array
    distance: Array
    loss: Array
    plane_loss: Array


def paths(run: Run) -> list[Path]:
    """Return the runs of a stored trajectory, in their order.

    Args:
        run: The result file.
    """
    names = run.array(PATH, "run_names")
    if names is None:
        return []
    index, *arrays = (run.array(PATH, name) for name in ("run", "coordinates", "distance", "loss", "plane_loss"))
    found = []
    for number, name in enumerate(names):
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        drawn = Look(look(str(name)).label, color, marker, "-")
        found.append(Path(drawn, *(array[index == number] for array in arrays if array is not None)))
    return found


def draw_plane(ax: Axes, plane: Plane) -> None:
    """Draw the loss of the plane of a trajectory, with its colour bar beside it.

    Args:
        ax: Where.
        plane: What.
    """
    scale = common_scale([plane.loss])
    # contourf wants rows along the vertical axis: loss[i, j] lies at x[i], y[j]
    loss = within(plane.loss, scale).T
    filled: Any = ax.contourf(
        plane.x, plane.y, loss, scale.levels, norm=scale.norm, cmap=SURFACE_COLORS, extend=scale.extend
    )
    hatch_cells(ax, plane.x, plane.y, plane.diverged, hatch="////", label="diverged")
    # as high as the panel, whose height follows from equal axes
    bar = ax.figure.colorbar(filled, cax=ax.inset_axes((1.02, 0.0, 0.035, 1.0)), label=scale_label(scale))
    label_bar(bar, scale)


def draw_paths(ax: Axes, found: Sequence[Path], explained: Array) -> None:
    """Draw paths over a plane; a filled star is the last point of each.

    Args:
        ax: Where; a plane may be there already.
        found: The paths.
        explained: Share of the variance along each axis [2].
    """
    for path in found:
        x, y = path.coordinates.T
        ax.plot(
            x,
            y,
            color=path.look.color,
            marker=path.look.marker,
            markersize=3,
            markeredgecolor="black",
            markeredgewidth=0.4,
            linewidth=1.0,
            label=path.look.label,
        )
        ax.plot(x[-1], y[-1], marker="*", color=path.look.color, markersize=9, markeredgecolor="black", zorder=4)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set_xlabel(f"axis 1 ({100 * explained[0]:.0f} % of the variance)")
    ax.set_ylabel(f"axis 2 ({100 * explained[1]:.0f} %)")
    entries = len(ax.get_legend_handles_labels()[1])  # the runs, and cells that diverged
    if entries > 1:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=entries)


def on_white(drawn: Look) -> str:
    """Return the colour of a path off the plane, where white is not seen.

    Args:
        drawn: How it looks on the plane.
    """
    return "#666666" if drawn.color == "#FFFFFF" else drawn.color


def draw_losses(ax: Axes, found: Sequence[Path]) -> None:
    """Draw the loss at each point, and that of the plane below it.

    Args:
        ax: Where.
        found: The paths.
    """
    for path in found:
        color = on_white(path.look)
        steps = np.arange(len(path.loss))
        ax.plot(steps, path.loss, color=color, marker=path.look.marker, markersize=2.5)
        ax.plot(steps, path.plane_loss, color=color, linestyle=":")
    ax.plot([], [], color="black", marker="o", markersize=2.5, label="at the point")
    ax.plot([], [], color="black", linestyle=":", label="in the plane below")
    values = np.concatenate([np.concatenate([path.loss, path.plane_loss]) for path in found])
    if (values[np.isfinite(values)] > 0).all():
        ax.set_yscale("log")
    ax.set_ylabel("loss")
    ax.legend(loc="best")


def draw_distances(ax: Axes, found: Sequence[Path]) -> None:
    """Draw how far each point lies outside the plane.

    Args:
        ax: Where.
        found: The paths.
    """
    for path in found:
        color = on_white(path.look)
        ax.plot(path.distance, color=color, marker=path.look.marker, markersize=2.5)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("distance to plane")
    ax.set_xlabel("checkpoint")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def figure_trajectory(runs: Sequence[Run]) -> Figure | None:
    """Return the trajectory of the first file that holds one, or None.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    for run in runs:
        found, explained = paths(run), run.array(PATH, "explained_variance")
        if found and explained is not None:
            return _figure(run, found, explained)
    return None


def _figure(run: Run, found: Sequence[Path], explained: Array) -> Figure:
    figure = Figure(figsize=(sizes().wide, 3.0))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.45, 1))
    left = figure.add_subplot(grid[:, 0])
    plane = stored_plane(run, PLANE, "")
    if plane is not None:
        draw_plane(left, plane)
    draw_paths(left, found, explained)
    left.set_aspect("equal", adjustable="box")
    above, below = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    draw_losses(above, found)
    draw_distances(below, found)
    above.sharex(below)
    above.tick_params(labelbottom=False)
    return figure
