"""Verdicts: the effect of each comparison with its interval, relative to the half-width of that interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Run
from figures.style import DOUBLE_COLUMN, VERDICTS

VERDICT_TABLE = "claims/verdicts"
REACH = 3.0  # in half-widths: an effect three times its uncertainty is beyond doubt, how far does not matter here


@dataclass(frozen=True)
class Row:
    """One comparison: what is compared, its effect in `unit` with an interval, and the verdict."""

    number: int
    label: str
    effect: float
    low: float
    high: float
    unit: str
    verdict: str


def draw_verdicts(ax: Axes, rows: Sequence[Row]) -> None:
    """Draw effects with intervals, each scaled by its own half-width, so that all units share one axis.

    An interval that crosses the line at 0 leaves the sign open. The numbers stand at the right.

    Args:
        ax: Where.
        rows: From top to bottom; those without a finite effect are left out.
    """
    drawn = [row for row in rows if np.isfinite([row.effect, row.low, row.high]).all() and row.high > row.low]
    for place, row in enumerate(drawn):
        half = (row.high - row.low) / 2
        low, effect, high = (float(np.clip(value / half, -REACH, REACH)) for value in (row.low, row.effect, row.high))
        look = VERDICTS[row.verdict]
        ax.plot([low, high], [place, place], color=look.color, linewidth=1.4)
        ax.plot(effect, place, marker=look.marker, color=look.color, markersize=4)
        text = f"{row.effect:+.3g} [{row.low:+.3g}, {row.high:+.3g}] {row.unit}"
        ax.annotate(
            text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=6.5, annotation_clip=False
        )
    ax.axvline(0, color="0.5", linewidth=0.7, zorder=0)
    ax.set_yticks(range(len(drawn)), [f"{row.number}. {row.label}" for row in drawn], fontsize=6.5)
    ax.set_xlim(-REACH - 0.2, REACH + 0.2)
    ax.set_ylim(len(drawn) - 0.4, -0.6)
    ax.set_xlabel("effect, in half-widths of its 95% interval")
    for look in VERDICTS.values():
        ax.plot([], [], marker=look.marker, color=look.color, label=look.label)


def figure_verdicts(study: Run) -> Figure | None:
    """Return the verdicts of a study, or None if its file holds none with an effect.

    Args:
        study: The study's file.
    """
    names = ("number", "quantity", "comparison", "effect", "interval_low", "interval_high", "unit", "verdict")
    columns = [study.array(VERDICT_TABLE, name) for name in names]
    if any(column is None for column in columns):
        return None
    rows = [
        Row(int(number), f"{quantity}: {comparison}", float(effect), float(low), float(high), str(unit), str(verdict))
        for number, quantity, comparison, effect, low, high, unit, verdict in zip(*columns, strict=True)
    ]
    count = sum(bool(np.isfinite([row.effect, row.low, row.high]).all()) for row in rows)
    if count == 0:
        return None
    figure = Figure(figsize=(DOUBLE_COLUMN, 0.9 + 0.2 * count))
    ax = figure.subplots()
    draw_verdicts(ax, rows)
    figure.legend(loc="outside upper center", ncols=len(VERDICTS))
    return figure
