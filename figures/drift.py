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

from figures.reading import Array, Run, by_method, stacked
from figures.style import in_order, look, sizes

HISTORY = "training/history"
PANELS = (
    ("online_accuracy", "online accuracy [%]", "each batch before it is trained on"),
    ("current_accuracy", "accuracy now [%]", "validation images, after the hour"),
)


def draw_hours(ax: Axes, curves: Mapping[str, Array]) -> None:
    """Draw the mean of each method over its seeds, with a band of one standard deviation where there are several.

    Args:
        ax: Where.
        curves: Method to numbers [seed, epoch]; epochs at which no seed has one are left out.
    """
    for method in in_order(list(curves)):
        style, values = look(method), np.asarray(curves[method], dtype=float)
        epochs = 1 + np.flatnonzero(np.isfinite(values).all(0))
        values = values[:, epochs - 1]
        mean = values.mean(0)
        if len(values) > 1:
            spread = values.std(0, ddof=1)
            ax.fill_between(epochs, mean - spread, mean + spread, color=style.color, alpha=0.12, linewidth=0)
        ax.plot(
            epochs,
            mean,
            color=style.color,
            linestyle=style.line,
            marker=style.marker,
            markersize=3,
            label=style.label,
        )


def figure_drift(runs: Sequence[Run]) -> Figure | None:
    """Return the accuracies over a drift, or None if no run was trained on one.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    severity = by_method(runs, HISTORY, "severity")
    if not severity:
        return None
    figure = Figure(figsize=(sizes().wide, 3.1))
    axes = figure.subplots(2, len(PANELS), sharex=True, squeeze=False, height_ratios=(1, 0.28))
    for column, (name, label, title) in enumerate(PANELS):
        upper, lower = axes[:, column]
        draw_hours(upper, {m: 100 * stacked(arrays) for m, arrays in by_method(runs, HISTORY, name).items()})
        upper.set_ylabel(label)
        upper.set_title(title)
        levels = {tuple(array) for arrays in severity.values() for array in arrays}
        for level in sorted(levels):  # one, unless the runs drift differently
            lower.step(np.arange(1, len(level) + 1), level, where="mid", color="0.35", linewidth=1.0)
        lower.set_ylim(0, None)
        lower.set_ylabel("severity")
        lower.set_xlabel("epoch (hour of the stream)")
        begins = min(int(np.flatnonzero(np.array(level))[0]) + 1 for level in levels)
        upper.set_xlim(begins - 0.5, max(map(len, levels)) + 0.5)
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    several = any(len(arrays) > 1 for arrays in severity.values())
    if several:
        handles.append(axes[0, 0].fill([], [], color="0.7", linewidth=0)[0])
        labels.append("± 1 standard deviation over seeds")
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure
