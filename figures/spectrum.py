"""Top Hessian eigenvalues by method: bars of means over seeds, single seeds as dots, residuals as error bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Array, Run, by_method, stacked
from figures.style import in_order, look, readable_log_ticks, sizes
from figures.wrap import MANY, legend_columns

EIGENVALUES = "curvature/eigenvalues"


def draw_eigenvalues(ax: Axes, values: Mapping[str, Array], residuals: Mapping[str, Array]) -> None:
    """Draw groups of bars, one group per eigenvalue index.

    Args:
        ax: Where.
        values: Method to eigenvalues [seed, K], the largest first.
        residuals: Method to residuals [seed, K]: an eigenvalue lies within this distance of each dot.
    """
    methods = in_order(list(values))
    width = 0.8 / len(methods)
    largest = max(np.asarray(values[method]).shape[1] for method in methods)
    for offset, method in enumerate(methods):
        style = look(method)
        found, error = (np.asarray(table[method], dtype=float) for table in (values, residuals))
        index = np.arange(1, found.shape[1] + 1) + (offset - (len(methods) - 1) / 2) * width
        count = np.isfinite(found).sum(0)
        mean = np.where(count > 0, np.nansum(found, 0) / np.maximum(count, 1), np.nan)
        ax.bar(index, mean, width * 0.92, color=style.color, alpha=0.45, label=style.label)
        for row, spread in zip(found, error, strict=True):
            ax.errorbar(
                index, row, spread, fmt=style.marker, color=style.color, markersize=2.2, elinewidth=0.8, capsize=1.5
            )
    ax.set_xticks(range(1, largest + 1), [rf"$\lambda_{i}$" for i in range(1, largest + 1)])
    ax.set_ylabel("Hessian eigenvalue\n[loss per squared weight]")


def figure_eigenvalues(runs: Sequence[Run]) -> Figure | None:
    """Return the eigenvalue bars of all runs, or None if no run holds any.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    values, residuals = (by_method(runs, EIGENVALUES, name) for name in ("values", "residuals"))
    if not values:
        return None
    is_wide = len(values) >= MANY
    figure = Figure(figsize=(sizes().wide if is_wide else sizes().narrow, 3.0 if is_wide else 2.6))
    ax = figure.subplots()
    draw_eigenvalues(
        ax,
        {method: stacked(arrays) for method, arrays in values.items()},
        {method: stacked(arrays) for method, arrays in residuals.items()},
    )
    if not is_wide:
        figure.legend(loc="outside upper center", ncols=4, columnspacing=1.0, handlelength=1.2)
        return figure
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=legend_columns(labels, sizes().wide))
    found = np.concatenate([array[np.isfinite(array)] for arrays in values.values() for array in arrays])
    if found.size and found.min() > 0:  # of ten methods the flattest would be lost at the foot of a linear axis
        ax.set_yscale("log")
        ax.set_ylim(found.min() / 1.5, found.max() * 1.5)
        readable_log_ticks(ax.yaxis)
    return figure
