"""A table over checkpoints: a row for each, a column for each measure with what stands behind it.

Made from the stored numbers, without torch. Right when each number and its uncertainty is in its row and column, and
the table fits 100 columns (`tests/landscape/tables/test_series.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from analysis.store import Measurement, list_measurements, read

LEGEND = (
    "+- is the residual bound of lambda_max, and one standard error of the rest; a worst case over all data is a "
    "single maximum and has none. > marks a search that ended before its tolerance was met, a lower bound."
)
UNFINISHED_SEARCH = "MAX_STEPS"


@dataclass(frozen=True)
class Column:
    """A measure in the table.

    Attributes:
        heading: Of the column.
        keys: Measurements that hold it, the first that is there is read.
        value: Its variable.
        error: The variable with its uncertainty; empty for none.
    """

    heading: str
    keys: tuple[str, ...]
    value: str = "value"
    error: str = "standard_error"


SHARPNESS = tuple(f"sharpness/{kind}{scale}" for kind in ("worst", "average") for scale in ("", "_adaptive"))
COLUMNS = (
    Column("loss", SHARPNESS, "base_loss", ""),
    Column("lambda_max", ("curvature/eigenvalues",), "values", "residuals"),
    Column("trace", ("curvature/trace",)),
    Column("worst", ("sharpness/worst",)),
    Column("average", ("sharpness/average",)),
    Column("worst\nadaptive", ("sharpness/worst_adaptive",)),
    Column("average\nadaptive", ("sharpness/average_adaptive",)),
)


def series_table(files: Sequence[Path]) -> Table:
    """List the measures of several checkpoints.

    Args:
        files: Their result files, in order.

    Returns:
        The table; a measure that no file holds has no column. Each uncertainty stands under its number, so that the
        row of a checkpoint is two lines high and the table fits 100 columns.
    """
    found = [{key: read(file, key) for key in list_measurements(file) if _is_shown(key)} for file in files]
    columns = [column for column in COLUMNS if any(key in held for held in found for key in column.keys)]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("checkpoint", overflow="fold", max_width=24)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for file, held in zip(files, found, strict=True):
        table.add_row(Text(file.stem), *(Text(cell(held, column)) for column in columns))
    return table


def cell(held: dict[str, Measurement], column: Column) -> str:
    """Return what a cell says: the number, and its uncertainty on a second line.

    Args:
        held: The measurements of one checkpoint.
        column: Which measure.
    """
    key = next((key for key in column.keys if key in held), None)
    if key is None or column.value not in held[key].variables:
        return "-"
    value = _first(held[key], column.value)
    error = _first(held[key], column.error) if column.error else math.nan
    bound = ">" if held[key].attributes.get("status") == UNFINISHED_SEARCH and column.error else ""
    return f"{bound}{value:.4g}" + (f"\n+-{error:.2g}" if math.isfinite(error) else "")


def _is_shown(key: str) -> bool:
    return any(key in column.keys for column in COLUMNS)


def _first(found: Measurement, name: str) -> float:
    return float(np.ravel(found.variables[name].data)[0])
