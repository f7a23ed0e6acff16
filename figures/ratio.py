"""q = ||P g|| / ||g|| of every layer over training, as a heat map per method: where centralization changes anything.

The colour goes by 1 - q on a logarithmic scale, because most layers lie between 0.95 and 1 and would all look alike on
a linear one. Right when every cell holds the q of its layer and epoch (`tests/figures/test_ratio.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from figures.reading import Array, Run
from figures.style import SURFACE_COLORS, in_order, look, sizes
from figures.wrap import grid_shape

HISTORY, PROBE = "training/history", "training/probe"
LEAST = 1e-4  # of 1 - q; below it P does nothing that could matter
TICKS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999)
LINE = 1.3  # height of a row, in units of the size of the text beside it
MISSING = "0.85"


@dataclass(frozen=True)
class Ratios:
    """q of a method.

    Attributes:
        title: Of the panel.
        layers: Names, [L].
        coordinate: "epoch" or "step".
        places: Along that coordinate, [T].
        values: Means over seeds, [T, L]; NaN where the gradient was 0.
    """

    title: str
    layers: tuple[str, ...]
    coordinate: str
    places: Array
    values: Array


def stored_ratios(runs: Sequence[Run]) -> list[Ratios]:
    """Return q by method, in order; of the history of a run where it has one, else of its probe.

    Args:
        runs: As from `figures.reading.load_runs`.

    Returns:
        One for each method and network that has any.
    """
    found: dict[tuple[str, tuple[str, ...], str], list[tuple[Array, Array]]] = {}
    for run in runs:
        for key, coordinate in ((HISTORY, "epoch"), (PROBE, "step")):
            values, names, places = (run.array(key, name) for name in ("ascent_ratio", "layers", coordinate))
            if values is not None and names is not None and places is not None and np.isfinite(values).any():
                column = (run.method, tuple(map(str, names)), coordinate)
                found.setdefault(column, []).append((places, values))
                break
    ordered = sorted(found, key=lambda column: in_order([name for name, *_ in found]).index(column[0]))
    return [
        _mean(look(name).label, layers, coordinate, found[name, layers, coordinate])
        for name, layers, coordinate in ordered
    ]


def short_names(layers: Sequence[str]) -> list[str]:
    """Return the names without the ending that all of them share.

    Args:
        layers: Of weights or modules.

    Example:
        >>> short_names(["conv.weight", "head.weight"])
        ['conv', 'head']
    """
    endings = {name.rpartition(".")[2] for name in layers}
    return [name.rpartition(".")[0] for name in layers] if endings == {"weight"} else list(layers)


def ratio_norm(found: Sequence[Ratios]) -> LogNorm:
    """Return the scale of 1 - q that shows all of them.

    Args:
        found: At least one that has a finite value.
    """
    parts = np.concatenate([1 - ratios.values[np.isfinite(ratios.values)] for ratios in found])
    low, high = (float(np.clip(edge, LEAST, 1.0)) for edge in (parts.min(), parts.max()))
    return LogNorm(low, max(high, 2 * low))


def draw_ratios(ax: Axes, ratios: Ratios, norm: LogNorm) -> Any:
    """Draw one heat map, the first layer on top.

    Args:
        ax: Where.
        ratios: What.
        norm: Of 1 - q.

    Returns:
        The mesh; its array holds 1 - q, [layer, place].
    """
    colors = mpl.colormaps[f"{SURFACE_COLORS}_r"].with_extremes(bad=MISSING)  # bright is q = 1
    part = np.ma.masked_invalid(np.maximum(1 - ratios.values.T, LEAST))
    rows = np.arange(len(ratios.layers) + 1) - 0.5
    mesh = ax.pcolormesh(_edges(ratios.places), rows, part, norm=norm, cmap=colors)
    ax.invert_yaxis()
    ax.set_yticks(range(len(ratios.layers)), short_names(ratios.layers))
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.set_xlabel(ratios.coordinate)
    ax.set_title(ratios.title)
    return mesh


def figure_ratio(runs: Sequence[Run]) -> Figure | None:
    """Return q by layer over training, a heat map per method, or None if no run holds any.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = stored_ratios(runs)
    if not found:
        return None
    norm = ratio_norm(found)
    rows = max(len(ratios.layers) for ratios in found)
    height = max(rows * LINE * sizes().small / 72, 1.2) + 0.75  # the rest is for title and labels
    down, across = grid_shape(len(found))
    figure = Figure(figsize=(sizes().wide if len(found) > 1 else sizes().narrow, down * height))
    every = figure.subplots(down, across, squeeze=False).ravel()
    axes = list(every[: len(found)])
    for place, (ax, ratios) in enumerate(zip(axes, found, strict=True)):
        mesh = draw_ratios(ax, ratios, norm)
        if place % across and ratios.layers == found[place - 1].layers:
            ax.tick_params(labelleft=False)
        if place + across < len(found) and ratios.coordinate == found[place + across].coordinate:
            ax.set_xlabel("")
    for ax in every[len(found) :]:
        ax.remove()
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30, label=r"$q = \|Pg\|\,/\,\|g\|$")
    _label_bar(bar, norm)
    if any(np.isnan(ratios.values).any() for ratios in found):
        figure.legend([Patch(color=MISSING)], [r"$g = 0$"], loc="outside lower center")
    return figure


def _label_bar(bar: Any, norm: LogNorm) -> None:
    """Label the bar with q, which grows upwards; of ticks that would stand too close every second one is left out."""
    low, high = float(norm.vmin or LEAST), float(norm.vmax or 1.0)
    ticks = [1 - q for q in TICKS if low <= (1 - q) * (1 + 1e-9) and (1 - q) <= high * (1 + 1e-9)]
    bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda part, _: f"{1 - part:.6g}"))
    bar.ax.invert_yaxis()


def _mean(title: str, layers: tuple[str, ...], coordinate: str, seeds: Sequence[tuple[Array, Array]]) -> Ratios:
    common = seeds[0][0]
    for places, _ in seeds[1:]:
        common = np.intersect1d(common, places)
    values = np.array([values[np.searchsorted(places, common)] for places, values in seeds])
    return Ratios(title, layers, coordinate, common, values.mean(0))


def _edges(places: Array) -> Array:
    """Return the borders of cells around places, half way between neighbours."""
    places = np.asarray(places, dtype=float)
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    middle = (places[1:] + places[:-1]) / 2
    return np.concatenate([[2 * places[0] - middle[0]], middle, [2 * places[-1] - middle[-1]]])
