"""What a probe saw during training: largest eigenvalue, trace, gradient noise and sharpness over the steps, by method.

One column per method, rows on one axis. A single run is drawn with bands of two standard errors; of several seeds each
is a thin line, and the bold one is their mean at the steps that all have. Right when the artists hold the numbers of
the records (`tests/figures/test_evolution.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.curves import Curve, draw_curves, is_log, log_floor
from figures.reading import Array, Run
from figures.style import KINDS, Look, in_order, look, readable_log_ticks, sizes
from figures.wrap import grid_shape, hide_empty, legend_columns, share_rows

PROBE = "training/probe"
ROW_HEIGHT = 1.35  # inches
OPEN = r"$\|G\|^2$ not told from 0"


@dataclass(frozen=True)
class Panel:
    """A row of the figure: what is drawn in it.

    Attributes:
        label: Of the vertical axis.
        columns: Variable of the record, and how it is drawn; None draws it as the method.
        status: Variable that tells where the network had diverged.
    """

    label: str
    columns: tuple[tuple[str, Look | None], ...]
    status: str


PANELS = (
    Panel("largest Hessian\n" + r"eigenvalue $\lambda_1$", (("lambda_max", None),), "lambda_max_status"),
    Panel("trace of\nthe Hessian", (("trace", None),), "trace_status"),
    Panel(
        r"relative noise" + "\n" + r"$\mathrm{tr}\,\Sigma\,/\,\|G\|^2$ [samples]",
        tuple((f"{kind}/noise_scale", style) for kind, style in KINDS.items()),
        "noise_status",
    ),
    Panel("sharpness\n(one step) [loss]", (("sharpness", None),), "sharpness_status"),
)
THRESHOLDS = (
    ("threshold", Look(r"$2\,/\,\mathrm{lr}$", "0.35", "", "--")),
    ("threshold_with_momentum", Look("with momentum", "0.35", "", ":")),
)


def stored_curve(run: Run, name: str, status: str, style: Look) -> Curve:
    """Return one quantity of a run's record over its steps.

    A ratio whose standard error reaches its value is open-ended, and NaN here as where it is infinite.

    Args:
        run: That holds a record.
        name: Of the variable.
        status: Of the variable that tells how the measurements ended.
        style: How it is drawn.
    """
    steps, value = _array(run, "step"), _array(run, name)
    group, _, field = name.rpartition("/")
    error = run.array(PROBE, f"{group}/{field}_standard_error" if group else f"{field}_standard_error")
    error = np.full(len(steps), np.nan) if error is None else error
    diverged = _array(run, status) == "NOT_FINITE"
    if field == "noise_scale":
        value = np.where(_is_open(value, error), np.nan, value)
    return Curve(style, steps, np.where(np.isfinite(value), value, np.nan), error, diverged)


def open_steps(run: Run, name: str) -> Array:
    """Return the steps at which a noise scale is open-ended: the signal is not above 0, or within its error of it.

    Args:
        run: That holds a record.
        name: Of the variable.
    """
    value, error = _array(run, name), _array(run, f"{name}_standard_error")
    return _array(run, "step")[_is_open(value, error)]


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean over seeds at the steps that all have, NaN where one of them is; its error is theirs combined.

    Args:
        curves: Of one quantity, one per seed.
    """
    common = curves[0].t
    for curve in curves[1:]:
        common = np.intersect1d(common, curve.t)
    places = [np.searchsorted(curve.t, common) for curve in curves]
    values = np.array([curve.value[place] for curve, place in zip(curves, places, strict=True)])
    errors = np.array([curve.error[place] for curve, place in zip(curves, places, strict=True)])
    error = np.sqrt(np.square(errors).sum(0)) / len(curves)
    return Curve(curves[0].look, common, values.mean(0), error, np.zeros(len(common), dtype=bool))


def draw_quantity(ax: Axes, seeds: Sequence[Sequence[Curve]], floor: float | None = None) -> None:
    """Draw the curves of one panel.

    Args:
        ax: Where.
        seeds: For each quantity in it the curves of all seeds.
        floor: Where bands are cut on a logarithmic axis; None is a linear axis.
    """
    for curves in seeds:
        if len(curves) > 1:
            for curve in curves:
                ax.plot(curve.t, curve.value, color=curve.look.color, linewidth=0.5, alpha=0.5)
    bold = [curves[0] if len(curves) == 1 else _with_divergence(mean_curve(curves), curves) for curves in seeds]
    draw_curves(ax, bold, log=floor is not None, floor=floor)


def draw_thresholds(ax: Axes, run: Run) -> None:
    """Draw the edge of stability, without momentum and, where that is another one, with it.

    Args:
        ax: Where the eigenvalue is drawn.
        run: Whose learning rate.
    """
    steps, plain = _array(run, "step"), _array(run, "threshold")
    for name, style in THRESHOLDS:
        values = _array(run, name)
        if np.isfinite(values).any() and (name == "threshold" or not np.array_equal(values, plain, equal_nan=True)):
            ax.plot(steps, values, color=style.color, linestyle=style.line, linewidth=0.9, label=style.label, zorder=1)


