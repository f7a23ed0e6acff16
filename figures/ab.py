"""A comparison of two methods: each criterion's effect with its interval against the bound, what is yes and no shaded.

A panel per criterion, each on its own axis, because each has a unit of its own. Right when the interval ends where the
file says, the side shaded as yes is the one that the criterion asks for, and an interval that leaves the panel ends in
an arrow (`tests/figures/test_ab.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Run
from figures.style import VERDICTS, sizes

AB = "claims/ab"
ANSWERS = {"yes": VERDICTS["supported"], "no": VERDICTS["contradicted"], "not yet": VERDICTS["inconclusive"]}
LABELS = {
    "percentage points": "{}, difference in percentage points",
    "%": "{}, change in % of the baseline",
    "": "{}, difference",
}
SHADE = 0.13  # opacity: the interval is what is looked at
PANEL = 8.5  # height in lines of small text
# Of the bound and the estimate, how far an axis reaches beyond them; a wild interval of few seeds would hide both.
REACH = 3.0


@dataclass(frozen=True)
class Row:
    """One criterion: its effect with an interval, the bound it is held against, what is compared, and the answer."""

    text: str
    effect: float
    low: float
    high: float
    bound: float
    is_above: bool
    label: str
    answer: str
    further: float


def rows_of(study: Run) -> list[Row]:
    """Return the criteria with a finite effect and interval, in their order.

    Args:
        study: The study's file.
    """
    names = ("criterion", "quantity", "scale", "side", "unit", "answers")
    numbers = ("effect", "interval_low", "interval_high", "bound", "seeds_needed")
    columns = [study.array(AB, name) for name in (*names, *numbers)]
    count = study.array(AB, "num_seeds")
    if count is None or any(column is None for column in columns):
        return []
    found = []
    for text, quantity, scale, side, unit, answer, *values in zip(*columns, strict=True):
        effect, low, high, bound, needed = (float(value) for value in values)
        if np.isfinite([effect, low]).all() and not np.isnan(high):
            what = f"spread of {quantity}" if scale == "spread" else str(quantity)
            label = LABELS[str(unit)].format(what)
            further = needed - float(count)
            found.append(Row(str(text), effect, low, high, bound, str(side) == "above", label, str(answer), further))
    return found


def draw_criterion(ax: Axes, row: Row) -> None:
    """Draw an effect with its interval against the bound.

    Args:
        ax: Where.
        row: The criterion.
    """
    left, right = _ends(row)
    yes, no = ((row.bound, right), (left, row.bound)) if row.is_above else ((left, row.bound), (row.bound, right))
    for (start, end), answer in ((yes, "yes"), (no, "no")):
        ax.axvspan(start, end, color=ANSWERS[answer].color, alpha=SHADE, linewidth=0)
        ax.annotate(
            answer,
            ((start + end) / 2, 0.96),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            fontsize=sizes().small,
            color=ANSWERS[answer].color,
        )
    ax.axvline(row.bound, color="0.2", linewidth=0.9)
    look = ANSWERS[row.answer]
    ax.plot(np.clip([row.low, row.high], left, right), [0, 0], color=look.color, linewidth=1.6)
    for end, value, marker in ((left, row.low, "<"), (right, row.high, ">")):
        if abs(value - np.clip(value, left, right)) > 0:
            ax.plot(end, 0, marker=marker, color=look.color, markersize=4, clip_on=False)
    ax.plot(row.effect, 0, marker=look.marker, color=look.color, markersize=6.5, markeredgecolor="white")
    ax.set_xlim(left, right)
    ax.set_ylim(-1, 1.4)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_title(f"{row.text}: {row.answer}{_further(row)}", loc="left", fontsize=sizes().small)
    ax.set_xlabel(row.label, fontsize=sizes().small)


def figure_ab(study: Run) -> Figure | None:
    """Return the criteria of a comparison, or None if the file holds none with an effect.

    Args:
        study: The study's file.
    """
    rows = rows_of(study)
    if not rows:
        return None
    figure = Figure(figsize=(sizes().narrow * 1.35, sizes().small / 72 * (PANEL * len(rows) + 2.5)))
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for ax, row in zip(axes, rows, strict=True):
        draw_criterion(ax, row)
    names = {name: str(study.array(AB, name)) for name in ("baseline", "candidate", "num_seeds")}
    level = 100 * float(np.asarray(study.array(AB, "look_confidence")))
    figure.suptitle(
        f"{names['candidate']} beside {names['baseline']}, {names['num_seeds']} paired seeds, {level:.4g} % intervals",
        fontsize=sizes().text,
    )
    return figure


def _ends(row: Row) -> tuple[float, float]:
    """Return the ends of the axis: the interval with some room, but no further than a few times what matters."""
    matters = [row.effect, row.bound, 0.0]
    middle, width = (min(matters) + max(matters)) / 2, max(matters) - min(matters)
    nearest = min(abs(row.effect - row.low), abs(row.high - row.effect))
    reach = max(REACH * width, 1.5 * nearest)
    low, high = max(row.low, middle - reach), min(row.high, middle + reach)
    room = 0.12 * (max(high, *matters) - min(low, *matters))
    return min(low, *matters) - room, max(high, *matters) + room


def _further(row: Row) -> str:
    if row.answer != "not yet" or np.isnan(row.further):
        return ""
    return ", more than 10,000 seeds" if np.isinf(row.further) else f", {row.further:.0f} further seeds"
