"""The table over checkpoints: every number stands in the row and column it belongs to, with its uncertainty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from analysis.store import Measurement, write
from landscape.tables.series import COLUMNS, cell, series_table
from tests.figures.synthetic import measurement
from tests.landscape.tables.test_tables import rows


def stored(path: Path, scale: float) -> Path:
    """Numbers that tell measures and checkpoints apart."""
    values = (scale * np.array([7.0, 3.0]), "pair")
    residuals = (scale * np.array([0.125, 0.5]), "pair")
    write(path, "curvature", "eigenvalues", measurement(values=values, residuals=residuals))
    write(path, "curvature", "trace", measurement(value=20.0 * scale, standard_error=2.0 * scale))
    for place, name in enumerate(("worst", "average", "worst_adaptive", "average_adaptive"), start=1):
        error = np.nan if name.startswith("worst") else 0.01 * scale
        found = measurement(value=place * 0.1 * scale, standard_error=error, base_loss=0.5 * scale)
        write(path, "sharpness", name, found)
    return path


def test_a_row_for_each_checkpoint_in_the_order_given(tmp_path: Path) -> None:
    table = series_table([stored(tmp_path / "epoch-10.h5", 1.0), stored(tmp_path / "epoch-2.h5", 10.0)])
    assert [column.header for column in table.columns][1:] == [column.heading for column in COLUMNS]
    assert rows(table) == [
        ["epoch-10", "0.5", "7\n+-0.12", "20\n+-2", "0.1", "0.2\n+-0.01", "0.3", "0.4\n+-0.01"],
        ["epoch-2", "5", "70\n+-1.2", "200\n+-20", "1", "2\n+-0.1", "3", "4\n+-0.1"],
    ]


def test_it_fits_a_hundred_columns(tmp_path: Path) -> None:
    """Fails if a column grows: rich would then cut numbers. Numbers and a name as long as they come."""
    path = stored(tmp_path / f"{'long-' * 8}name.h5", -1.23456789e-11)
    console = Console(width=100)
    table = series_table([path])
    assert console.measure(table).maximum <= 100
    with console.capture() as captured:
        console.print(table)
    assert "-8.642e-11" in captured.get()
    assert "…" not in captured.get()


def test_what_was_not_measured_is_a_dash_and_no_column_where_nobody_has_it(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", "curvature", "trace", measurement(value=2.0, standard_error=0.5))
    write(tmp_path / "b.h5", "sharpness", "worst", measurement(value=0.1, standard_error=0.02, base_loss=0.5))
    table = series_table([tmp_path / "a.h5", tmp_path / "b.h5"])
    assert [column.header for column in table.columns] == ["checkpoint", "loss", "trace", "worst"]
    assert rows(table) == [["a", "-", "2\n+-0.5", "-"], ["b", "0.5", "-", "0.1\n+-0.02"]]


@pytest.mark.parametrize(("status", "shown"), [("MAX_STEPS", ">0.1"), ("CONVERGED", "0.1"), ("MAX_HVPS", "0.1")])
def test_a_search_that_ran_out_of_steps_is_a_lower_bound(status: str, shown: str) -> None:
    found = measurement(value=0.1, standard_error=np.nan, base_loss=0.5)
    held = {"sharpness/worst": Measurement("Sharpness", found.variables, {"status": status})}
    assert [cell(held, column) for column in (COLUMNS[3], COLUMNS[0])] == [shown, "0.5"]
