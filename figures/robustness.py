"""Accuracy on corrupted test images: over the severity, mean over the kinds, and by kind, mean over the severities.

Lines and dots are means over the seeds of a method; the band reaches from the lowest seed to the highest. Right when
they hold the means of the files (`tests/figures/test_robustness.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Array, Run
from figures.style import in_order, look, sizes
from figures.wrap import broken, legend_above

KEY = "training/robustness"
LABEL = 0.36  # of the width of the figure: of its right half, what the names of the kinds leave


@dataclass(frozen=True)
class Robustness:
    """What all runs of a study say.

    Args:
        kinds: Of corruption [kind].
        severity: From 0, the clean images [severity].
        accuracy: Method to percentages [seed, kind, severity].
    """

    kinds: tuple[str, ...]
    severity: Array
    accuracy: dict[str, Array]


def stored_robustness(runs: Sequence[Run]) -> Robustness | None:
    """Return the accuracies of the runs that were measured on the same corruptions as the first; None if none was.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    first = next((run for run in runs if run.array(KEY, "accuracy") is not None), None)
    if first is None:
        return None
    kinds, severity = first.array(KEY, "corruption"), first.array(KEY, "severity")
    assert kinds is not None
    assert severity is not None
    found: dict[str, list[Array]] = {}
    for run in runs:
        own, accuracy = run.array(KEY, "severity"), run.array(KEY, "accuracy")
        if accuracy is None or own is None:
            continue
        if np.array_equal(own, severity) and len(accuracy) == len(kinds):
            found.setdefault(run.method, []).append(100 * accuracy)
    ordered = {method: np.stack(found[method]) for method in in_order(list(found))}
    return Robustness(tuple(str(kind) for kind in kinds), severity, ordered)


def draw_severity(ax: Axes, found: Robustness) -> None:
    """Draw the accuracy of each method over the severity, mean over the kinds.

    Args:
        ax: Where.
        found: What is drawn.
    """
    for method, accuracy in found.accuracy.items():
        style, curves = look(method), accuracy.mean(1)
        if len(curves) > 1:
            ax.fill_between(found.severity, curves.min(0), curves.max(0), color=style.color, alpha=0.12, linewidth=0)
        (line,) = ax.plot(found.severity, curves.mean(0), color=style.color, linestyle=style.line, label=style.label)
        line.set(marker=style.marker, markersize=3)
    ax.set_xlabel("severity, 0: clean")
    ax.set_ylabel("test accuracy [%]")


def draw_kinds(ax: Axes, found: Robustness) -> None:
    """Draw the accuracy of each method by kind of corruption, mean over the severities above 0.

    Args:
        ax: Where.
        found: What is drawn.
    """
    shift = np.linspace(-0.22, 0.22, len(found.accuracy)) if len(found.accuracy) > 1 else [0.0]
    for offset, (method, accuracy) in zip(shift, found.accuracy.items(), strict=True):
        style, means = look(method), accuracy[:, :, 1:].mean((0, 2))
        ax.plot(means, np.arange(len(means)) + offset, color=style.color, marker=style.marker, linestyle="")
    ax.set_yticks(range(len(found.kinds)), [kind.replace("_", " ") for kind in found.kinds])
    ax.set_ylim(len(found.kinds) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(broken("test accuracy, mean over severities [%]", LABEL * sizes().wide))


def figure_robustness(runs: Sequence[Run]) -> Figure | None:
    """Return the accuracies under corruption, or None if no run was measured.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = stored_robustness(runs)
    if found is None:
        return None
    figure = Figure(figsize=(sizes().wide, 2.9))
    left, right = figure.subplots(1, 2)
    draw_severity(left, found)
    draw_kinds(right, found)
    handles, labels = left.get_legend_handles_labels()
    legend_above(figure, handles, labels)
    return figure
