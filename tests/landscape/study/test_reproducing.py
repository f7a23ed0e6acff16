"""`landscape reproduce`: what a study's file says is found again by doing its runs again, from that file alone.

One tiny study with a search is done once, in this process, by the code that every study goes through; the oracle is
what it wrote, and digits that are changed by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import landscape.study.running
from landscape.jobs.executors import SERIAL, Where
from landscape.jobs.measurements import Measure
from landscape.options import Device
from landscape.progress import Display
from landscape.study.config import StudyConfig
from landscape.study.parts import Sweep, Tuning
from landscape.study.reproducing import Likeness, likeness_table, other_conditions, reproduce, stored_jobs
from landscape.study.running import run_study
from tests.landscape.conftest import Done

WHERE = Where(Device.CPU, executor=SERIAL)
CONFIG = StudyConfig(
    train={"model": "mlp", "epochs": 2, "train_limit": 60, "test_limit": 30},
    methods={"sgd": {}, "gcsam": {}, "control": {"method": "sam", "radius": "matched"}},
    seeds=1,
    samples=30,
    sweep=Sweep(rho=(0.02, 0.1), methods=("gcsam",)),  # what a grid came to is no number of a run
    tuning=Tuning(2, (0.01, 0.2), (0.02, 0.1), same_as={"control": "gcsam"}),
    measure=Measure(of=("eigenvalues", "noise")),
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landscape.study.running, "draw", lambda *_: None)
        run_study(CONFIG, folder, device=Device.CPU, executor=SERIAL, quiet=True)
    return folder / "study.h5"


@pytest.fixture
def study(done: Path, tmp_path: Path) -> Path:
    """The file of the study alone, somewhere else."""
    (tmp_path / "tiny").mkdir()
    return Path(shutil.copy(done, tmp_path / "tiny" / "study.h5"))


def again(study: Path, *names: str) -> list[Likeness]:
    return reproduce(study, names, study.parent / "again", WHERE, {}, Display())


def change(study: Path, column: str, row: int, value: Callable[[float], float]) -> float:
    with h5py.File(study, "r+") as file:
        values = file[f"training/runs/{column}"]
        stored = float(values[row])
        values[row] = value(stored)
    return stored


def test_every_number_is_found_again_with_the_settings_that_were_searched(study: Path) -> None:
    """Fails if a run is done with default settings, or if too little is compared."""
    jobs = stored_jobs(study, {})
    assert list(jobs) == ["sgd-seed0", "gcsam-seed0", "control-seed0"]
    tuned = [{name: jobs[run].settings[name] for name in ("lr", "rho")} for run in ("gcsam-seed0", "control-seed0")]
    assert tuned[0] == tuned[1]
    assert tuned[0]["lr"] in {0.01, 0.2}
    found = again(study)
    assert [(run.run, dict(run.differing)) for run in found] == [(name, {}) for name in jobs]
    assert all(run.compared > 25 for run in found)
    assert found[0].largest == ("", 0.0)


def test_a_last_digit_that_was_changed_is_found(study: Path) -> None:
    stored = change(study, "lambda_max", 1, lambda value: float(np.nextafter(value, np.inf)))
    wrong = float(np.nextafter(stored, np.inf))
    (found,) = again(study, "gcsam-seed0")
    assert dict(found.differing) == {"lambda_max": (wrong, stored)}
    name, size = found.largest
    assert name == "lambda_max"
    assert 0 < size <= np.finfo(float).eps


def test_what_was_not_measured_is_no_number(study: Path) -> None:
    """Fails if a NaN where there is a number now counts as equal, or two NaN as different, or as a number."""
    change(study, "test_loss", 0, lambda _: np.nan)
    with h5py.File(study) as file:
        runs = file["training/runs"]
        columns = [runs[name] for name in runs if name not in {"method", "seed", "run"}]
        there = [values for values in columns if np.isfinite(values[0]) and values.attrs["units"] != "s"]
    (found,) = again(study, "sgd-seed0")
    assert found.compared == len(there) + 1
    assert found.largest == ("test_loss", np.inf)
    table = likeness_table([found])
    assert str(next(iter(table.columns[3].cells))).startswith("test_loss: stored nan, now ")
    assert list(found.differing) == ["test_loss"]


def test_times_are_not_compared(study: Path) -> None:
    change(study, "seconds", 0, lambda _: 1e9)
    assert not again(study, "sgd-seed0")[0].differing


def test_the_command_says_who_agrees_and_where_it_was(
    study: Path, cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.parent)
    arguments = ("reproduce", study, "sgd-seed0", "gcsam-seed0", "--jobs", 1, "--device", "cpu", "--quiet")
    done = cli(*arguments)
    assert (done.status, done.err) == (0, "")
    assert "2 of 2 runs agree in every number." in done.out
    assert "differs:" not in done.out
    assert (study.parent / "runs" / "again" / "tiny" / "gcsam-seed0" / "run.h5").is_file()
    change(study, "test_loss", 1, lambda value: 1.01 * value)
    with h5py.File(study, "r+") as file:
        file.attrs["processor"] = "Analytical Engine"
    assert other_conditions(study, "cpu")[0].startswith("processor Analytical Engine, here ")
    done = cli(*arguments)
    assert done.status == 1
    assert "test_loss: 9.9e-03 of it" in done.out
    assert "differs: processor Analytical Engine, here " in done.out
    assert done.err == f"landscape reproduce: 1 of 2 runs differ from {study}: gcsam-seed0\n"


def test_mistakes_are_one_line(study: Path, cli: Callable[..., Done]) -> None:
    done = cli("reproduce", study, "gcsam-seed1")
    known = "sgd-seed0, gcsam-seed0, control-seed0"
    assert done.err == f"landscape reproduce: {study}: has no run 'gcsam-seed1'; choose of {known}\n"
    with h5py.File(study, "r+") as file:
        file.attrs["config"] = CONFIG.to_json().replace('"model"', '"data": "npz:lost.npz", "model"')
    assert cli("reproduce", study).err == f"landscape reproduce: {study}: its data are needed: give --data npz:FILE\n"
    with h5py.File(study, "r+") as file:
        del file["training/runs"]
    told = "holds no study with its settings; give the study.h5 that landscape study wrote"
    assert cli("reproduce", study).err == f"landscape reproduce: {study}: {told}\n"
    gone = study.parent / "none.h5"
    done = cli("reproduce", gone)
    assert done.err == f"landscape reproduce: {gone}: no such file; give the study.h5 of a study\n"
    assert done.status == 2