def figure_evolution(runs: Sequence[Run]) -> Figure | None:
    """Return what probes saw during training, or None if no run holds two measurements.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    holding = [run for run in runs if (steps := run.array(PROBE, "step")) is not None and len(steps) > 1]
    methods = in_order([run.method for run in holding])
    by_method = [[run for run in holding if run.method == method] for method in methods]
    shown = [panel for panel in PANELS if any(np.isfinite(_array(run, panel.columns[0][0])).any() for run in holding)]
    if not shown:
        return None
    wide = len(methods) > 1
    down, across = grid_shape(len(methods))
    height = ROW_HEIGHT * len(shown) * down + 0.5 * (down - 1) + 0.8
    figure = Figure(figsize=(sizes().wide if wide else sizes().narrow, height))
    axes = figure.subplots(down * len(shown), across, squeeze=False, sharex=True)
    blocks = list(axes.reshape(down, len(shown), across))  # of methods side by side
    share_rows(blocks)
    columns = [column for block in blocks for column in block.T]  # one for each method, from above
    for row, panel in enumerate(shown):
        _draw_row([column[row] for column in columns[: len(methods)]], panel, methods, by_method)
        for block in blocks:
            block[row, 0].set_ylabel(panel.label)
    hide_empty(blocks)
    for method, column in zip(methods, columns, strict=False):
        column[0].set_title(look(method).label)
        column[-1].set_xlabel("step")
        column[-1].tick_params(labelbottom=True)
    _scale_steps(axes[-1, 0], holding)
    entries: dict[str, Any] = {}
    for ax in axes.ravel():
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    for method in methods:
        entries.pop(look(method).label, None)  # the title of the column says it
    in_line = min(4, legend_columns(list(entries), sizes().wide)) if wide else 2
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=in_line)
    return figure


def _draw_row(axes: Sequence[Axes], panel: Panel, methods: Sequence[str], by_method: Sequence[Sequence[Run]]) -> None:
    table = []
    for method, runs in zip(methods, by_method, strict=True):
        looks = [(name, replace(look(method), line="-") if style is None else style) for name, style in panel.columns]
        table.append([[stored_curve(run, name, panel.status, style) for run in runs] for name, style in looks])
    everything = [curve for column in table for curves in column for curve in curves]
    log = is_log(everything)
    for ax, runs, seeds in zip(axes, by_method, table, strict=True):
        draw_quantity(ax, seeds, log_floor(everything) if log else None)
        for name, _ in panel.columns:
            if name.endswith("noise_scale"):
                _mark_open(ax, [open_steps(run, name) for run in runs])
        if panel is PANELS[0]:
            draw_thresholds(ax, runs[0])
    if panel is PANELS[0]:
        _frame_eigenvalues(axes[0], everything, by_method, log=log)


def _frame_eigenvalues(ax: Axes, curves: Sequence[Curve], by_method: Sequence[Sequence[Run]], *, log: bool) -> None:
    """Fit the axis to the eigenvalues and the lowest threshold, which grows without end as the learning rate falls."""
    values = np.concatenate([curve.value for curve in curves])
    thresholds = np.concatenate([_array(run, "threshold") for runs in by_method for run in runs])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if np.isfinite(thresholds).any():
        high = max(high, float(np.nanmin(thresholds)))
    base = min(low, 0.0)
    ax.set_ylim(*((low / 1.5, high * 2) if log else (base, high + 0.15 * (high - base))))
    if log:
        readable_log_ticks(ax.yaxis)


def _mark_open(ax: Axes, steps: Sequence[Array]) -> None:
    places = np.unique(np.concatenate(list(steps)))
    if len(places):
        ax.plot(
            places,
            np.full(len(places), 0.97),
            transform=ax.get_xaxis_transform(),  # steps along the axis, 1 is the top edge
            linestyle="",
            marker=r"$\infty$",
            markersize=5,
            color="0.3",
            label=OPEN,
        )


def _scale_steps(ax: Axes, runs: Sequence[Run]) -> None:
    """Spread the steps evenly where they were measured so; those of a logarithmic schedule begin at 0."""
    if all(str(run.array(PROBE, "schedule")).startswith("log:") for run in runs):
        ax.set_xscale("symlog", linthresh=1)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _with_divergence(mean: Curve, curves: Sequence[Curve]) -> Curve:
    gone = np.unique(np.concatenate([curve.t[curve.diverged] for curve in curves]))
    return replace(mean, diverged=np.isin(mean.t, gone))


def _is_open(value: Array, error: Array) -> Array:
    return np.asarray(np.isinf(value) | (error >= value))


def _array(run: Run, name: str) -> Array:
    array = run.array(PROBE, name)
    assert array is not None, name  # every record has every variable
    return array
