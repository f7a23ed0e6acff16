"""The page of results says what the files beside it say, and these are what the commands on the page give.

One run of the smallest study is done again from its file. Blind to what the prose concludes from the tables.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from analysis.claims import RunTable
from analysis.store import read_attributes
from benchmarks.tables import filled_with, names_in
from landscape.jobs.executors import SERIAL, Where
from landscape.options import Device
from landscape.progress import Display
from landscape.study.config import StudyConfig
from landscape.study.named import STUDIES, find_study
from landscape.study.reproducing import other_conditions, reproduce

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "results.md"
FILES = sorted(RESULTS.glob("*/study.h5"))
PLACES = {"pneumonia": {"data": "npz:pneumoniamnist.npz"}, "cifar10-label-noise": {"root": "anywhere"}}


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script of the page, which lies beside the files and in no package."""
    spec = importlib.util.spec_from_file_location("make_results", RESULTS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_what_the_files_say(make: ModuleType) -> None:
    """Fails if a file is replaced without its tables, a number is typed by hand, or a table is left out."""
    text = PAGE.read_text(encoding="utf-8")
    assert filled_with(make.tables(), text) == text, "run python docs/results/make.py"
    assert set(names_in(text)) == set(make.tables())
    assert list(make.studies()) == list(make.STUDIES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_file_is_what_the_command_on_the_page_gives(path: Path) -> None:
    """Fails if a study was changed after its results, or they say how a machine's folders are called."""
    name = path.parent.name
    assert f"landscape study {name}" in PAGE.read_text(encoding="utf-8")
    stored = StudyConfig.from_json(read_attributes(path)["config"])
    assert stored == find_study(name, PLACES.get(name, {})).without_places()
    assert stored.seeds >= 5
    table = RunTable.load(path)
    assert sorted(zip(table.method, table.seed, strict=True)) == sorted(stored.runs())
    assert np.isfinite(table.values("test_accuracy")).all()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_its_report_is_whole_and_small(path: Path) -> None:
    folder = path.parent
    text = (folder / "report.md").read_text(encoding="utf-8")
    figures = re.findall(r"\]\((report-figures/[\w.-]+)\)", text)
    assert figures
    assert {folder / figure for figure in figures} == set((folder / "report-figures").iterdir())
    assert not re.search(r"(/home|/root|/tmp|/work)/", text)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 5_000_000


def test_every_study_on_the_page_is_one(make: ModuleType) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"landscape study ([\w-]+)", text)) <= set(STUDIES)
    assert set(make.STUDIES) <= set(STUDIES)
    for link in re.findall(r"\]\((results/[^)#]+)", text):
        assert (PAGE.parent / link).exists(), link


def test_a_run_comes_out_as_it_is_written_down(tmp_path: Path) -> None:
    """To the last digit where processor and versions are those of the file; elsewhere within four of its spreads.

    Elsewhere the last digits of every product differ, and training drives them apart; a wrong setting would too.
    """
    path = RESULTS / "digits-drift" / "study.h5"
    (found,) = reproduce(path, ["gcsam-seed0"], tmp_path, Where(Device.CPU, executor=SERIAL), {}, Display())
    assert found.compared > 25
    if not other_conditions(path, "cpu"):
        assert dict(found.differing) == {}
    table = RunTable.load(path)
    for name in ("online_accuracy", "test_accuracy"):
        values = list(table.by_seed("gcsam", name).values())
        stored, again = found.differing.get(name, (values[0], values[0]))
        assert abs(again - stored) < 4 * np.std(values, ddof=1)
