"""A study that searches and sweeps, from its first call to its second, on a network that trains in a second.

Blind to processes of their own, which `test_running.py` starts, and to how trials are judged: `test_tuning.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import landscape.jobs.executors
import landscape.study.running
from analysis.claims import RunTable, SweepTable
from analysis.store import list_measurements, read, read_attributes
from landscape.jobs.attempts import Outcome, Task
from landscape.jobs.measurements import Measure
from landscape.records.layout import find_runs
from landscape.study.config import StudyConfig
from landscape.study.parts import Sweep, Tuning
from landscape.study.phases import grids
from landscape.study.results import judge
from landscape.study.running import run_study
from tests.landscape.recorder import Recorder

CONFIG = StudyConfig(
    train={"model": "mlp", "epochs": 3, "train_limit": 60, "test_limit": 30},
    methods={"sam": {}, "gcsam": {}},
    seeds=1,
    tuning=Tuning(3, (0.01, 1e30)),  # the highest rate diverges
    sweep=Sweep(rho=(0.05, 0.1)),
    measure=Measure(of=("noise",)),
)


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Do the tasks in this process, and draw nothing; keep what was done."""
    kept: list[Task] = []

    def run_all(work: Callable[..., Outcome], given: list[Task], *_: object) -> list[Outcome]:
        kept.extend(given)
        return [work(task, Recorder()) for task in given]

    monkeypatch.setattr(landscape.jobs.executors, "run_tasks", run_all)
    monkeypatch.setattr(landscape.study.running, "draw", lambda *_: None)
    return kept


def test_it_searches_then_runs_then_sweeps_and_finds_all_done(tmp_path: Path, tasks: list[Task]) -> None:
    run_study(CONFIG, tmp_path, quiet=True)
    assert [task.folder.parent.name for task in tasks] == ["tuning"] * 6 + ["runs"] * 2 + ["sweeps"] * 2
    lost = {path.parent.name for path in (tmp_path / "tuning").glob("*/diverged.txt")}
    assert {"sam-trial2-seed1000", "gcsam-trial2-seed1000"} <= lost
    chosen = json.loads((tmp_path / "tuning.json").read_text(encoding="utf-8"))["chosen"]
    for method in CONFIG.methods:
        path = tmp_path / "runs" / f"{method}-seed0" / "run.h5"
        rate = json.loads(read_attributes(path)["config"])["lr"]
        assert rate == chosen[method]["settings"]["lr"] < 1e30
        assert {"noise/gradient_noise", "noise/minibatch"} <= set(list_measurements(path))
        assert "surface/plane" not in list_measurements(path)
        swept = tmp_path / "sweeps" / f"{method}-rho0.1-seed0" / "run.h5"
        assert json.loads(read_attributes(swept)["config"])["lr"] == rate
    study = tmp_path / "study.h5"
    base = RunTable.load(study).by_seed("sam", "test_accuracy")[0]
    assert SweepTable.load(study, "rho").numbers["test_accuracy"][0, 0, 0] == base
    assert int(read(study, "training/tuning").variables["chosen"].data.sum()) == 2
    assert [path.parent.name for path in find_runs(tmp_path)] == ["gcsam-seed0", "sam-seed0"]  # no trial is judged
    tasks.clear()
    run_study(CONFIG, tmp_path, quiet=True)
    assert tasks == []


def test_judging_again_keeps_search_and_sweeps(tmp_path: Path, tasks: list[Task]) -> None:
    """Fails if `landscape verify` forgets all but the runs."""
    run_study(CONFIG, tmp_path, quiet=True)
    before = set(list_measurements(tmp_path / "study.h5"))
    judge(find_runs(tmp_path), tmp_path / "study.h5", grids=grids(tmp_path))
    assert set(list_measurements(tmp_path / "study.h5")) == before >= {"training/tuning", "training/sweep_rho"}
