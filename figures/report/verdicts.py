"""The verdict table and the picture of all effects, from the rows of a study's file.

Right when every comparison of the file is a row with the digits of its effect, interval, p value and caveat, a new one
included (`tests/figures/report/test_sections.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from figures.claims import PANELS
from figures.report.content import Cell, Column, Panel, Picture, Series, Table
from figures.report.sentences import UNTESTED, Row, comparison, shared_reason
from figures.report.wording import NONE, counted, label, number, signed

COLUMNS = (
    Column("Claim", "its number", is_number=True),
    Column("Compared", "quantity, and who with whom"),
    Column("Verdict"),
    Column("Effect [95 % interval]", "relative where in %; pp: percentage points", is_number=True),
    Column("p (Holm)", "of no effect, corrected for the number of comparisons", is_number=True),
    Column("Effect size", "mean over standard deviation of the paired differences, Hedges", is_number=True),
    Column("Seen from", "smallest effect that so many seeds find in four studies of five", is_number=True),
    Column("Seeds", "that count", is_number=True),
    Column("Caveat"),
)


def verdict_table(rows: Sequence[Row]) -> Table:
    """Return every comparison that came to a number as a row.

    Args:
        rows: Of one study.
    """
    common = shared_reason(rows)
    made = tuple(_cells(row, common) for row in rows if row.role != UNTESTED and math.isfinite(row.effect))
    note = f" Every verdict here: {common}." if common else ""
    caption = f"{counted(len(made), 'comparison').capitalize()}; sort by any column.{note}"
    return Table("verdicts", caption, COLUMNS, made)


def without_numbers(rows: Sequence[Row]) -> Table | None:
    """Return what could not be compared and why, a row for each reason, or None where everything could.

    Args:
        rows: Of one study.
    """
    quantities: dict[tuple[int, str, str], list[str]] = {}
    for row in rows:
        if row.role != UNTESTED and not math.isfinite(row.effect):
            quantities.setdefault((row.number, comparison(row), row.reason), []).append(label(row.quantity))
    if not quantities:
        return None
    cells = tuple(
        (Cell(str(claim), claim), Cell(who), Cell(", ".join(names)), Cell(reason or NONE))
        for (claim, who, reason), names in quantities.items()
    )
    columns = (
        Column("Claim", "its number", is_number=True),
        Column("Compared"),
        Column("Quantities"),
        Column("Why not"),
    )
    count = sum(map(len, quantities.values()))
    return Table("without-numbers", f"{counted(count, 'comparison').capitalize()} without a number.", columns, cells)


def effects(rows: Sequence[Row]) -> Picture | None:
    """Return the picture of all effects with their intervals, or None where there is none with an interval.

    Args:
        rows: Of one study.
    """
    panels = []
    shown = 0
    for unit, axis in PANELS.items():
        own = [
            row
            for row in rows
            if row.unit == unit and all(map(math.isfinite, (row.effect, row.low, row.high))) and row.high > row.low
        ]
        if own:
            shown += len(own)
            panels.append(_forest(own, unit, axis))
    if not panels:
        return None
    away = [row for row in rows if math.isfinite(row.low) and (row.low > 0 or row.high < 0)]
    words = (
        f"{counted(shown, 'effect').capitalize()} with 95 % intervals; {len(away)} of the intervals lie wholly on one "
        "side of no effect. The numbers are those of the table of verdicts."
    )
    caption = (
        "Effect and 95 % interval of every comparison that has one; the line marks no effect, the color the verdict. "
        "Relative effects are factors on a logarithmic axis; a bar "
        "that meets the edge goes on beyond it."
    )
    return Picture(
        "effects", "All effects at a glance", caption, words, tuple(panels), "verdicts", legend=_verdicts(rows)
    )


def _verdicts(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(name for name in ("supported", "contradicted", "inconclusive") if any(r.verdict == name for r in rows))


def _forest(rows: Sequence[Row], unit: str, axis: str) -> Panel:
    def scaled(value: float) -> float:
        return 1 + value / 100 if unit == "%" else value

    series = []
    for verdict in _verdicts(rows):
        own = [row for row in rows if row.verdict == verdict]
        names = [f"{row.number} {label(row.quantity)}: {comparison(row)}" for row in own]
        values = [
            [scaled(value) for value in values]
            for values in zip(*((r.effect, r.low, r.high) for r in own), strict=True)
        ]
        series.append(Series(verdict, names, *values))
    return Panel(
        "forest",
        {"%": "Relative effects"}.get(unit, unit.capitalize()),
        axis,
        series=tuple(series),
        is_log=unit == "%",
        origin=1.0 if unit == "%" else 0.0,
    )


def effect_text(row: Row) -> str:
    """Return an effect with its interval, where it has one.

    Args:
        row: With an effect that is a number.
    """
    interval = ""
    if math.isfinite(row.low) and row.high > row.low:
        low, high = (signed(value, row.unit).replace(" %", "").replace(" pp", "") for value in (row.low, row.high))
        interval = f" [{low}, {high}]"
    return f"{signed(row.effect, row.unit)}{interval}"


def _cells(row: Row, common: str) -> tuple[Cell, ...]:
    """Return the cells of a comparison that came to a number."""
    p = NONE if math.isnan(row.p_corrected) else "< 0.001" if row.p_corrected < 0.001 else f"{row.p_corrected:.3f}"
    smallest = signed(row.detectable, row.unit).lstrip("+") if math.isfinite(row.detectable) else NONE
    texts = [text for text in (row.reason, row.caveat) if text and text != common]
    return (
        Cell(str(row.number), row.number),
        Cell(f"{label(row.quantity)}: {comparison(row)}"),
        Cell(row.shown),
        Cell(effect_text(row), row.effect),
        Cell(p, row.p_corrected),
        Cell(number(row.effect_size, 2), row.effect_size),
        Cell(smallest, row.detectable),
        Cell(str(row.num_seeds), row.num_seeds),
        Cell("; ".join(texts) or NONE),
    )
