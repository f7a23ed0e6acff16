"""Agreement of two batches on where to climb, by batch size: SAM, GCSAM and a random projection; a column per method.

Below it stands by how much each projection raises it, over the same pairs of batches: that is the question, and
differences far smaller than the error of either cosine can be seen there. Right when what the artists hold is what the
files hold (`tests/figures/test_agreement.py`). Cost: about a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from figures.curves import NUM_ERRORS
from figures.reading import Array, Run
from figures.style import KINDS, in_order, look, sizes
from figures.wrap import grid_shape, hide_empty, parts_of, share_rows

AGREEMENT = "noise/minibatch"
ASCENTS = {"raw": "raw: SAM", "centralized": "centralized: GCSAM", "control": "random projection"}
GAINS = {"centralized": "centralized_gain", "control": "control_gain"}
SIDE = 1.12  # between the kinds at one batch size, so that their error bars do not hide each other
MAX_TICKS = 5  # labels that a narrow panel has room for


@dataclass(frozen=True)
class Points:
    """One kind over batch sizes: means over runs and their standard errors, [B] each."""

    batch_sizes: Array
    value: Array
    error: Array


def draw_points(ax: Axes, points: Mapping[str, Points]) -> None:
    """Draw one line with error bars of two standard errors for each kind, over a logarithmic axis of batch sizes.

    Args:
        ax: Where.
        points: By kind: "raw", "centralized", "control".
    """
    ax.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    for kind, found in points.items():
        style = KINDS[kind]
        ax.errorbar(
            found.batch_sizes * SIDE ** (list(KINDS).index(kind) - 1),
            found.value,
            np.nan_to_num(NUM_ERRORS * found.error),
            color=style.color,
            marker=style.marker,
            linestyle="",
            markersize=3,
            elinewidth=0.8,
            capsize=1.5,
        )
    every = np.unique(np.concatenate([found.batch_sizes for found in points.values()]))
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(every[:: -(-len(every) // MAX_TICKS)].tolist()))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_locator(NullLocator())


def draw_predictions(ax: Axes, noise_scales: Mapping[str, Array], batch_sizes: Array) -> None:
    """Draw 1 / (1 + noise scale / B) for each kind, the mean over runs; say so where no run has a noise scale.

    Args:
        ax: Where.
        noise_scales: Kind to noise scales, [run]; infinite, so that 0 is predicted, where the squared gradient norm is
            not above 0.
        batch_sizes: Whose range the curves span.
    """
    b = np.geomspace(batch_sizes.min(), batch_sizes.max(), 64)
    drawn = {kind: found for kind, found in noise_scales.items() if np.isfinite(found).any()}
    for kind, found in drawn.items():
        predicted = np.mean(1 / (1 + found[:, None] / b), axis=0)
        ax.plot(b, predicted, color=KINDS[kind].color, linestyle=KINDS[kind].line, linewidth=0.8, zorder=1.5)
    if not drawn:
        text = "no prediction:\n" + r"$\|G\|^2$ not above 0"
        ax.annotate(text, (0.97, 0.95), xycoords="axes fraction", ha="right", va="top", size=sizes().small, color="0.3")


def figure_agreement(runs: Sequence[Run]) -> Figure | None:
    """Return the agreement of all methods, means over seeds, or None if no run holds any.

    Error bars are the standard errors of the single measurements, combined; none where there is none.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    holding = [run for run in runs if run.array(AGREEMENT, "batch_sizes") is not None]
    methods = in_order([run.method for run in holding])
    if not methods:
        return None
    down, across = grid_shape(len(methods))
    figure = Figure(figsize=(sizes().wide if len(methods) > 1 else sizes().narrow, 4.0 if down == 1 else 3.4 * down))
    parts = parts_of(figure, down)
    blocks = [part.subplots(2, across, squeeze=False, sharex="col", height_ratios=(1.6, 1)) for part in parts]
    share_rows(blocks)
    pairs = [pair for axes in blocks for pair in axes.T]
    for (top, below), method in zip(pairs, methods, strict=False):
        chosen = [run for run in holding if run.method == method]
        cosines = {kind: _points(chosen, f"{kind}/cosine") for kind in KINDS}
        draw_points(top, cosines)
        scales = {kind: np.array([run.array(AGREEMENT, f"{kind}/noise_scale") for run in chosen]) for kind in KINDS}
        draw_predictions(top, scales, cosines["raw"].batch_sizes)
        draw_points(below, {kind: _points(chosen, f"{gain}/cosine") for kind, gain in GAINS.items()})
        top.set_title(look(method).label)
        below.set_xlabel("batch size")
    for axes in blocks:
        axes[0, 0].set_ylabel("cosine between\nascent directions")
        axes[1, 0].set_ylabel("gain over raw")
    hide_empty(blocks)
    parts[0].legend(handles=_legend(), loc="outside upper center", ncols=3 if len(methods) > 1 else 2)
    return figure


def _legend() -> list[Line2D]:
    kinds = [
        Line2D([], [], color=KINDS[kind].color, marker=KINDS[kind].marker, linestyle="", label=text)
        for kind, text in ASCENTS.items()
    ]
    bar = Line2D([], [], color="0.3", marker="|", markersize=8, linestyle="", label=f"± {NUM_ERRORS} standard errors")
    return [*kinds, bar, Line2D([], [], color="0.3", linewidth=0.8, label="predicted by the noise scale")]


def _points(runs: Sequence[Run], name: str) -> Points:
    """Return means over the runs that hold a batch size."""
    found: dict[int, list[tuple[float, float]]] = {}
    for run in runs:
        columns = [run.array(AGREEMENT, variable) for variable in ("batch_sizes", name, f"{name}_standard_error")]
        for size, value, error in zip(*columns, strict=True):
            found.setdefault(int(size), []).append((float(value), float(error)))
    table = [np.array(found[size]) for size in sorted(found)]
    return Points(
        np.array(sorted(found), dtype=float),
        np.array([rows[:, 0].mean() for rows in table]),
        np.array([np.sqrt(np.square(rows[:, 1]).sum()) / len(rows) for rows in table]),
    )
