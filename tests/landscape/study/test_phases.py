"""Search, runs and sweeps in their order, and what a study's file then holds. Runs are written down, not trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.claims import RunTable, SweepTable
from analysis.store import Measurement, Variable, list_measurements, read, write
from landscape.jobs.measurements import Measure
from landscape.records.layout import DIVERGED_FILE, RUN_FILE
from landscape.study.config import StudyConfig, claim_directory
from landscape.study.parts import Sweep, Tuning
from landscape.study.phases import Grids, grids, jobs_after, phases
from landscape.study.results import judge
from landscape.study.tuning import Placed

CONFIG = StudyConfig(
    methods={"sam": {}, "gcsam": {}},
    seeds=2,
    tuning=Tuning(3, (0.01, 1.0)),
    sweep=Sweep(rho=(0.05, 0.1, 0.2)),
)


def do(placed: Sequence[Placed]) -> None:
    """The middle rate is best on validation; on the test split sam loses 0.1 with every doubling of rho."""
    for job, folder in placed:
        rho, rate = job.settings.get("rho", 0.05), job.settings["lr"]
        lost = 0.1 * np.log2(rho / 0.05) if job.method == "sam" else 0.0
        numbers = {
            "validation_accuracy": 0.9 - abs(np.log10(rate / 0.1)) / 10,
            "validation_loss": 0.5,
            "test_accuracy": 0.9 - lost,
            "train_accuracy": 1.0,
            "seed": job.seed,
            "method": job.method,
        }
        variables = {
            name: Variable(np.array(value, dtype=object if name == "method" else None))
            for name, value in numbers.items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / RUN_FILE, "training", "summary", Measurement("", variables))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    claim_directory(CONFIG, tmp_path)
    return tmp_path


def test_runs_have_the_settings_that_were_found(directory: Path) -> None:
    """Fails if the search is done and its outcome then forgotten."""
    kept: list[Placed] = []

    def doing(placed: Sequence[Placed]) -> None:
        kept.extend(placed)
        do(placed)

    planned = phases(CONFIG, directory, doing, lambda _: None)
    assert {folder.parent.name for _, folder in kept} == {"tuning"}
    assert {job.settings["lr"] for job, _ in [*planned.runs, *planned.sweeps]} == {0.1}
    assert [folder.name for _, folder in planned.runs] == [f"{m}-seed{s}" for s in (0, 1) for m in ("sam", "gcsam")]
    assert len(planned.sweeps) == 2 * 2 * 2  # rho 0.05 is the study's own
    assert all(job.measurements is not None for job, _ in planned.runs)
    assert planned.files == [folder / RUN_FILE for _, folder in planned.runs]


def test_a_run_that_diverged_is_a_source_like_any_other(directory: Path) -> None:
    planned = jobs_after(CONFIG, directory, {})
    _, folder = planned.sweeps[0]
    folder.mkdir(parents=True)
    (folder / DIVERGED_FILE).touch()
    assert planned.sources == [folder / DIVERGED_FILE]
    (folder / DIVERGED_FILE).unlink()
    assert planned.sources == []


def test_what_is_measured_reaches_the_jobs_of_the_runs_alone(directory: Path) -> None:
    watched = dataclasses.replace(CONFIG, measure=Measure(("trace",), "every:5"))
    planned = jobs_after(watched, directory, {})
    job, _ = planned.runs[0]
    assert job.watching == watched.measure
    assert [stage.key for stage in job.stages()] == ["curvature/trace", "curvature/trace_centralized"]
    assert {job.watching for job, _ in planned.sweeps} == {None}
    (silent, _), *_ = jobs_after(dataclasses.replace(CONFIG, measure=Measure(())), directory, {}).runs
    assert (silent.measurements, silent.watching) == (None, None)


def test_the_study_file_holds_search_sweep_and_columns(directory: Path) -> None:
    planned = phases(CONFIG, directory, do, lambda _: None)
    do([*planned.runs, *planned.sweeps])
    target = directory / "study.h5"
    judge(planned.files, target, CONFIG.to_json(), grids=grids(directory))
    assert set(list_measurements(target)) == {
        *("claims/verdicts", "training/runs"),
        *("training/tuning", "training/sweep_rho"),
    }
    table = RunTable.load(target)
    # a straight line in log rho from 0.9 to 0.7 has mean 0.8; the other is level
    assert table.by_seed("sam", "rho_area") == pytest.approx({0: 0.8, 1: 0.8})
    assert table.by_seed("gcsam", "rho_area") == pytest.approx({0: 0.9, 1: 0.9})
    assert table.by_seed("sam", "rho_drop") == pytest.approx({0: 0.2, 1: 0.2})
    assert SweepTable.load(target, "rho").numbers["test_accuracy"].shape == (2, 2, 3)
    found = read(target, "claims/verdicts").variables
    rows = zip(found["quantity"].data.tolist(), found["role"].data.tolist(), found["effect"].data, strict=True)
    effects = {quantity: effect for quantity, role, effect in rows if role == "decides"}
    assert effects["rho_area"] == pytest.approx(10.0)
    assert effects["rho_drop"] == pytest.approx(-20.0)
    assert "label_noise_area" not in effects  # not swept, so not asked


def test_a_folder_without_a_study_has_neither(tmp_path: Path) -> None:
    assert grids(tmp_path) == Grids()
    claim_directory(CONFIG, tmp_path)
    assert grids(tmp_path) == Grids()  # begun, and not tuned yet
