"""Gradient noise by layer, relative and absolute: raw, centralized, under a random projection; a column per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.reading import Array, Run
from figures.style import KINDS, in_order, look, readable_log_ticks, sizes

NOISE = "noise/gradient_noise"
ROWS = (
    ("noise_scale", r"relative noise" + "\n" + r"$\mathrm{tr}\,\Sigma\,/\,\|G\|^2$ [samples]"),
    ("trace", r"absolute noise" + "\n" + r"$\mathrm{tr}\,\Sigma$ [loss$^2$/weight$^2$]"),
)


def draw_noise(ax: Axes, layers: Sequence[str], bars: Mapping[str, tuple[Array, Array]]) -> None:
    """Draw groups of bars, one group per layer; an open-ended number is marked by the sign for infinity.

    Args:
        ax: Where.
        layers: Names, [L].
        bars: Kind ("raw", "centralized", "control") to values and standard errors, [L] each.
    """
    width = 0.8 / len(bars)
    place = np.arange(len(layers))
    for offset, (kind, (values, errors)) in enumerate(bars.items()):
        style = KINDS[kind]
        x = place + (offset - (len(bars) - 1) / 2) * width
        is_drawn = np.isfinite(values) & (values > 0)
        ax.bar(
            x[is_drawn],
            values[is_drawn],
            width * 0.92,
            yerr=np.where(np.isfinite(errors), errors, 0.0)[is_drawn],
            color=style.color,
            alpha=0.75,
            label=style.label,
            error_kw={"elinewidth": 0.7, "capsize": 1.5},
        )
        for position in x[~is_drawn]:
            ax.annotate(
                r"$\infty$", (position, 0.02), xycoords=("data", "axes fraction"), ha="center", color=style.color
            )
    ax.set_yscale("log")
    readable_log_ticks(ax.yaxis)
    ax.set_xticks(
        place,
        layers,
        rotation=45 if max(map(len, layers)) > 4 else 0,
        ha="right" if max(map(len, layers)) > 4 else "center",
    )


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
    figure = Figure(figsize=(sizes().wide if len(methods) > 1 else sizes().narrow, 4.0))
    axes = figure.subplots(len(ROWS), len(methods), squeeze=False, sharey="row", sharex="col")
    for column, method in enumerate(methods):
        chosen = [run for run in holding if run.method == method]
        layers = [*(str(name) for name in chosen[0].array(NOISE, "layers")), "all"]  # type: ignore[union-attr]
        for row, (quantity, label) in enumerate(ROWS):
            ax = axes[row, column]
            draw_noise(ax, layers, {kind: _mean(chosen, kind, quantity) for kind in KINDS})
            if column == 0:
                ax.set_ylabel(label)
        axes[0, column].set_title(look(method).label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    handles.append(Line2D([], [], linestyle="", marker=r"$\infty$", color="0.3"))
    labels.append(r"$\|G\|^2$ not above 0")
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels) if len(methods) > 1 else 2)
    return figure


def _mean(runs: Sequence[Run], kind: str, quantity: str) -> tuple[Array, Array]:
    values: list[Array] = []
    errors: list[Array] = []
    for run in runs:
        for name, table in ((quantity, values), (f"{quantity}_standard_error", errors)):
            by_layer, total = run.array(NOISE, f"{kind}/{name}"), run.array(NOISE, f"{kind}/total/{name}")
            if by_layer is not None and total is not None:
                table.append(np.append(by_layer, total))
    if not values:
        empty = np.full(len(runs[0].array(NOISE, "layers")) + 1, np.nan)  # type: ignore[arg-type]
        return empty, empty
    return np.mean(values, axis=0), np.sqrt(np.sum(np.square(errors), axis=0)) / len(errors)
