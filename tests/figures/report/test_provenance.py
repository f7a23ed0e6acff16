"""How the numbers came about: what differs, what is shared, hashes, and a study written down again."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import pytest

from figures.reading import Run, load_runs
from figures.report.content import Code, Report, Table
from figures.report.provenance import blocks, toml
from tests.figures.report.conftest import built, runs_of, write_report_study


def test_what_differs_is_a_column_and_what_does_not_is_shared(report: Report) -> None:
    tables = {table.name: table for table in report.blocks(Table)}
    methods = tables["methods"]
    assert [column.title for column in methods.columns] == ["Method", "What it does", "rho"]
    assert [row[2].text for row in methods.rows] == ["0.05", "0.05", "0.1", "0.05"]
    assert methods.caption == "What differs in each method: rho."
    assert [[cell.text for cell in row] for row in tables["settings"].rows] == [["lr", "0.05"]]
    assert [row[3].text for row in tables["hashes"].rows] == [
        f"{m}{s}" for m in ("sgd", "gc", "sam", "gcsam") for s in "01"
    ]
    assert "torch" in {row[0].text for row in tables["versions"].rows}


def test_where_the_data_lay_is_nobodys_business(tmp_path: Path) -> None:
    """Fails if a report that is handed on says how the folders of its maker are called."""
    study = write_report_study(tmp_path)
    for path in tmp_path.glob("runs/*/run.h5"):
        with h5py.File(path, "r+") as file:
            file.attrs["config"] = '{"lr": 0.05, "data": "npz:/home/me/scans.npz", "root": "/home/me"}'
    found = {table.name: table for table in built(study).blocks(Table)}
    shown = {tuple(cell.text for cell in row) for row in found["settings"].rows}
    assert shown == {("data", "npz:scans.npz"), ("lr", "0.05")}


def test_the_study_written_down_is_the_one_that_ran(report: Report, tmp_path: Path) -> None:
    """Fails if a setting is lost on the way: the command's own reader has to find the stored ones."""
    from landscape.study.file import read_study

    text, commands, check = [block.text for block in report.blocks(Code)]
    assert check == "landscape reproduce study.h5"
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    found = read_study(tmp_path / "study.toml")
    assert (found.seeds, found.samples, found.train) == (2, None, {"data": "digits"})
    assert found.methods == {"sgd": {"lr": 0.1}, "gcsam": {}}
    assert commands.startswith("landscape study study.toml")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib")
def test_names_and_values_survive_toml() -> None:
    import tomllib

    config = {
        "seeds": 3,
        "train": {"name": 'a "b" \\ c', "on": True},
        "methods": {"gcsam 0.1": {"rho": 1e-05}, "x.y": {}},
    }
    assert tomllib.loads(toml(config)) == config


def test_a_file_with_broken_settings_is_no_error(report_study: Path, tmp_path: Path) -> None:
    from analysis.store import create, provenance

    create(tmp_path / "bare.h5", provenance(config="no JSON"))
    assert blocks(Run(tmp_path / "bare.h5"), [])
    assert blocks(None, load_runs(runs_of(report_study)[:1]))
