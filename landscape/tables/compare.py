"""Comparisons of result files as a table for the terminal and as a measurement for a file; without torch.

Right when each number, interval and verdict is in its row (`tests/landscape/commands/test_compare.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from analysis.store import Measurement, Variable
from landscape.comparing.comparison import NO_INTERVAL, NOT_TOLD, OTHER_SETTINGS, Comparison, Row
from landscape.comparing.intervals import Interval

DIM = (NO_INTERVAL, NOT_TOLD, OTHER_SETTINGS)
NUMBERS: dict[str, tuple[Callable[[Row], float], str]] = {
    "first": (lambda row: row.first, "The number of A"),
    "second": (lambda row: row.second, "The number of B"),
    "difference": (lambda row: row.interval.difference, "B - A"),
    "low": (lambda row: row.interval.low, "Lower end of its interval of 95 %, or of what bounds allow; NaN for none"),
    "high": (lambda row: row.interval.high, "Upper end"),
    "ratio": (lambda row: row.ratio, "B / A; NaN where one is not positive"),
}


def comparison_table(found: Comparison) -> Table:
    """List what two files have in common.

    Args:
        found: From `landscape.comparing.comparison.compare`.

    Returns:
        The table.
    """
    title = f"A: {found.first}\nB: {found.second}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("measurement", overflow="fold")
    for heading in ("A", "B", "B - A [95 % interval]", "B / A"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("in words", no_wrap=True)
    table.add_column("interval", overflow="fold")
    for row in found.rows:
        cells = (_number(row.first), _number(row.second), _difference(row.interval), _number(row.ratio, ".3g"))
        words = Text(row.words, style="dim" if row.words in DIM else "")
        table.add_row(Text(row.name), *map(Text, cells), words, Text(row.how))
    return table


def to_measurement(comparisons: Sequence[Comparison]) -> Measurement:
    """Return comparisons in the form the store writes, a row for each number.

    Args:
        comparisons: One for each second file.
    """
    rows = [(found, row) for found in comparisons for row in found.rows]
    texts: dict[str, tuple[list[str], str]] = {
        "first_file": ([str(found.first) for found, _ in rows], "A"),
        "second_file": ([str(found.second) for found, _ in rows], "B"),
        "quantity": ([row.name for _, row in rows], "Measurement, and which of its numbers"),
        "words": ([row.words for _, row in rows], "Whether they differ"),
        "how": ([row.how for _, row in rows], "What the interval rests on, or why there is none"),
    }
    variables = {
        name: Variable(np.array(column, dtype=object), ("row",), description=description)
        for name, (column, description) in texts.items()
    }
    for name, (number, description) in NUMBERS.items():
        data: np.ndarray[Any, Any] = np.array([number(row) for _, row in rows])
        variables[name] = Variable(data, ("row",), description=description)
    return Measurement("Comparison", variables)


def _number(value: float, form: str = ".4g") -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"


def _difference(interval: Interval) -> str:
    if not math.isfinite(interval.difference):
        return "-"
    if not interval.is_known:
        return f"{interval.difference:+.3g}"
    return f"{interval.difference:+.3g} [{interval.low:+.3g}, {interval.high:+.3g}]"
