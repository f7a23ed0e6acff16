"""Sharpness by method: worst and average case, plain and adaptive, a dot per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Array, Run, by_method
from figures.style import in_order, look, readable_log_ticks, sizes
from figures.wrap import MANY, grid_shape

PANELS = (
    ("sharpness/worst", "worst case"),
    ("sharpness/average", "average case"),
    ("sharpness/worst_adaptive", "worst case, adaptive"),
    ("sharpness/average_adaptive", "average case, adaptive"),
)
MIN_WIDTH = 1.7  # inches of a panel; the labels of a logarithmic axis take half an inch
MIN_WIDTH_OF_MANY = 2.7  # where the names of methods would otherwise lie over each other


def draw_sharpness(ax: Axes, values: Mapping[str, Array], errors: Mapping[str, Array]) -> None:
    """Draw a dot per seed and a bar for the mean; logarithmic where all are positive.

    Args:
        ax: Where.
        values: Method to sharpness [seed], in units of the loss.
        errors: Method to standard errors [seed]; NaN where there is none.
    """
    methods = in_order(list(values))
    for place, method in enumerate(methods):
        style, found = look(method), np.asarray(values[method], dtype=float)
        error = np.nan_to_num(np.asarray(errors.get(method, np.zeros(len(found))), dtype=float))
        x = place + (np.linspace(-0.15, 0.15, len(found)) if len(found) > 1 else np.zeros(1))
        ax.errorbar(x, found, error, fmt=style.marker, color=style.color, elinewidth=0.8, capsize=1.5)
        if np.isfinite(found).any():
            mean = float(found[np.isfinite(found)].mean())
            ax.plot([place - 0.3, place + 0.3], [mean, mean], color=style.color, linewidth=1.4)
    everything = np.concatenate([np.ravel(values[method]) for method in methods])
    if np.nanmin(np.where(np.isfinite(everything), everything, np.inf)) > 0:
        ax.set_yscale("log")
        readable_log_ticks(ax.yaxis)
    ax.set_xticks(range(len(methods)), [look(method).label for method in methods], rotation=35, ha="right")
    ax.set_xlim(-0.6, len(methods) - 0.4)


def figure_sharpness(runs: Sequence[Run]) -> Figure | None:
    """Return the sharpness of all runs, or None if no run holds any.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    panels = [(key, title) for key, title in PANELS if by_method(runs, key, "value")]
    if not panels:
        return None
    methods = {run.method for run in runs if any(run.array(key, "value") is not None for key, _ in panels)}
    least = MIN_WIDTH if len(methods) < MANY else MIN_WIDTH_OF_MANY
    rows, columns = grid_shape(len(panels), int(sizes().wide / least))
    figure = Figure(figsize=(sizes().wide, 2.3 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.ravel()[len(panels) :]:
        ax.remove()
    for ax, (key, title) in zip(axes.ravel(), panels, strict=False):
        values, errors = (
            {method: np.array(arrays, dtype=float) for method, arrays in by_method(runs, key, name).items()}
            for name in ("value", "standard_error")
        )
        draw_sharpness(ax, values, errors)
        rho = {float(array) for arrays in by_method(runs, key, "rho").values() for array in arrays}
        ax.set_title(title.replace(", ", "\n") + ("\n" + rf"$\rho$ = {rho.pop():g}" if len(rho) == 1 else ""))
    for ax in axes[:, 0]:
        ax.set_ylabel("rise of the loss")
    return figure
