"""Top Hessian eigenvalues by method: single seeds as dots, residuals as error bars, and their mean.

The mean is a bar on a linear axis. On a logarithmic one it is a line: there a bar's foot, so its length, says nothing.
Right when every dot and every mean is at its number (`tests/figures/test_panels.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Array, Run, by_method, stacked
from figures.style import in_order, look, readable_log_ticks, sizes
from figures.wrap import MANY, legend_above

EIGENVALUES = "curvature/eigenvalues"


def draw_eigenvalues(
    ax: Axes, values: Mapping[str, Array], residuals: Mapping[str, Array], *, log: bool = False
) -> None:
    """Draw one group of methods per eigenvalue index.

    Args:
        ax: Where.
        values: Method to eigenvalues [seed, K], the largest first.
        residuals: Method to residuals [seed, K]: an eigenvalue lies within this distance of each dot.
        log: Logarithmic vertical axis, for positive values; a residual as large as its value has no lower end there.
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
        if log:
            ax.hlines(mean, index - 0.46 * width, index + 0.46 * width, color=style.color, linewidth=1.4)
        else:
            ax.bar(index, mean, width * 0.92, color=style.color, alpha=0.45, label=style.label)
        for seed, (row, spread) in enumerate(zip(found, error, strict=True)):
            ax.errorbar(
                index,
                row,
                [np.where(spread < row, spread, 0.0), spread] if log else spread,
                fmt=style.marker,
                color=style.color,
                markersize=3.0 if log else 2.2,
                elinewidth=0.8,
                capsize=1.5,
                label=style.label if log and seed == 0 else "_",
            )
    if log:
        ax.set_yscale("log")
        readable_log_ticks(ax.yaxis)
    ax.set_xticks(range(1, largest + 1), [rf"$\lambda_{i}$" for i in range(1, largest + 1)])
    ax.set_ylabel("Hessian eigenvalue\n[loss per squared weight]")


def figure_eigenvalues(runs: Sequence[Run]) -> Figure | None:
    """Return the eigenvalues of all runs, or None if no run holds any.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    values, residuals = (by_method(runs, EIGENVALUES, name) for name in ("values", "residuals"))
    if not values:
        return None
    is_wide = len(values) >= MANY
    figure = Figure(figsize=(sizes().wide if is_wide else sizes().narrow, 2.8 if is_wide else 2.6))
    ax = figure.subplots()
    everything = np.concatenate([array[np.isfinite(array)] for arrays in values.values() for array in arrays])
    draw_eigenvalues(
        ax,
        {method: stacked(arrays) for method, arrays in values.items()},
        {method: stacked(arrays) for method, arrays in residuals.items()},
        # of ten methods the flattest would be lost at the foot of a linear axis
        log=is_wide and bool(everything.size) and everything.min() > 0,
    )
    if is_wide:
        legend_above(figure, *ax.get_legend_handles_labels())
    else:
        figure.legend(loc="outside upper center", ncols=4, columnspacing=1.0, handlelength=1.2)
    return figure
