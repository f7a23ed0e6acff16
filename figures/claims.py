"""Verdicts as a forest plot: the effect of each comparison with its interval, one panel for each unit.

Right when each interval ends where the file says, and one that leaves the panel ends in an arrow
(`tests/figures/test_claims.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.factors import factor_ticks
from figures.reading import Run
from figures.style import VERDICTS, sizes

VERDICT_TABLE = "claims/verdicts"
# Unit of the file to the label of its panel, from top to bottom. Relative effects are drawn as factors.
PANELS = {
    "%": "factor, GCSAM over what it is compared with",
    "percentage points": "difference [percentage points]",
    "rank correlation": "rank correlation",
}
ROW = 1.55  # height in lines of small text


@dataclass(frozen=True)
class Row:
    """One comparison: what is compared, its effect in the unit of its panel with an interval, and the verdict."""

    label: str
    effect: float
    low: float
    high: float
    verdict: str


def rows_of(study: Run) -> dict[str, list[Row]]:
    """Return the comparisons with a finite effect and interval, by unit, in the order of the panels.

    Args:
        study: The study's file.
    """
    names = ("number", "quantity", "comparison", "effect", "interval_low", "interval_high", "unit", "verdict")
    columns = [study.array(VERDICT_TABLE, name) for name in names]
    if any(column is None for column in columns):
        return {}
    found: dict[str, list[Row]] = {unit: [] for unit in PANELS}
    for number, quantity, comparison, *numbers, unit, verdict in zip(*columns, strict=True):
        effect, low, high = (float(value) for value in numbers)
        if str(unit) in found and np.isfinite([effect, low, high]).all() and high > low:
            found[str(unit)].append(Row(f"{number}  {quantity}: {comparison}", effect, low, high, str(verdict)))
    return {unit: rows for unit, rows in found.items() if rows}


def draw_verdicts(ax: Axes, rows: Sequence[Row], unit: str) -> None:
    """Draw effects with intervals against the line of no effect; the numbers stand at the right.

    Args:
        ax: Where.
        rows: From top to bottom.
        unit: One of `PANELS`.
    """
    is_factor = unit == "%"
    ticks = factor_ticks(1 + row.effect / 100 for row in rows) if is_factor else ()
    ends = (ticks[0], ticks[-1]) if is_factor else _ends(rows, unit)
    for place, row in enumerate(rows):
        look = VERDICTS[row.verdict]
        low, effect, high = (1 + v / 100 if is_factor else v for v in (row.low, row.effect, row.high))
        shown = np.clip([low, high], *ends)
        ax.plot(shown, [place, place], color=look.color, linewidth=1.4)
        for end, is_beyond, marker in ((ends[0], low < ends[0], "<"), (ends[1], high > ends[1], ">")):
            if is_beyond:
                ax.plot(end, place, marker=marker, color=look.color, markersize=3.5, clip_on=False)
        if ends[0] <= effect <= ends[1]:
            ax.plot(effect, place, marker=look.marker, color=look.color, markersize=4)
        form = "+.0f" if is_factor else "+.2f"
        numbers = [f"{round(value, 2) + 0.0:{form}}" for value in (row.effect, row.low, row.high)]  # no -0.00
        text = "{} [{}, {}]".format(*numbers) + (" %" if is_factor else "")
        where = (1.02, place)
        ax.annotate(
            text, where, xycoords=("axes fraction", "data"), va="center", fontsize=sizes().small, annotation_clip=False
        )
    if is_factor:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.axvline(1 if is_factor else 0, color="0.5", linewidth=0.7, zorder=0)
    ax.set_xlim(*ends)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=sizes().small)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(PANELS[unit])


def figure_verdicts(study: Run) -> Figure | None:
    """Return the verdicts of a study, or None if its file holds none with an effect.

    Args:
        study: The study's file.
    """
    panels = rows_of(study)
    if not panels:
        return None
    line = sizes().small / 72  # inches
    heights = [line * (ROW * len(rows) + 4.6) for rows in panels.values()]
    figure = Figure(figsize=(sizes().wide, sum(heights) + 3 * line))
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (unit, rows) in zip(axes, panels.items(), strict=True):
        draw_verdicts(ax, rows, unit)
    for look in VERDICTS.values():
        axes[0].plot([], [], marker=look.marker, color=look.color, label=look.label)
    figure.legend(loc="outside upper center", ncols=len(VERDICTS))
    return figure


def _ends(rows: Sequence[Row], unit: str) -> tuple[float, float]:
    if unit == "rank correlation":
        return -1.0, 1.0
    reach = 1.1 * max(max(abs(row.low), abs(row.high)) for row in rows)
    return -reach, reach
