"""The answer of a comparison for the terminal: a row per criterion, one sentence, and the command that goes on.

Made from the stored numbers alone, without torch. Right when each number and answer of the file is in its row, and each
way a comparison can end has its sentence (`tests/landscape/tables/test_ab.py`). Costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from analysis.claims.power import MAX_SEEDS
from analysis.claims.success import POINTS, SPREAD, is_fraction
from analysis.store import Measurement
from landscape.tables.verdicts import UNITS

STYLES = {"yes": "green", "no": "red", "not yet": "dim"}
OPEN = "not yet"
MANY = f"more than {MAX_SEEDS:,}"


def ab_table(found: Measurement) -> Table:
    """List the criteria with what the runs say about each.

    Args:
        found: `/claims/ab` of a study file.

    Returns:
        The table. Beside a criterion that is open stand the further seeds that would settle it.
    """
    columns = _columns(found)
    baseline, candidate = columns["baseline"], columns["candidate"]
    look, level = max(len(columns["looks"]), 1), 100 * columns["look_confidence"]
    title = f"{candidate} beside {baseline}, {columns['num_seeds']} paired seeds"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    headings = ("criterion", baseline, candidate, f"effect [{level:.4g} % interval, look {look}]", "bound", "answer")
    for heading in (*headings, "further seeds"):
        table.add_column(heading, overflow="fold")
    for row, criterion in enumerate(columns["criterion"]):
        unit, answer = columns["unit"][row], columns["answers"][row]
        sign = ">" if columns["side"][row] == "above" else "<"
        table.add_row(
            Text(criterion),
            *(Text(_mean(columns, f"{which}_mean", row)) for which in ("baseline", "candidate")),
            Text(_effect(columns["effect"][row], columns["interval_low"][row], columns["interval_high"][row], unit)),
            Text(f"{sign} {_number(columns['bound'][row], unit)}{_unit(unit)}"),
            Text(answer, style=STYLES[answer]),
            Text(_further(columns, "seeds_needed", row) if answer == OPEN else ""),
        )
    return table


def answer_lines(found: Measurement, command: Callable[[int], str]) -> list[str]:
    """Say the answer in a sentence, and how to go on.

    Args:
        found: `/claims/ab` of a study file.
        command: Returns the command that goes on with so many seeds.

    Returns:
        Lines.
    """
    columns = _columns(found)
    candidate, baseline, count = (columns[name] for name in ("candidate", "baseline", "num_seeds"))
    quoted = [f'"{text}"' for text in columns["criterion"]]
    if columns["answer"] == "yes":
        what = "the criterion" if len(quoted) == 1 else f"all {len(quoted)} criteria"
        return [f"Yes: {candidate} meets {what} beside {baseline}, with {count} paired seeds."]
    if columns["answer"] == "no":
        failed = [text for text, answer in zip(quoted, columns["answers"], strict=True) if answer == "no"]
        return [f"No: {candidate} fails {' and '.join(failed)} beside {baseline}, with {count} paired seeds."]
    rows = [row for row, answer in enumerate(columns["answers"]) if answer == OPEN]
    what = " and ".join(quoted[row] for row in rows)
    if count < columns["min_seeds"]:
        least = columns["min_seeds"]
        return [f"Not yet: {count} of the {least} paired seeds a verdict needs. To go on:", f"  {command(least)}"]
    stuck = [row for row in rows if math.isnan(columns["seeds_needed"][row])]
    if stuck:
        why = "; ".join(f"{quoted[row]}: {columns['reason'][row]}" for row in stuck)
        return [f"Not yet: seeds alone do not settle it. {why}."]
    slowest = max(rows, key=lambda row: float(columns["seeds_needed"][row]))
    if math.isinf(columns["seeds_needed"][slowest]):
        return [
            f"Not yet: {quoted[slowest]} would take {MANY} seeds: the two are equal for your purpose. Accept that, or "
            "relax the margin."
        ]
    total = int(columns["seeds_needed"][slowest])
    low, high = (_further(columns, name, slowest) for name in ("seeds_low", "seeds_high"))
    each = "each of them" if len(rows) > 1 else "it"
    return [
        f"Not yet: {count} paired seeds leave {what} open. {total - count} further seeds would settle {each} in 80 % "
        f"of studies, if the truth is as estimated ({low} to {high}, as well as the spread is known). To go on:",
        f"  {command(total)}",
    ]


def _columns(found: Measurement) -> dict[str, Any]:
    return {name: variable.data.tolist() for name, variable in found.variables.items()}


def _further(columns: dict[str, Any], name: str, row: int) -> str:
    seeds = columns[name][row]
    if math.isnan(seeds):
        return "unknown"
    return MANY if math.isinf(seeds) else f"{seeds - columns['num_seeds']:.0f}"


def _mean(columns: dict[str, Any], name: str, row: int) -> str:
    value = columns[name][row]
    if math.isnan(value):
        return ""
    if not is_fraction(columns["quantity"][row]):
        return f"{value:.4g}"
    return f"{100 * value:.2f} {'pp' if columns['scale'][row] == SPREAD else '%'}"


def _effect(effect: float, low: float, high: float, unit: str) -> str:
    if math.isnan(effect):
        return "none"
    ends = "" if math.isnan(low) else f" [{_number(low, unit)}, {_number(high, unit)}]"
    return f"{_number(effect, unit)}{_unit(unit)}{ends}"


def _number(value: float, unit: str) -> str:
    if not unit:
        return f"{value:+.3g}"
    digits = 2 if unit == POINTS else 1
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # + 0.0: no -0.0


def _unit(unit: str) -> str:
    return f" {UNITS.get(unit, unit)}" if unit else ""
