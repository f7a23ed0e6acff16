"""Where the loss is not convex: |lambda_min / lambda_max| of the Hessian over a plane, as Li et al. (2018) draw it.

Each cell is drawn as measured, without interpolation: a ratio of eigenvalues has no business between the points. Where
the residual of lambda_min is at least |lambda_min|, its sign is not known and the cell may as well be convex: it keeps
its colour and is hatched. Right when cells have the colours of their own ratio and several files share one scale from 0
(`tests/figures/test_convexity.py`). Cost: about a second.

References:
    Li et al., Visualizing the Loss Landscape of Neural Nets (2018), arXiv 1712.09913, figure 7.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from figures.cells import edges, hatch_cells
from figures.comparison import compare
from figures.plane import grids_of, stored_grid
from figures.reading import Array, Run
from figures.row import dress_plane, row_of_planes
from figures.scale import CLIP_QUANTILE, Scale, scale_label
from figures.style import TWO_COLUMN

COLORS = "cividis"  # dark at 0, where the loss is convex; neither end is near the white of a cell without a number
MARK = "#D55E00"  # seen on both ends of the colours, and on the white of a legend
UNSURE = r"residual of $\lambda_{\min}$ at least $|\lambda_{\min}|$"
RATIO = r"$|\lambda_{\min}\,/\,\lambda_{\max}|$"


@dataclass(frozen=True)
class Map:
    """A map as it is drawn: ratio[i, j] at x[i], y[j], and which cells have no sure sign and which diverged."""

    title: str
    x: Array
    y: Array
    ratio: Array
    unsure: Array | None
    diverged: Array | None
    whole: tuple[Array, Array] | None = None


def stored_map(run: Run, key: str, title: str) -> Map | None:
    """Return a stored map, or None where the file holds none with a finite cell.

    Args:
        run: The result file.
        key: "surface/name".
        title: Of its panel.
    """
    grid, ratio = stored_grid(run, key), run.array(key, "ratio")
    if grid is None or ratio is None or not np.isfinite(ratio).any():
        return None
    smallest, residuals = run.array(key, "lambda_min"), run.array(key, "residuals")
    unsure = None if smallest is None or residuals is None else residuals[1] >= abs(smallest)
    shown = np.where(np.isfinite(ratio), ratio, np.nan)
    title = "\n".join(filter(None, (title, grid.note)))
    return Map(title, grid.x, grid.y, grid.of(shown), grid.of(unsure), grid.of(run.array(key, "diverged")), grid.whole)


def ratio_scale(found: Sequence[Map]) -> Scale:
    """Return a scale from 0 that shows all maps; cut only where a few cells are more than twice as high as the others.

    Args:
        found: At least one.
    """
    values = np.concatenate([one.ratio[np.isfinite(one.ratio)] for one in found])
    high, usual = float(values.max()), float(np.quantile(values, CLIP_QUANTILE))
    top = usual if 0 < 2 * usual < high else high
    top = top if top > 0 else 1.0  # convex everywhere
    return Scale(Normalize(0, top), np.linspace(0, top, 2), 0.0, top, high > top)


def draw_convexity(ax: Axes, found: Map, scale: Scale) -> Any:
    """Draw a map as cells, those of unknown sign and those that diverged hatched.

    Args:
        ax: Where.
        found: What.
        scale: Shared by all panels.

    Returns:
        The artist, for a colour bar.
    """
    # pcolormesh wants rows along the vertical axis: ratio[i, j] lies at x[i], y[j]
    filled = ax.pcolormesh(edges(found.x), edges(found.y), found.ratio.T, norm=scale.norm, cmap=COLORS, rasterized=True)
    hatch_cells(ax, found.x, found.y, found.diverged, hatch="////", label="diverged")
    hatch_cells(ax, found.x, found.y, found.unsure, hatch="....", label=UNSURE, color=MARK)
    dress_plane(ax, *(found.whole or (found.x, found.y)), found.title)
    return filled


def figure_convexity(runs: Sequence[Run]) -> Figure | None:
    """Return all maps of one run, or the first map of every method's first seed that holds one, side by side.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    shown = grids_of(runs, "CurvatureMap", stored_map)
    return _side_by_side(shown) if shown else None


def compare_convexity(
    titled: Mapping[str, str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    preset: str = TWO_COLUMN,
) -> Figure:
    """Draw one stored map of each file, on one colour scale from 0.

    Args:
        titled: Title of each panel to its result file, in the order drawn.
        output: PNG, PDF or SVG to write; None only returns the figure.
        name: Of the map in the files; None takes the only one there is.
        preset: "two-column" or "one-column", see `figures.style.PRESETS`.

    Returns:
        The figure.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: No file, or one that holds no such map with a finite cell.

    Example:
        compare_convexity({"with": "runs/resnet20/run.h5", "without": "runs/noshort/run.h5"}, "convexity.png")
    """

    def read(run: Run, title: str) -> Map | None:
        keys = run.of_type("CurvatureMap") if name is None else [f"surface/{name}"]
        if len(keys) > 1:
            names = ", ".join(key.partition("/")[2] for key in keys)
            raise ValueError(f"{run.path} holds {len(keys)} maps of curvature, {names}; give the name of one")
        return stored_map(run, keys[0], title) if keys else None

    what = "map of curvature" if name is None else f"map of curvature {name!r}"
    return compare(titled, read, _side_by_side, what, output, preset)


def _side_by_side(found: Sequence[Map]) -> Figure:
    scale = ratio_scale(found)
    return row_of_planes(
        [partial(draw_convexity, found=one, scale=scale) for one in found], scale, scale_label(scale, RATIO)
    )
