"""Measures over several checkpoints: one panel for each, over epoch or step where the names of the files say so.

Bars are two standard errors, those of the largest eigenvalue its residual bound. Right when the artists hold the stored
numbers in the order of training (`tests/figures/test_checkpoints.py`). Cost: none.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from figures.curves import NUM_ERRORS, Curve, is_log, log_floor
from figures.reading import Array, Run
from figures.style import Look, readable_log_ticks, sizes

PLACE = "training/checkpoint"
# Words before a number in the name of a checkpoint, by unit; Hugging Face writes checkpoint-500 for step 500.
UNITS = {"epoch": r"epoch", "step": r"(?:step|iter|iteration|checkpoint)"}
MAX_NAMES = 12  # more do not fit below an axis
MAX_COLUMNS, MIN_WIDTH, ROW_HEIGHT = 4, 1.7, 1.5  # inches
LETTERS_PER_INCH = 15  # of 8 pt


@dataclass(frozen=True)
class Panel:
    """One measure.

    Attributes:
        label: Above the panel.
        keys: Measurements that hold it, the first that is there is drawn.
        value: Its variable; the first entry where it is an array.
        error: Of its uncertainty; empty for none.
        num_errors: Of these on either side.
    """

    label: str
    keys: tuple[str, ...]
    value: str = "value"
    error: str = "standard_error"
    num_errors: int = NUM_ERRORS


SHARPNESS = tuple(f"sharpness/{kind}{scale}" for kind in ("worst", "average") for scale in ("", "_adaptive"))
PANELS = (
    Panel("loss", SHARPNESS, "base_loss", ""),
    Panel(r"largest eigenvalue $\lambda_1$", ("curvature/eigenvalues",), "values", "residuals", 1),
    Panel("trace of the Hessian", ("curvature/trace",)),
    Panel("sharpness, worst case", ("sharpness/worst",)),
    Panel("sharpness, average", ("sharpness/average",)),
    Panel("worst case, adaptive", ("sharpness/worst_adaptive",)),
    Panel("average, adaptive", ("sharpness/average_adaptive",)),
)
STYLE = Look("", "#0072B2", "o", "-")


def in_order(runs: Sequence[Run]) -> tuple[str, Array, list[Run]]:
    """Return checkpoints in the order of training, where they stand, and in which unit.

    Args:
        runs: A result file for each.

    Returns:
        "epoch" or "step" with the numbers in the names, where each name has one and no two are equal; otherwise
        "checkpoint" with places from 1, in the order in which they were measured.
    """
    for unit, words in UNITS.items():
        found = [re.search(rf"(?:^|[^a-z]){words}[-_=. ]?(\d+)", run.path.stem, re.IGNORECASE) for run in runs]
        numbers = [int(match[1]) for match in found if match is not None]
        if len(set(numbers)) == len(runs):
            order = np.argsort(numbers)
            return unit, np.sort(np.array(numbers, dtype=float)), [runs[i] for i in order]
    places = [run.array(PLACE, "position") for run in runs]
    order = np.argsort([math.inf if place is None else float(place) for place in places], kind="stable")
    return "checkpoint", np.arange(1.0, len(runs) + 1), [runs[i] for i in order]


def panel_curve(runs: Sequence[Run], places: Array, panel: Panel) -> Curve:
    """Return one measure over the checkpoints; NaN where it was not measured.

    Args:
        runs: In order.
        places: Of each, [T].
        panel: Which measure. The curve's error is `num_errors` times the stored one, NaN for none.
    """
    value, error = np.full(len(runs), np.nan), np.full(len(runs), np.nan)
    for i, run in enumerate(runs):
        key = next((key for key in panel.keys if run.array(key, panel.value) is not None), None)
        if key is not None:
            value[i] = np.ravel(_array(run, key, panel.value))[0]
            if panel.error and run.array(key, panel.error) is not None:
                error[i] = panel.num_errors * np.ravel(_array(run, key, panel.error))[0]
    is_finite = np.isfinite(value)
    return Curve(STYLE, places, np.where(is_finite, value, np.nan), error, np.zeros(len(runs), dtype=bool))


def draw_panel(ax: Axes, curve: Curve) -> None:
    """Draw one measure: a point for each checkpoint, its bar, and a line through them.

    Args:
        ax: Where.
        curve: As from `panel_curve`. On a logarithmic axis bars are cut at half the smallest value.
    """
    low, high = curve.value - curve.error, curve.value + curve.error
    if is_log([curve]):
        ax.set_yscale("log")
        low = np.maximum(low, log_floor([curve]))
    is_barred = np.isfinite(low)
    style = curve.look
    ax.plot(curve.t, curve.value, color=style.color, linestyle=style.line, marker=style.marker, markersize=2.5)
    ax.vlines(curve.t[is_barred], low[is_barred], high[is_barred], color=style.color, linewidth=0.8)
    if is_log([curve]):
        readable_log_ticks(ax.yaxis)
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 2.5, 5, 10)))
        if np.nanmin(curve.value) >= 0:
            ax.set_ylim(bottom=0)


def figure_checkpoints(runs: Sequence[Run]) -> Figure | None:
    """Return the measures over checkpoints, or None for fewer than two, or where none was measured.

    Args:
        runs: A result file for each checkpoint.
    """
    if len(runs) < 2:
        return None
    unit, places, ordered = in_order(runs)
    curves = {panel: panel_curve(ordered, places, panel) for panel in PANELS}
    shown = {panel: curve for panel, curve in curves.items() if np.isfinite(curve.value).any()}
    if not shown:
        return None
    rows = -(-len(shown) // min(MAX_COLUMNS, int(sizes().wide / MIN_WIDTH)))
    columns = -(-len(shown) // rows)  # 5 as 3 and 2, not as 4 and 1
    width = sizes().wide if len(shown) > 1 else sizes().narrow
    label = unit
    if unit == "checkpoint" and len(runs) <= MAX_NAMES:
        names = ", ".join(f"{place}: {run.path.stem}" for place, run in enumerate(ordered, start=1))
        label = "\n".join([unit, *textwrap.wrap(names, int(width * LETTERS_PER_INCH))])
    height = rows * ROW_HEIGHT + 0.4 + 0.15 * label.count("\n")
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (panel, curve) in zip(axes, shown.items(), strict=False):
        draw_panel(ax, curve)
        ax.set_title(panel.label)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    figure.supxlabel(label, fontsize=sizes().text)
    _explain_bars(figure, shown)
    return figure


def _explain_bars(figure: Figure, shown: Mapping[Panel, Curve]) -> None:
    """Say below the panels what bars are, where there are any."""
    barred = {panel for panel, curve in shown.items() if np.isfinite(curve.error).any()}
    told = [f"± {NUM_ERRORS} standard errors"] if any(panel.num_errors == NUM_ERRORS for panel in barred) else []
    told += [r"of $\lambda_1$: its residual bound"] if any(panel.num_errors == 1 for panel in barred) else []
    if told:
        bar = Line2D([], [], color=STYLE.color, linestyle="", marker="|", markersize=7, label="; ".join(told))
        figure.legend(handles=[bar], loc="outside upper right")


def _array(run: Run, key: str, name: str) -> Array:
    array = run.array(key, name)
    assert array is not None, (key, name)  # the caller has looked
    return array
