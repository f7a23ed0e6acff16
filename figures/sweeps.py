"""Test accuracy over the values of one setting, by method: what the sweeps of a study came to.

A panel for each swept setting; the line is the mean over seeds, the band reaches from the worst to the best seed. A
seed whose training diverged leaves a gap in the line and a cross at the foot, because a mean over the others would
flatter the method. Right when the lines hold the means of the file (`tests/figures/test_sweeps.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.reading import Array, Run
from figures.style import in_order, look, sizes

DIVERGED = "a seed diverged"


@dataclass(frozen=True)
class Panel:
    """One swept setting: where it is stored, the label of its axis, and whether that is logarithmic."""

    key: str
    label: str
    is_log: bool


PANELS = (
    Panel("training/sweep_lr", "learning rate", is_log=True),
    Panel("training/sweep_rho", r"radius of the ascent $\rho$", is_log=True),
    Panel("training/sweep_label_noise", "share of wrong training labels [%]", is_log=False),
)


def draw_sweep(ax: Axes, values: Array, accuracy: Array, methods: Sequence[str]) -> None:
    """Draw accuracies over a setting in percent.

    Args:
        ax: Where; its scale is set by the caller.
        values: Of the setting [value].
        accuracy: Fractions [method, seed, value]; NaN where a run diverged.
        methods: Names [method].
    """
    for method in in_order(list(methods)):
        style, curves = look(method), 100 * accuracy[methods.index(method)]
        if not np.isfinite(curves).any():
            continue
        ax.fill_between(values, curves.min(0), curves.max(0), color=style.color, alpha=0.15, linewidth=0)
        ax.plot(values, curves.mean(0), color=style.color, linestyle=style.line, marker=style.marker, label=style.label)
        lost = ~np.isfinite(curves).all(0)
        if lost.any():  # where it would stand is not known: a mark at the foot of the panel
            feet = np.zeros(int(lost.sum()))
            ax.plot(
                values[lost], feet, "x", color=style.color, transform=ax.get_xaxis_transform(), clip_on=False, zorder=3
            )


def figure_sweeps(study: Run) -> Figure | None:
    """Return the sweeps of a study, or None if its file holds none.

    Args:
        study: The study's file.
    """
    panels = [panel for panel in PANELS if study.array(panel.key, "test_accuracy") is not None]
    if not panels:
        return None
    width = sizes().narrow if len(panels) == 1 else sizes().wide
    figure = Figure(figsize=(width, 2.6))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        values, accuracy, methods = (study.array(panel.key, name) for name in ("value", "test_accuracy", "method"))
        assert values is not None
        assert accuracy is not None
        assert methods is not None
        if panel.is_log:
            ax.set_xscale("log")
        shown = values if panel.is_log else 100 * values
        draw_sweep(ax, shown, accuracy, [str(name) for name in methods])
        ax.xaxis.set_major_locator(FixedLocator(shown.tolist()))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel(panel.label)
    axes[0].set_ylabel("test accuracy [%]")
    known = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    drawn = [label for label in _labels(study, panels) if label in known]
    if any(line.get_marker() == "x" for ax in axes for line in ax.lines):
        (known[DIVERGED],) = axes[0].plot([], [], "x", color="0.35")
        drawn.append(DIVERGED)
    columns = min(len(drawn), 6 if len(panels) > 1 else 3)
    figure.legend([known[label] for label in drawn], drawn, loc="outside upper center", ncols=columns)
    return figure


def _labels(study: Run, panels: Sequence[Panel]) -> list[str]:
    """Return the labels of all methods of some panels, in the order in which methods are always named."""
    methods = [str(name) for panel in panels for name in study.measurements[panel.key].variables["method"].data]
    return [look(method).label for method in in_order(methods)]
