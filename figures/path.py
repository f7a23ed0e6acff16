"""Paths between two networks: the loss from one end to the other, the chord between the ends, and the barrier above it.

The chord is what the loss would be if it were linear in between; the barrier is the largest height above it. Right when
the mark stands on the chord at the stored place and is as high as the stored barrier (`tests/figures/test_path.py`).
Cost: about a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.curves import NUM_ERRORS, Curve, draw_curves, is_log, stored_curves
from figures.panels import LINE, Column, Scale, in_rows, panel_grid
from figures.reading import Run
from figures.style import Look, in_order, look, sizes
from figures.wrap import MANY

# Dark for the split the loss is measured on, light for the next: the two of a path are seen to belong together.
KINDS = {
    "LinearPath": (Look("linear", "#0072B2", "", "-"), Look("linear", "#56B4E9", "", "--")),
    "BezierPath": (Look("Bezier", "#D55E00", "", "-"), Look("Bezier", "#E69F00", "", "--")),
}
# Two paths have the same ends where their losses there are the same; the last digits depend on the batches.
SAME_END = 1e-5


@dataclass(frozen=True)
class Barrier:
    """Height above the chord at its highest place, with the standard error (NaN: none is stored)."""

    look: Look
    value: float
    error: float
    at: float
    chord: tuple[float, float]


def stored_barrier(run: Run, key: str) -> Barrier | None:
    """Return the barrier of a path, or None where it is not known yet.

    Args:
        run: The result file.
        key: "surface/name".
    """
    names = ("barrier", "barrier_error", "barrier_at", "start_loss", "end_loss")
    numbers = [run.array(key, name) for name in names]
    if any(number is None for number in numbers):
        return None
    value, error, at, start, end = (float(number) for number in numbers if number is not None)
    if not np.isfinite([value, at, start, end]).all():
        return None
    return Barrier(KINDS[run.measurements[key].type][0], value, error, at, (start, end))


def draw_path(
    ax: Axes, curves: Sequence[Curve], barriers: Sequence[Barrier] = (), *, scale: Scale | None = None
) -> None:
    """Draw one quantity from the start of a path at 0 to its end at 1, or beyond, with the barriers of the loss.

    Args:
        ax: Where.
        curves: Of one quantity.
        barriers: None for other quantities than the loss.
        scale: Of the vertical axis; None decides by the data.
    """
    t = np.linspace(0, 1, 101)  # on a logarithmic axis a chord is curved
    for low, high in dict.fromkeys(barrier.chord for barrier in barriers):
        ax.plot(t, low + (high - low) * t, color="0.4", linestyle=":", linewidth=0.8, label="chord")
    log, floor = scale or (is_log(curves), None)
    draw_curves(ax, curves, log=log, floor=floor)
    for line, barrier in enumerate(reversed(barriers)):
        low, high = barrier.chord
        foot, color = low + (high - low) * barrier.at, barrier.look.color
        ax.plot([barrier.at] * 2, [foot, foot + barrier.value], color=color, marker="_", markersize=5, linewidth=0.9)
        error = f" ± {NUM_ERRORS * barrier.error:.2g}" if np.isfinite(barrier.error) else ""
        ax.annotate(  # above the panel: inside it there may be no room that no curve needs
            f"barrier {barrier.value:.3g}{error}",
            (0.5, 1),
            xycoords="axes fraction",
            xytext=(0, 3 + line * LINE * sizes().small),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=color,
            fontsize=sizes().small,
        )
    places = np.concatenate([[0.0, 1.0], *(curve.t for curve in curves)])
    ax.set_xlim(places.min(), places.max())
    for end in (0, 1):
        ax.axvline(end, color="0.8", linewidth=0.6, zorder=0)  # at the edge of the panel, or within


def figure_paths(runs: Sequence[Run]) -> Figure | None:
    """Return the paths of every method's first seed that holds some; those with the same two ends share a panel.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found: dict[str, list[Column]] = {}
    for run in runs:
        if run.method not in found:
            columns = [_column(run, keys, len(runs) > 1) for keys in _same_ends(run)]
            found |= {run.method: columns} if columns else {}
    columns = [column for method in in_order(list(found)) for column in found[method]]
    if not columns:
        return None
    is_shared = len(found) >= MANY  # of many methods the scale is read once
    rows = [columns] if is_shared else in_rows(columns)
    return panel_grid(rows, "from start\u00a0(0) to end\u00a0(1)", is_shared=is_shared)


def _column(run: Run, keys: Sequence[str], is_named: bool) -> Column:
    panels: dict[str, list[Curve]] = {}
    for key in keys:
        for quantity, curves in stored_curves(run, key, KINDS[run.measurements[key].type]).items():
            panels.setdefault(quantity, []).extend(curves)
    barriers = [barrier for key in keys if (barrier := stored_barrier(run, key)) is not None]

    def draw(ax: Axes, quantity: str, curves: Sequence[Curve], scale: Scale | None) -> None:
        draw_path(ax, curves, barriers if quantity == "loss" else (), scale=scale)

    name = ", ".join(key.partition("/")[2] for key in keys)
    return Column(f"{look(run.method).label}: {name}" if is_named else name, panels, draw)


def _same_ends(run: Run) -> list[list[str]]:
    """Return the keys of paths in groups, at most one of each kind in a group, the straight ones first."""
    groups: list[list[str]] = []
    for key in (key for kind in KINDS for key in run.of_type(kind)):
        ends = _ends(run, key)
        for group in groups:
            is_same = np.allclose(ends, _ends(run, group[0]), rtol=SAME_END, atol=0)
            if is_same and all(run.measurements[key].type != run.measurements[beside].type for beside in group):
                group.append(key)
                break
        else:
            groups.append([key])
    return groups


def _ends(run: Run, key: str) -> list[float]:
    found = (run.array(key, name) for name in ("start_loss", "end_loss"))
    return [np.nan if loss is None else float(loss) for loss in found]  # NaN is like nothing
