"""What a report and a plan say to the reader: cells, title, notes.

Right when each status, bound and mark is in its cell (`tests/analysis/report/test_show.py`). Cost: none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analysis.report.budget import NUM_PACE
from analysis.report.readings import AT_LEAST, EXACT
from analysis.report.show import Column, Grid, numbers, on_the_point

if TYPE_CHECKING:
    from analysis.report.plan import PlanLine, SharpnessPlan
    from analysis.report.rows import Line, SharpnessReport

MISSING = {"NOT_AVAILABLE": "not available", "INTERRUPTED": "not yet", "LEFT_OUT": "left out"}
WORDS = {
    "MAX_STEPS": "ran out of steps, so that it is a lower bound",
    "MAX_HVPS": "ran out of Hessian products before its tolerance; the interval stands",
    "NO_BRACKET": "no bracket was found",
    "NOT_FINITE": "the loss or its gradient was not finite",
}
SHORT = {"loss/weight": "loss/w", "loss/weight^2": "loss/w²", "weight": "w", "1": ""}
WIDE = 96  # where evidence and cost find room beside the rest
ABOUT = "Intervals are 95 % and about these data, not about the population. At least: the most that a search found."
INVARIANT = "=: unchanged when a ReLU network is rescaled without changing its function."
COSTS = "Costs are in gradients over all data: a loss is 1/3, a Hessian product 2."


def report_grid(report: SharpnessReport) -> Grid:
    """Return the table of a report.

    Args:
        report: It.
    """
    lines = report.lines
    texts = [_texts(line) for line in lines]
    values = on_the_point([value for value, _ in texts])
    rows = [
        (
            line.title,
            "=" if line.is_invariant else "",
            value,
            interval,
            _unit(line),
            line.meaning,
            _cost(line, _bears(lines, line)),
        )
        for line, value, (_, interval) in zip(lines, values, texts, strict=True)
    ]
    spent, seconds = float(report.spent.sum()) + NUM_PACE, float(report.seconds.sum())
    title = (
        f"Sharpness of {report.num_parameters:,} weights on {report.num_samples:,} samples, seed {report.seed}: "
        f"{spent:.0f} gradients, {duration(seconds)}"
    )
    columns = (
        Column("measure"),
        Column("="),
        Column("value"),
        Column("95 % interval"),
        Column("unit"),
        Column("from", least=WIDE, is_flexible=True),
        Column("cost", is_right=True, least=WIDE),
    )
    notes = [note for line in lines if _bears(lines, line) and (note := _note(line))]
    left_out = ["Left out (n): the budget was spent, n gradients would be needed."]
    has_left_out = any(line.status == "LEFT_OUT" for line in lines)
    return Grid(title, columns, tuple(rows), (*notes, *left_out * has_left_out, INVARIANT, ABOUT))


def plan_grid(plan: SharpnessPlan) -> Grid:
    """Return the table of a plan.

    Args:
        plan: It.
    """
    costs = [(f"{line.expected:.0f}", f"{line.most:.0f}", duration(line.seconds)) for line in plan.lines]
    rows = [(line.title, *cost, _allowed(line)) for line, cost in zip(plan.lines, costs, strict=True)]
    limit = (
        f", of {duration(plan.budget_seconds)} allowed"
        if math.isfinite(plan.budget_seconds)
        else (f", of {plan.budget_gradients:g} gradients allowed" if math.isfinite(plan.budget_gradients) else "")
    )
    title = (
        f"Sharpness of {plan.num_parameters:,} weights on {plan.num_samples:,} samples: about {plan.expected:.0f} "
        f"gradients, {duration(plan.expected_seconds)}{limit}"
    )
    columns = (
        Column("measure"),
        Column("expected", is_right=True),
        Column("at most", is_right=True),
        Column("time", is_right=True),
        Column("may use", is_flexible=True),
    )
    a_gradient = f"A gradient takes {duration(plan.seconds_per_gradient)}; {NUM_PACE} were computed to know."
    return Grid(title, columns, tuple(rows), (COSTS, a_gradient))


def duration(seconds: float) -> str:
    """Return a time for the reader.

    Args:
        seconds: Of it.

    Example:
        >>> [duration(seconds) for seconds in (0.0123, 4.2, 312, 9000)]
        ['12 ms', '4.2 s', '5 min 12 s', '2 h 30 min']
    """
    if seconds < 0.9995:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{1000 * seconds:.0f} ms"
    if seconds < 99.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _texts(line: Line) -> tuple[str, str]:
    """Return the number and what stands in the place of its interval."""
    if line.status in MISSING:
        price = f" ({line.expected:.0f})" if line.status == "LEFT_OUT" and line.expected else ""
        return "", MISSING[line.status] + price
    return number_and_interval(line.value, line.low, line.high, line.meaning)


def number_and_interval(value: float, low: float, high: float, meaning: str) -> tuple[str, str]:
    """Return a number and its interval as text, with as many decimals.

    Args:
        value: The number.
        low: Lower end; NaN for none.
        high: Upper end.
        meaning: Of the interval.

    Example:
        >>> number_and_interval(1.0, 0.5, 1.5, "t, 9 pairs")
        ('1.000', '[0.500, 1.500]')
    """
    texts = numbers([value, low, high])
    if meaning in {EXACT, AT_LEAST}:
        return texts[0], {EXACT: "exact", AT_LEAST: "at least"}[meaning]
    return texts[0], "" if math.isnan(low) else f"[{texts[1]}, {texts[2]}]"


def _unit(line: Line) -> str:
    return "" if line.status in MISSING else SHORT.get(line.units, line.units)


def _cost(line: Line, is_first: bool) -> str:
    if is_first and line.allowed and not line.spent:
        return "file"  # where it was found
    return f"{line.spent:.0f}" if line.spent else ""


def _note(line: Line) -> str:
    """Return what must be said of a measure below the table, in one line; nothing as a rule."""
    said = [text for text in (line.note, WORDS.get(line.status, "")) if text]
    return f"{line.title}: {'; '.join(said)}" if said else ""


def _allowed(line: PlanLine) -> str:
    if not line.units:
        return "left out"
    if line.units < line.full:
        return f"{line.units} of {line.full} {line.unit}"
    return f"up to {line.full} {line.unit}" if line.full > 1 else ""


def _bears(lines: tuple[Line, ...], line: Line) -> bool:
    """Whether a line is the first of its measure: notes are of the measure, and said once."""
    return next(each for each in lines if each.measure == line.measure) is line
