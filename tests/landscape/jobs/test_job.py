"""A job is plain data, and doing it elsewhere gives the same numbers, which are tested in `analysis`."""

from __future__ import annotations

import dataclasses
import math
import pickle
from pathlib import Path

import pytest

from analysis.store import list_measurements, read
from gcsam.training import TrainingDiverged
from landscape.jobs.job import Job, do_job
from landscape.jobs.measurements import Measure, Measurements
from tests.landscape.recorder import Recorder

SETTINGS = {"data": "digits", "model": "mlp", "method": "sgd", "epochs": 1, "train_limit": 60, "test_limit": 20}


def test_a_job_survives_being_sent() -> None:
    job = Job("plain", 3, {**SETTINGS, "seed": 3}, Measurements(0.05, 3, None, 16))
    sent = pickle.loads(pickle.dumps(job))
    assert sent == job
    assert (sent.name, sent.title) == ("plain-seed3", "plain, seed 3")


def test_a_job_without_measurements_trains_alone(tmp_path: Path) -> None:
    """Fails if tuning runs, which nobody looks at, are measured as well."""
    job, shown = Job("plain", 1, {**SETTINGS, "seed": 1}, None), Recorder()
    assert list(job.remaining(tmp_path)) == ["training"]
    do_job(job, tmp_path, "cpu", shown)
    assert list_measurements(tmp_path / "run.h5") == ["training/history", "training/summary"]
    assert str(read(tmp_path / "run.h5", "training/summary").variables["method"].data) == "plain"
    assert job.remaining(tmp_path) == {}


def test_a_job_that_may_diverge_notes_it_and_is_done(tmp_path: Path) -> None:
    """Fails if one trial with too high a rate ends a study, or is trained again at every start."""
    job = Job("plain", 0, {**SETTINGS, "seed": 0, "lr": 1e6, "epochs": 3}, None, "trial3", may_diverge=True)
    assert (job.name, job.title) == ("plain-trial3-seed0", "plain trial3, seed 0")
    do_job(job, tmp_path, "cpu", Recorder())
    assert (tmp_path / "diverged.txt").read_text(encoding="utf-8").startswith("training diverged: ")
    assert not (tmp_path / "run.h5").exists()
    assert job.remaining(tmp_path) == {}
    with pytest.raises(TrainingDiverged):
        do_job(dataclasses.replace(job, may_diverge=False), tmp_path, "cpu", Recorder())


def test_a_job_is_watched_as_a_training_is(tmp_path: Path) -> None:
    """Fails if a study asks for a probe and its runs have none."""
    watching = Measure(probe="every:1", probe_budget=math.inf, probe_samples=16)
    job = Job("plain", 1, {**SETTINGS, "seed": 1}, None, watching=watching)
    do_job(job, tmp_path, "cpu", Recorder())
    assert read(tmp_path / "run.h5", "training/probe").variables["step"].data.tolist() == [0, 1, 2]


def test_only_what_is_wanted_is_measured() -> None:
    chosen = Measurements(0.05, 3, None, 8, ("surface", "eigenvalues"))
    assert [stage.key for stage in chosen.stages()] == ["curvature/eigenvalues", "surface/plane"]


def test_the_density_comes_after_the_trace() -> None:
    asked = Measurements(0.05, 3, None, 8, ("density", "sharpness", "trace"))
    assert [stage.name for stage in asked.stages()][:3] == ["trace", "trace_centralized", "density"]
    assert "density" not in [stage.name for stage in Measurements(0.05, 3, None, 8).stages()]


def test_what_is_asked_for_later_is_measured_on_the_run_as_it_is(tmp_path: Path) -> None:
    """Fails if a run is trained again, or called another, because more of it is wanted."""
    job = Job("plain", 0, {**SETTINGS, "seed": 0}, Measurements(0.05, 3, 10, 8, ()))
    do_job(job, tmp_path, "cpu", Recorder())
    weights = (tmp_path / "selected.pt").read_bytes()
    wider = dataclasses.replace(job, measurements=Measurements(0.05, 3, 10, 8, ("density",)))
    assert wider.digest == job.digest
    assert list(wider.remaining(tmp_path)) == ["spectral density"]
    do_job(wider, tmp_path, "cpu", shown := Recorder())
    assert shown.stages == ["spectral density"]
    assert wider.remaining(tmp_path) == {}
    assert (tmp_path / "selected.pt").read_bytes() == weights
    assert read(tmp_path / "run.h5", "curvature/density").variables["nodes"].data.shape == (8, 40)


@pytest.mark.parametrize("batch_size", [8, 16])
def test_measurements_are_made_with_their_settings(batch_size: int) -> None:
    made = {stage.key: stage.settings for stage in Measurements(0.2, 3, None, batch_size).stages()}
    assert made["sharpness/worst"]["rho"] == 0.2
    assert made["surface/plane"]["points"] == [3, 3]
    assert batch_size in made["noise/minibatch"].values() or [batch_size] in made["noise/minibatch"].values()
