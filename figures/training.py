"""Training curves: loss, accuracy and q = ||Pg|| / ||g|| by epoch, a thin line per seed and a bold mean per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Array, Run, by_method, stacked
from figures.style import in_order, look, sizes
from figures.wrap import MANY, legend_above

HISTORY = "training/history"
PANELS = (
    ("train_loss", "training loss", 1.0),
    ("validation_accuracy", "validation accuracy [%]", 100.0),
    ("ascent_ratio_total", r"$q = \|Pg\|\,/\,\|g\|$", 1.0),
)


def draw_curves(ax: Axes, curves: Mapping[str, Array], label: str, *, log: bool = False) -> None:
    """Draw a quantity over epochs.

    Args:
        ax: Where.
        curves: Method to values [seed, epoch]; NaN leaves a gap.
        label: Of the vertical axis, with its unit.
        log: Logarithmic vertical axis.
    """
    width, alpha = (0.5, 0.5) if len(curves) < MANY else (0.3, 0.25)
    for method in in_order(list(curves)):
        style, values = look(method), np.asarray(curves[method], dtype=float)
        epochs = np.arange(1, values.shape[1] + 1)
        for row in values:
            ax.plot(epochs, row, color=style.color, linewidth=width, alpha=alpha)
        count = np.isfinite(values).sum(0)
        mean = np.where(count > 0, np.nansum(values, 0) / np.maximum(count, 1), np.nan)
        every = max(len(epochs) // 6, 1)
        ax.plot(
            epochs,
            mean,
            color=style.color,
            linestyle=style.line,
            marker=style.marker,
            markevery=every,
            label=style.label,
        )
    if log:
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel(label)


def figure_training(runs: Sequence[Run]) -> Figure | None:
    """Return the training curves of all runs, or None if no run holds any.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    panels: list[tuple[dict[str, Any], str, str]] = []
    for name, label, factor in PANELS:
        found = {method: factor * stacked(arrays) for method, arrays in by_method(runs, HISTORY, name).items()}
        if any(np.isfinite(values).any() for values in found.values()):
            panels.append((found, name, label))
    if not panels:
        return None
    figure = Figure(figsize=(sizes().wide, 2.3))
    axes = figure.subplots(1, len(panels), squeeze=False)
    for ax, (curves, name, label) in zip(axes[0], panels, strict=True):
        positive = all(np.nanmin(values) > 0 for values in curves.values() if np.isfinite(values).any())
        draw_curves(ax, curves, label, log=name == "train_loss" and positive)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend_above(figure, handles, labels)
    return figure
