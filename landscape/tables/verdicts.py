"""What a study says about the claims, for the terminal: the table of verdicts, its notes, and what is not tested.

Made from the stored numbers, without torch, so that it appears at once. Right when each verdict of the file is in its
row (`tests/landscape/tables/test_tables.py`). Costs nothing.
"""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from analysis.store import Measurement

STYLES = {"supported": "green", "contradicted": "red", "inconclusive": "dim"}
UNITS = {"percentage points": "pp", "rank correlation": ""}


def verdict_table(found: Measurement) -> Table:
    """List the comparisons that the data can speak to, a line each under the claim they bear on.

    Args:
        found: `/claims/verdicts` of a study file.

    Returns:
        The table; the letters in its last column are those of `note_lines`. Beside a verdict stand its p value
        corrected for the number of comparisons, and the smallest effect that these seeds would find in 80 % of studies.
    """
    columns = {name: variable.data.tolist() for name, variable in found.variables.items()}
    unknown = [math.nan] * len(columns["number"])  # in files of earlier versions
    overall = dict(zip(columns["claim_number"], columns["overall"], strict=True))
    letters, _ = _notes(columns)
    table = Table(title="Claims about GCSAM, from these runs", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("claim, and what is compared", "effect [95 % interval]", "p (Holm)", "seen from", "verdict", "note"):
        table.add_column(title, overflow="fold")
    heading = ""
    for i in _tested(columns):
        if columns["statement"][i] != heading:
            heading, number = columns["statement"][i], columns["number"][i]
            same = [k for k in _tested(columns) if columns["statement"][k] == heading]
            has_verdict = any(columns["role"][k] == "decides" for k in same)
            table.add_section()
            table.add_row(
                *(
                    Text(text, style="bold")
                    for text in (f"{number} {heading}", "", "", "", overall[number] * has_verdict)
                )
            )
        verdict = columns["verdict"][i] if columns["role"][i] == "decides" else "reported"
        table.add_row(
            Text(f"  {columns['quantity'][i]}: {columns['comparison'][i]}"),
            Text(_effect(*(columns[name][i] for name in ("effect", "interval_low", "interval_high", "unit")))),
            Text(_p_value(columns.get("p_corrected", unknown)[i])),
            Text(_smallest(columns.get("detectable", unknown)[i], columns["unit"][i])),
            Text(verdict, style=STYLES.get(verdict, "")),
            Text(" ".join(letters[text] for text in _texts(columns, i) if text in letters)),
        )
    return table


def note_lines(found: Measurement) -> list[str]:
    """Say what the letters in the table of verdicts stand for, and what holds wherever there is none.

    Args:
        found: `/claims/verdicts` of a study file.

    Returns:
        A line for each.
    """
    letters, common = _notes({name: variable.data.tolist() for name, variable in found.variables.items()})
    lines = [f"{letter}: {text}" for text, letter in letters.items()]
    return [f"every verdict: {common}", *lines] if common else lines


def untested_lines(found: Measurement) -> list[str]:
    """Name the claims, or parts of them, that these data cannot speak to, and the controls the study lacks.

    Args:
        found: `/claims/verdicts` of a study file.

    Returns:
        A line for each claim, and one for all controls.
    """
    names = ("number", "statement", "role", "reason", "comparison")
    rows = list(zip(*(found.variables[name].data.tolist() for name in names), strict=True))
    # several comparisons may need the same
    untested = dict.fromkeys((number, text, why) for number, text, role, why, _ in rows if role == "untested")
    lines = [f"not tested here: {number} {text} ({why})" for number, text, why in untested]
    absent = dict.fromkeys(pair.partition(" vs ")[2] for _, _, role, _, pair in rows if role == "absent")
    if absent:
        lines.append(
            f"controls without runs: {', '.join(absent)}; a study's file that names them is judged by them too"
        )
    return lines


def _tested(columns: Mapping[str, list[Any]]) -> list[int]:
    return [i for i, role in enumerate(columns["role"]) if role not in {"untested", "absent"}]


def _texts(columns: Mapping[str, list[Any]], i: int) -> list[str]:
    return [text for text in (columns["reason"][i], columns["caveat"][i]) if text]


def _notes(columns: Mapping[str, list[Any]]) -> tuple[dict[str, str], str]:
    """Return a letter for each reason and caveat, and the one reason that all verdicts share, which needs none."""
    deciding = [i for i in _tested(columns) if columns["role"][i] == "decides"]
    shared = set.intersection(*(set(_texts(columns, i)) for i in deciding)) if deciding else set()
    texts = dict.fromkeys(text for i in _tested(columns) for text in _texts(columns, i) if text not in shared)
    return dict(zip(texts, _letters(), strict=False)), "; ".join(sorted(shared))


def _letters() -> Iterator[str]:
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            yield "".join(letters)


def _p_value(value: float) -> str:
    if math.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _smallest(value: float, unit: str) -> str:
    return f"{value:.2g} {UNITS.get(unit, unit)}" if math.isfinite(value) else ""


def _effect(effect: float, low: float, high: float, unit: str) -> str:
    if math.isnan(effect):
        return "none"
    digits = 1 if unit in {"%", "percentage points"} else 2
    effect, low, high = (round(value, digits) + 0.0 for value in (effect, low, high))  # + 0.0: no -0.0
    unit = UNITS.get(unit, unit)
    interval = "" if math.isnan(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{effect:+.{digits}f}{f' {unit}' if unit else ''}{interval}"
