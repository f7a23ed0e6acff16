"""Following a drift: accuracy hour by hour, before training on an hour and after it, and how far the drift has come.

One line per method, the mean over its seeds with a band of one standard deviation. Right when the artists hold the
numbers of the histories (`tests/figures/test_drift.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.reading import Array, Run, stacked
from figures.style import in_order, look, sizes
from figures.wrap import MANY, legend_above

HISTORY = "training/history"
PANELS = (
    ("online_accuracy", "online: each batch before training"),
    ("current_accuracy", "now: validation images, after the hour"),
)
MARKS = 6  # on a curve of many methods


def draw_hours(ax: Axes, curves: Mapping[str, Array]) -> None:
    """Draw the mean of each method over its seeds, with a band of one standard deviation where there are several.

    Args:
        ax: Where.
        curves: Method to percentages [seed, hour].
    """
    is_crowded = len(curves) >= MANY
    for method in in_order(list(curves)):
        style, values = look(method), np.asarray(curves[method], dtype=float)
        hours, mean = np.arange(1, values.shape[1] + 1), values.mean(0)
        if len(values) > 1:
            spread = values.std(0, ddof=1)
            low, high = np.maximum(mean - spread, 0), np.minimum(mean + spread, 100)
            ax.fill_between(hours, low, high, color=style.color, alpha=0.06 if is_crowded else 0.12, linewidth=0)
        (line,) = ax.plot(hours, mean, color=style.color, linestyle=style.line, label=style.label)
        line.set(marker=style.marker, markersize=3)
        if is_crowded:  # marks at every hour would hide the dashes
            line.set(linewidth=0.9, markevery=max(len(hours) // MARKS, 1))


def figure_drift(runs: Sequence[Run]) -> Figure | None:
    """Return the accuracies over a drift, or None if no run was trained on one.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    severity = stored_stream(runs, "severity")
    if not severity:
        return None
    figure = Figure(figsize=(sizes().wide, 3.1))
    axes = figure.subplots(2, len(PANELS), sharex=True, sharey="row", squeeze=False, height_ratios=(1, 0.25))
    levels = sorted({tuple(level[np.isfinite(level)]) for whole in severity.values() for level in whole})
    for (upper, lower), (name, title) in zip(axes.T, PANELS, strict=True):
        draw_hours(upper, {method: 100 * values for method, values in stored_stream(runs, name).items()})
        upper.set_title(title)
        for level in levels:  # one, unless the runs drift differently
            edges = np.arange(len(level) + 1) + 0.5
            lower.stairs(level, edges, baseline=None, color="0.35", linewidth=1.0)
        lower.set_xlim(0.5, max(map(len, levels)) + 0.5)
        lower.set_xlabel("hour of the stream")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("accuracy [%]")
    axes[1, 0].set_ylabel("severity")
    axes[1, 0].set_ylim(bottom=0)
    axes[1, 0].yaxis.set_major_locator(MaxNLocator(2, integer=True))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if any(len(values) > 1 for values in severity.values()):
        handles.append(axes[0, 0].fill([], [], color="0.7", linewidth=0)[0])
        labels.append("± 1 s.d.")
    legend_above(figure, handles, labels)
    return figure


def stored_stream(runs: Sequence[Run], name: str) -> dict[str, Array]:
    """Return a column of the history from the first hour on, of the runs with a drift.

    Args:
        runs: As from `figures.reading.load_runs`.
        name: Of the column.

    Returns:
        By method [seed, hour].
    """
    found: dict[str, list[Array]] = {}
    for run in runs:
        severity, values = run.array(HISTORY, "severity"), run.array(HISTORY, name)
        if severity is not None and values is not None and (severity > 0).any():
            found.setdefault(run.method, []).append(values[severity > 0])
    return {method: stacked(arrays) for method, arrays in found.items()}
