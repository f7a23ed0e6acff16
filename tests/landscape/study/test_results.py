"""From runs to the study's file. Blind to the verdicts themselves: `tests/analysis/claims` tests them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from analysis import load
from analysis.claims import RunTable, Verdicts, collect
from analysis.store import create, list_measurements, provenance, read_attributes
from landscape.records.layout import find_runs, is_current
from landscape.study.results import judge

NAMES = ["gc-seed0", "gcsam-seed0", "sam-seed0", "sgd-seed0"]


def test_runs_are_found_in_a_study_and_in_any_folder_of_runs(study: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = study
    assert [path.parent.name for path in find_runs(folder)] == NAMES
    assert [path.parent.name for path in find_runs(folder / "runs")] == NAMES
    for name in NAMES[:2]:
        shutil.copytree(folder / "runs" / name, tmp_path / name)
    (tmp_path / "unfinished").mkdir()
    create(tmp_path / "unfinished" / "run.h5", provenance())
    assert [path.parent.name for path in find_runs(tmp_path)] == NAMES[:2]


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no finished run in it, no \*/run\.h5; train first, or give its par"):
        find_runs(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none: no such folder; give one that holds runs"):
        find_runs(tmp_path / "none")


def test_the_file_says_what_the_claims_say(study: tuple[Path, str], tmp_path: Path) -> None:
    runs, target = find_runs(study[0]), tmp_path / "study.h5"
    found = judge(runs, target, '{"seeds": 1}')
    assert set(list_measurements(target)) == {"claims/verdicts", "training/runs"}
    assert found.variables["verdict"].data.tolist() == list(load(target, "verdicts").verdict)  # type: ignore[union-attr]
    assert isinstance(load(target, "verdicts"), Verdicts)
    table, expected = RunTable.load(target), collect(runs)
    assert (table.method, table.seed) == (expected.method, expected.seed) == (("gc", "gcsam", "sam", "sgd"), (0,) * 4)
    assert table.values("test_accuracy").tolist() == expected.values("test_accuracy").tolist()
    assert read_attributes(target)["config"] == '{"seeds": 1}'


def test_other_settings_make_the_file_anew_and_none_keep_it(study: tuple[Path, str], tmp_path: Path) -> None:
    """Fails if a study that grew keeps the settings of the small one in its file."""
    runs, target = find_runs(study[0]), tmp_path / "study.h5"
    judge(runs[:2], target, '{"seeds": 1}')
    judge(runs, target)
    assert read_attributes(target)["config"] == '{"seeds": 1}'
    judge(runs, target, '{"seeds": 2}')
    assert read_attributes(target)["config"] == '{"seeds": 2}'


def test_the_file_names_what_its_runs_were_made_from(study: tuple[Path, str], tmp_path: Path) -> None:
    runs, target = find_runs(study[0]), tmp_path / "study.h5"
    judge(runs, target)
    whole, first = read_attributes(target), read_attributes(runs[0])
    assert whole["data_fingerprint"] == first["data_fingerprint"] != ""  # paired runs share their data
    assert whole["device"] == "cpu"
    judge(runs[:2], target)
    assert len({whole["checkpoint_sha256"], read_attributes(target)["checkpoint_sha256"], ""}) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["study.h5"]


def test_current_is_what_is_not_older_than_any_source(tmp_path: Path) -> None:
    sources = [tmp_path / "a", tmp_path / "b"]
    folder = tmp_path / "figures"
    folder.mkdir()
    for path in (*sources, tmp_path / "target", folder / "x.png", folder / "y.png"):
        path.touch()
        os.utime(path, ns=(0, 1000))
    assert is_current(tmp_path / "target", sources)
    assert is_current(folder, sources)
    os.utime(sources[1], ns=(0, 1001))
    assert not is_current(tmp_path / "target", sources)
    os.utime(folder / "x.png", ns=(0, 1001))
    assert not is_current(folder, sources)  # one figure is older
    os.utime(folder / "y.png", ns=(0, 1001))
    assert is_current(folder, sources)
    assert not is_current(tmp_path / "none", sources)
    (tmp_path / "empty").mkdir()
    assert not is_current(tmp_path / "empty", sources)
