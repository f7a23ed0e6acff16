"""Losses and metrics over one coordinate, as lines and paths draw them: bands, divergence, broken lines, scales.

Right when the band reaches two standard errors, a point that diverged stands at the top edge, and an unfinished point
is not drawn (`tests/figures/test_curves.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes

from figures.reading import Array, Run
from figures.style import Look, readable_log_ticks

NUM_ERRORS = 2  # standard errors on either side: about 95 % for an average over many samples
LOG_RATIO = 10  # a smaller range is as readable on a linear axis, whose distances need no thought


@dataclass(frozen=True)
class Curve:
    """One quantity over t: value, standard error and whether it was computed and is no finite number, [T] each."""

    look: Look
    t: Array
    value: Array
    error: Array
    diverged: Array


def stored_curves(run: Run, key: str, looks: Sequence[Look]) -> dict[str, list[Curve]]:
    """Return the curves of a line or path by panel: "loss" first, then each metric under its own name.

    "test/loss" is a loss too, "test/accuracy" the accuracy of another split: the splits of a quantity share its panel.

    Args:
        run: The result file.
        key: "surface/name".
        looks: One per split in the order met, first that of the loss itself; the name of a split joins their labels.
    """
    t, loss = run.array(key, "t"), run.array(key, "loss")
    if t is None or loss is None:
        return {}
    done = _or(run.array(key, "done"), np.ones(len(t), dtype=bool))
    names, values, errors = (run.array(key, name) for name in ("metric_names", "metrics", "metric_errors"))
    table = [("loss", loss, _or(run.array(key, "standard_error"), np.full(len(t), np.nan)))]
    if names is not None and values is not None:
        table += zip(map(str, names), values, _or(errors, np.full(values.shape, np.nan)), strict=True)
    diverged = {"": done & _or(run.array(key, "diverged"), ~np.isfinite(loss))}
    for name, value, _ in table[1:]:
        if name.endswith("/loss"):
            diverged[name.rpartition("/")[0]] = done & ~np.isfinite(value)
    drawn: dict[str, Look] = {}
    panels: dict[str, list[Curve]] = {}
    for name, value, error in table:
        split, _, quantity = name.rpartition("/")
        style = drawn.setdefault(split, looks[len(drawn) % len(looks)])
        style = replace(style, label=", ".join(part for part in (style.label, split) if part))
        # where the loss is no number the accuracy is one, of a network without an answer
        gone = diverged.get(split, diverged[""])
        shown = np.where(done & ~gone & np.isfinite(value), value, np.nan)
        panels.setdefault(quantity, []).append(Curve(style, t, shown, error, gone))
    return panels


def is_log(curves: Sequence[Curve]) -> bool:
    """Return whether a logarithmic axis suits: all values are positive and the largest is 10 times the smallest.

    Args:
        curves: All that share the axis.
    """
    values = np.concatenate([curve.value for curve in curves])
    values = values[np.isfinite(values)]
    return bool(len(values) and values.min() > 0 and values.max() > LOG_RATIO * values.min())


def log_floor(curves: Sequence[Curve]) -> float:
    """Return where bands are cut on a logarithmic axis: half the smallest value.

    Args:
        curves: All that share the axis, at least one finite value among them.
    """
    return 0.5 * min(float(np.nanmin(curve.value)) for curve in curves if np.isfinite(curve.value).any())


def draw_curves(ax: Axes, curves: Sequence[Curve], *, log: bool = False, floor: float | None = None) -> None:
    """Draw curves with bands of two standard errors; a gap is where a point is unfinished or diverged.

    Args:
        ax: Where.
        curves: What.
        log: Logarithmic vertical axis; what of a band lies below `floor` is cut there.
        floor: For panels that share an axis; None is half the smallest value.
    """
    if not log:
        floor = -np.inf
    elif floor is None:
        floor = log_floor(curves)
    has_band = False
    for curve in curves:
        color, is_there = curve.look.color, np.isfinite(curve.value)
        low, high = (curve.value + side * NUM_ERRORS * curve.error for side in (-1, 1))
        if np.isfinite(low).any():
            has_band = True
            kept = np.maximum(low, floor)
            band = ax.fill_between(curve.t, kept, high, color=color, alpha=0.2, linewidth=0, zorder=1.5)
            if (low < floor).any():  # the axis ends there, unless another panel on it needs more
                band.sticky_edges.y.append(floor)
        ax.plot(curve.t, curve.value, color=color, linestyle=curve.look.line, label=curve.look.label)
        alone = is_there & ~_has_neighbour(is_there)  # on no line
        if alone.any():
            ax.plot(curve.t[alone], curve.value[alone], color=color, linestyle="", marker=".")
    if has_band:
        ax.fill([], [], color="0.7", linewidth=0, label=f"± {NUM_ERRORS} standard errors")
    if log:
        ax.set_yscale("log")
        readable_log_ticks(ax.yaxis)
    _mark_diverged(ax, curves)


def _mark_diverged(ax: Axes, curves: Sequence[Curve]) -> None:
    places = np.unique(np.concatenate([curve.t[curve.diverged] for curve in curves]))
    if len(places):
        ax.plot(
            places,
            np.ones(len(places)),
            transform=ax.get_xaxis_transform(),  # t along the axis, 1 is the top edge
            linestyle="",
            marker="x",
            color="black",
            label="diverged",
            clip_on=False,
        )


def _has_neighbour(is_there: Array) -> Array:
    padded = np.concatenate([[False], is_there, [False]])
    return np.asarray(padded[:-2] | padded[2:])


def _or(array: Array | None, default: Array) -> Array:
    return default if array is None else array
