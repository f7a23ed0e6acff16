"""Test accuracy over seeds: dots joined by seed, since runs are paired, with mean and 95 % interval per method.

Right when dots, means and intervals are those of the files (`tests/figures/test_panels.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from figures.reading import Run
from figures.style import in_order, look, sizes
from figures.wrap import MANY

SUMMARY = "training/summary"
FULL = 100.0  # percent


@dataclass(frozen=True)
class Interval:
    """Mean and 95 % interval, in percent; the ends are NaN for a single number.

    Attributes:
        mean: Over seeds.
        low: Lower end.
        high: Upper end.
        is_cut: Whether one of them stood below 0 or above 100.
    """

    mean: float
    low: float
    high: float
    is_cut: bool


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of accuracies and its t interval, cut at 0 and 100 %.

    A t interval knows of no bounds, and of few seeds near 100 % it passes that. No mean of accuracies lies beyond, so
    what is cut off never holds it: the interval covers it as often as before.

    Args:
        values: One per seed, in percent, at least one.

    Example:
        >>> found = mean_interval([98.0, 100.0])
        >>> round(found.low, 2), found.high, found.is_cut
        (86.29, 100.0, True)
    """
    found = np.asarray(values, dtype=float)
    mean, half = float(found.mean()), float("nan")
    if len(found) > 1:
        half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    low, high = mean - half, mean + half
    # NaN stays NaN
    return Interval(mean, low if not low < 0 else 0.0, high if not high > FULL else FULL, low < 0 or high > FULL)


def draw_accuracy(ax: Axes, accuracy: Mapping[str, Mapping[int, float]]) -> None:
    """Draw accuracies in percent.

    Args:
        ax: Where.
        accuracy: Method to seed to accuracy, a fraction.
    """
    methods = in_order(list(accuracy))
    seeds = sorted({seed for by_seed in accuracy.values() for seed in by_seed})
    shift = np.linspace(-0.12, 0.12, len(seeds)) if len(seeds) > 1 else np.zeros(1)
    for offset, seed in zip(shift, seeds, strict=True):
        paired = [100 * accuracy[method].get(seed, np.nan) for method in methods]
        ax.plot(np.arange(len(methods)) + offset, paired, color="0.8", linewidth=0.6, zorder=1)
    is_cut = False
    for place, method in enumerate(methods):
        style = look(method)
        values = np.array([100 * accuracy[method].get(seed, np.nan) for seed in seeds])
        ax.plot(place + shift, values, linestyle="", marker=style.marker, color=style.color, alpha=0.6, zorder=2)
        values = values[np.isfinite(values)]
        if len(values):
            found = mean_interval(values.tolist())
            is_cut = is_cut or found.is_cut
            ax.errorbar(
                place + 0.27,
                found.mean,
                [[found.mean - found.low], [found.high - found.mean]],
                fmt="_",
                color=style.color,
                markersize=8,
                markeredgewidth=1.6,
                capsize=2.5,
            )
    ax.set_xticks(range(len(methods)), [look(method).label for method in methods])
    if len(methods) >= MANY:
        ax.tick_params(axis="x", rotation=30)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.5, len(methods) - 0.3)
    ax.set_ylabel("test accuracy [%]")
    cut = ", cut at 0 and 100%" if is_cut else ""
    ax.set_xlabel(f"dots: seeds, joined where paired\nbars: mean and 95% interval{cut}", fontsize=sizes().small)


def figure_accuracy(runs: Sequence[Run]) -> Figure | None:
    """Return the accuracies of all runs, or None if fewer than two runs hold one.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    accuracy: dict[str, dict[int, float]] = {}
    for run in runs:
        value = run.array(SUMMARY, "test_accuracy")
        if value is not None and np.isfinite(value):
            accuracy.setdefault(run.method, {})[run.seed] = float(value)
    if sum(map(len, accuracy.values())) < 2:  # a single number needs no figure
        return None
    figure = Figure(figsize=(sizes().wide if len(accuracy) >= MANY else sizes().narrow, 2.5))
    ax = figure.subplots()
    draw_accuracy(ax, accuracy)
    return figure
