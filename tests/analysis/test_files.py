"""Loading by name, by group and name, or whatever is there; what is ambiguous or absent is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import load
from analysis.claims import RunTable, Verdicts, verify
from analysis.store import Measurement, SchemaError, create, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.h5"


def result(confidence: float = 0.95) -> Verdicts:
    return verify(RunTable((), (), {}), [], confidence)


@pytest.mark.parametrize("name", [None, "final", "claims/final"])
def test_one_result_by_any_name(path: Path, name: str | None) -> None:
    result().save(path, "final")
    assert load(path, name) == result()


def test_several_results_by_group_and_name(path: Path) -> None:
    result(0.9).save(path, "a")
    result(0.8).save(path, "b")
    assert load(path) == {"claims/a": result(0.9), "claims/b": result(0.8)}
    assert load(path, "b") == result(0.8)


def test_plain_tables_are_left_out(path: Path) -> None:
    """The tables of a training have no result type; they are read with analysis.store."""
    RunTable((), (), {}).save(path)
    assert load(path) == {}
    result().save(path, "final")
    assert load(path) == result()
    with pytest.raises(
        ValueError, match=r"result type 'RunTable' is unknown to this version; read it with analysis.sto"
    ):
        load(path, "training/runs")


def test_a_name_in_two_groups_needs_its_group(path: Path) -> None:
    result().save(path, "final")
    write(path, "noise", "final", Measurement(""))
    with pytest.raises(
        KeyError, match=r"'final' names 2 measurements in .*study\.h5; it holds noise/final, claims/fin"
    ):
        load(path, "final")
    assert load(path, "claims/final") == result()


def test_an_absent_name_lists_what_is_there(path: Path) -> None:
    create(path, {})
    with pytest.raises(KeyError, match=r"'final' names 0 measurements in .*study\.h5; it holds nothing"):
        load(path, "final")
    result().save(path, "last")
    with pytest.raises(KeyError, match="it holds claims/last"):
        load(path, "final")


def test_missing_and_foreign_files(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no result file at"):
        load(path)
    path.write_text("1")
    with pytest.raises(SchemaError, match="cannot be read as HDF5"):
        load(path)
