"""Gradient noise by layer, relative and absolute: raw, centralized, under a random projection; a column per method.

Points with a standard error; few layers stand side by side. Of more than `MOST_COLUMNS` those that P touches have a row
each, so that their names can be read. Right when every mark is at its number, and one that is open is marked as such
(`tests/figures/test_noise.py`). Cost: about a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.reading import Array, Run
from figures.style import KINDS, Look, in_order, look, readable_log_ticks, sizes
from figures.wrap import grid_shape, hide_empty, parts_of, share_rows

NOISE = "noise/gradient_noise"
ROWS = (
    ("noise_scale", r"relative noise" + "\n" + r"$\mathrm{tr}\,\Sigma\,/\,\|G\|^2$ [samples]"),
    ("trace", r"absolute noise" + "\n" + r"$\mathrm{tr}\,\Sigma$ [loss$^2$/weight$^2$]"),
)
MOST_COLUMNS = 8
MOST_METHODS = 4  # side by side; further ones stand in blocks below


def draw_noise(ax: Axes, layers: Sequence[str], points: Mapping[str, tuple[Array, Array]]) -> None:
    """Draw points above each layer, with bars of a standard error; an open-ended number is marked at the foot.

    Points and no bars: on a logarithmic axis a bar has no foot, so its length says nothing.

    Args:
        ax: Where.
        layers: Names, [L].
        points: Kind ("raw", "centralized", "control") to values and standard errors, [L] each.
    """
    place = np.arange(len(layers))
    for kind, shift in _beside(points, 0.24):
        style, (values, errors) = KINDS[kind], points[kind]
        is_drawn, ends = _ends(values, errors)
        x = place + shift
        ax.errorbar(x[is_drawn], values[is_drawn], yerr=ends, capsize=1.5, **_marks(style, 3.0))
        for position in x[~is_drawn]:
            ax.annotate(
                r"$\infty$", (position, 0.02), xycoords=("data", "axes fraction"), ha="center", color=style.color
            )
    ax.set_yscale("log")
    readable_log_ticks(ax.yaxis)
    ax.set_xlim(-0.5, len(layers) - 0.5)
    is_long = max(map(len, layers)) > 4
    ax.set_xticks(place, layers, rotation=45 if is_long else 0, ha="right" if is_long else "center")


def draw_noise_rows(ax: Axes, layers: Sequence[str], points: Mapping[str, tuple[Array, Array]]) -> None:
    """Draw a row of points per layer, with bars of a standard error; an open-ended number is marked at the left.

    Args:
        ax: Where.
        layers: Names, [L], the first at the top.
        points: As for `draw_noise`.
    """
    place = np.arange(len(layers))
    for kind, shift in _beside(points, 0.22):
        style, (values, errors) = KINDS[kind], points[kind]
        is_drawn, ends = _ends(values, errors)
        y = place + shift
        ax.errorbar(values[is_drawn], y[is_drawn], xerr=ends, **_marks(style, 2.5))
        for position in y[~is_drawn]:
            ax.annotate(
                r"$\infty$", (0.02, position), xycoords=("axes fraction", "data"), va="center", color=style.color
            )
    ax.set_xscale("log")
    readable_log_ticks(ax.xaxis)
    ax.set_ylim(len(layers) - 0.5, -0.5)
    ax.set_yticks(place, layers)
    ax.grid(axis="y", linewidth=0.3, color="0.9")


def figure_noise(runs: Sequence[Run]) -> Figure | None:
    """Return the noise of all methods, means over seeds, or None if no run holds any.

    Error bars are the standard errors of the single measurements, combined: what the data at hand leave open, not the
    spread over seeds.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    holding = [run for run in runs if run.array(NOISE, "layers") is not None]
    methods = in_order([run.method for run in holding])
    if not methods:
        return None
    chosen = {method: [run for run in holding if run.method == method] for method in methods}
    layers = [str(name) for name in chosen[methods[0]][0].array(NOISE, "layers")]  # type: ignore[union-attr]
    is_tall = len(layers) > MOST_COLUMNS
    shown = [i for i in range(len(layers)) if not is_tall or any(_is_touched(run, i) for run in holding)]
    down, across = grid_shape(len(methods), MOST_METHODS)
    height = 0.16 * len(shown) + 1.6 if is_tall else 4.0 if down == 1 else 0.4 * sizes().text
    figure = Figure(figsize=(sizes().wide if len(methods) > 1 or is_tall else sizes().narrow, down * height))
    parts = parts_of(figure, down)
    shape = (1, len(ROWS) * across) if is_tall else (len(ROWS), across)
    blocks = [part.subplots(*shape, squeeze=False, sharex="none" if is_tall else "col") for part in parts]
    share_rows(blocks)
    names = [*(layers[i] for i in shown), "all"]
    for place, (method, some) in enumerate(chosen.items()):
        axes, column = blocks[place // across], place % across
        for row, (quantity, label) in enumerate(ROWS):
            marks = {kind: _mean(some, kind, quantity, [*shown, -1]) for kind in KINDS}
            if is_tall:
                ax = axes[0, row * across + column]
                draw_noise_rows(ax, names, marks)
                _dress_tall(ax, label if column == (across - 1) // 2 else "", across)
            else:
                ax = axes[row, column]
                draw_noise(ax, names, marks)
                if column == 0:
                    ax.set_ylabel(label)
            if is_tall or row == 0:
                ax.set_title(look(method).label)
    hide_empty(blocks)
    relative = [ax for block in blocks for ax in block[0]]
    if not is_tall and all(map(_is_empty, relative)):
        _hide_scale(relative, "y")
    handles, labels = ax.get_legend_handles_labels()  # of the absolute noise, which is never open-ended
    handles.append(Line2D([], [], linestyle="", marker=r"$\infty$", color="0.3"))
    labels.append(r"$\|G\|^2$ not above 0")
    columns = len(labels) if len(methods) > 1 or is_tall else 2
    parts[0].legend(handles, labels, loc="outside upper center", ncols=columns)
    return figure


def _dress_tall(ax: Axes, label: str, across: int) -> None:
    """Give a narrow panel ticks that can be read, and the middle one of its quantity the label of all of them."""
    ax.set_xlabel(label, x=0.5 if across % 2 else 1.1)
    if across > 2:
        ax.tick_params(axis="x", rotation=60)
    if _is_empty(ax):
        _hide_scale([ax], "x")


def _beside(kinds: Collection[str], step: float) -> Iterator[tuple[str, float]]:
    """Yield each kind with its shift from the middle of a layer."""
    yield from ((kind, (place - (len(kinds) - 1) / 2) * step) for place, kind in enumerate(kinds))


def _ends(values: Array, errors: Array) -> tuple[Array, Array]:
    """Return which numbers can be drawn [L], and of these the ends of the error bars [2, drawn]."""
    is_drawn = np.isfinite(values) & (values > 0)
    # an error as large as the number has no lower end on a logarithmic axis
    ends = np.array([np.where(errors < values, errors, 0.0), errors])
    return is_drawn, np.where(np.isfinite(ends), ends, 0.0)[:, is_drawn]


def _marks(style: Look, size: float) -> dict[str, Any]:
    return {
        **{"linestyle": "", "marker": style.marker, "markersize": size, "elinewidth": 0.6},
        **{"color": style.color, "label": style.label},
    }


def _is_empty(ax: Axes) -> bool:
    """Return whether a panel holds nothing but signs for infinity."""
    return not any(np.size(line.get_xdata()) for line in ax.lines)


def _hide_scale(panels: Sequence[Axes], axis: Literal["x", "y"]) -> None:
    """Hide the ticks of an axis on which nothing is read."""
    for ax in panels:
        ax.tick_params(axis=axis, which="both", length=0, labelleft=axis != "y", labelbottom=axis != "x")


def _is_touched(run: Run, layer: int) -> bool:
    raw, kept = (run.array(NOISE, f"{kind}/trace") for kind in ("raw", "centralized"))
    return raw is None or kept is None or layer >= len(raw) or bool(kept[layer] < (1 - 1e-6) * raw[layer])


def _mean(runs: Sequence[Run], kind: str, quantity: str, layers: Sequence[int]) -> tuple[Array, Array]:
    """Return mean and standard error over seeds of some layers; -1 is all weights."""
    values: list[Array] = []
    errors: list[Array] = []
    for run in runs:
        for name, table in ((quantity, values), (f"{quantity}_standard_error", errors)):
            by_layer, total = run.array(NOISE, f"{kind}/{name}"), run.array(NOISE, f"{kind}/total/{name}")
            if by_layer is not None and total is not None:
                table.append(np.append(by_layer, total)[list(layers)])
    if not values:
        empty = np.full(len(layers), np.nan)
        return empty, empty
    return np.mean(values, axis=0), np.sqrt(np.sum(np.square(errors), axis=0)) / len(errors)
