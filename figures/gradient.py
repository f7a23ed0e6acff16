"""Where gradient descent would go in a plane: arrows along -slope over the level lines of the loss.

`slope` holds the derivatives by the coordinates of the picture, so an arrow stands across the level lines; in the space
of the weights it is the steepest way within the plane where both directions have one norm and are orthogonal. All
arrows have one length; their colour says which share of the squared gradient the plane shows at all, without which a
picture of a plane in millions of dimensions promises too much. Right when arrows of a known loss point down it and the
surface beneath is one of the same plane (`tests/figures/test_gradient.py`). Cost: about a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from figures.cells import hatch_cells
from figures.plane import Plane, grids_of, stored_grid, stored_plane
from figures.reading import Array, Run
from figures.row import dress_plane, row_of_planes
from figures.scale import Scale, common_scale, within
from figures.style import sizes

MAX_ARROWS = 15  # along an axis; more are a texture
LENGTH = 0.8  # of an arrow, in distances between two
ROOM = 0.05  # around the points, for arrows on the edge; the same for grids that stand side by side
COLORS = ListedColormap(mpl.colormaps["plasma"](np.linspace(0, 0.8, 256)))  # its yellow is lost on white
SHARE = r"share of $\|\nabla L\|^2$ in the plane"


@dataclass(frozen=True)
class Field:
    """A field as it is drawn: slope [2, G1, G2] and share [G1, G2] at x, y; the surface beneath, if any."""

    title: str
    x: Array
    y: Array
    slope: Array
    share: Array
    diverged: Array | None
    surface: Plane | None
    whole: tuple[Array, Array] | None = None


def stored_field(run: Run, key: str, title: str) -> Field | None:
    """Return a stored gradient field, or None where the file holds none with a finite cell.

    Args:
        run: The result file.
        key: "surface/name".
        title: Of its panel.
    """
    grid, slope, share = stored_grid(run, key), run.array(key, "slope"), run.array(key, "in_plane")
    if grid is None or slope is None or share is None or not np.isfinite(slope).all(0).any():
        return None
    title = "\n".join(filter(None, (title, grid.note)))
    diverged = grid.of(run.array(key, "diverged"))
    return Field(
        title, grid.x, grid.y, grid.of(slope), grid.of(share), diverged, _surface_beneath(run, key), grid.whole
    )


def draw_gradient(ax: Axes, field: Field, scale: Scale) -> Any:
    """Draw level lines with their losses, and arrows of one length along -slope, every few cells of a fine grid.

    Args:
        ax: Where.
        field: What.
        scale: Of the shares, for the colours of the arrows.

    Returns:
        The arrows, for a colour bar.
    """
    if field.surface is not None:
        _level_lines(ax, field.surface)
    every = [-(-len(axis) // MAX_ARROWS) for axis in (field.x, field.y)]
    x, y = field.x[:: every[0]], field.y[:: every[1]]
    slope, share = field.slope[:, :: every[0], :: every[1]], field.share[:: every[0], :: every[1]]
    norm = np.hypot(*slope)
    length = LENGTH * min(np.diff(axis).min() for axis in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):  # no slope, no direction, no arrow
        along, up = -slope * (length / norm)
    is_drawn = np.isfinite(along) & np.isfinite(up)
    right, above = np.meshgrid(x, y, indexing="ij")
    arrows = ax.quiver(
        right[is_drawn],
        above[is_drawn],
        along[is_drawn],
        up[is_drawn],
        within(share, scale)[is_drawn],
        norm=scale.norm,
        cmap=COLORS,
        angles="xy",
        scale_units="xy",
        scale=1,
        pivot="mid",
        width=0.006,
        zorder=3,
    )
    hatch_cells(ax, field.x, field.y, field.diverged, hatch="////", label="diverged")
    dress_plane(ax, *(field.whole or (field.x, field.y)), field.title, color="black", room=ROOM)
    return arrows


def figure_gradient(runs: Sequence[Run]) -> Figure | None:
    """Return all gradient fields of one run, or the first of every method's first seed that holds one, side by side.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    shown = grids_of(runs, "GradientField", stored_field)
    if not shown:
        return None
    scale = share_scale(shown)
    return row_of_planes([partial(draw_gradient, field=one, scale=scale) for one in shown], scale, SHARE)


def share_scale(found: Sequence[Field]) -> Scale:
    """Return a scale that shows all shares: logarithmic where they span more than a factor of 10, else from 0.

    Args:
        found: At least one.
    """
    shares = np.concatenate([one.share[np.isfinite(one.share)] for one in found])
    positive = shares[shares > 0]
    low, top = (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 1.0)
    if top > 10 * low:
        return Scale(LogNorm(low, top), np.geomspace(low, top, 2), low, top, is_clipped=False)
    return Scale(Normalize(0, top), np.linspace(0, top, 2), 0.0, top, is_clipped=False)


def _level_lines(ax: Axes, surface: Plane) -> None:
    scale = common_scale([surface.loss])
    if scale.is_log:  # round numbers in each decade, only the decades where they are many
        subs = (1, 2, 3, 5, 7) if scale.top < 1e3 * scale.bottom else (1,)
        levels = LogLocator(subs=subs).tick_values(scale.bottom, scale.top)
    else:
        levels = MaxNLocator(8).tick_values(scale.bottom, scale.top)
    shown = [level for level in levels if scale.bottom < level < scale.top]
    if not shown:
        return
    x, y, loss = surface.x, surface.y, within(surface.loss, scale).T
    lines = ax.contour(x, y, loss, shown, colors="0.6", linewidths=0.7, linestyles="-")
    for text in ax.clabel(lines, fmt=lambda level: f"{level:g}", fontsize=sizes().small - 1.5, colors="0.3", zorder=4):
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])  # over the arrows


def _surface_beneath(run: Run, key: str) -> Plane | None:
    """Return the surface of the same plane that covers a field: one on its points if there is one, else the finest."""
    x, y, directions = (run.array(key, name) for name in ("x", "y", "directions"))
    assert x is not None
    assert y is not None
    found: list[tuple[bool, int, str]] = []
    for other in run.of_type("Surface"):
        axes = [run.array(other, name) for name in ("x", "y")]
        others = run.array(other, "directions")
        if directions is not None and others is not None and not np.array_equal(directions, others):
            continue
        if all(_covers(axis, field) for axis, field in zip(axes, (x, y), strict=True)):
            is_same = all(np.array_equal(axis, field) for axis, field in zip(axes, (x, y), strict=True))  # type: ignore[arg-type]
            found.append((is_same, sum(len(axis) for axis in axes if axis is not None), other))
    best = max(found, default=None)
    return stored_plane(run, best[2], "") if best is not None else None


def _covers(axis: Array | None, field: Array) -> bool:
    if axis is None:
        return False
    room = 1e-9 * abs(axis[-1] - axis[0])
    return bool(axis[0] - room <= field[0] and field[-1] <= axis[-1] + room)
