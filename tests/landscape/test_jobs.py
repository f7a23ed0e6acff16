"""A job is plain data, and doing it elsewhere gives the same numbers, which are tested in `analysis`."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from analysis.store import list_measurements, read
from landscape.jobs import Job, Measurements, do_job
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


@pytest.mark.parametrize("batch_size", [8, 16])
def test_measurements_are_made_with_their_settings(batch_size: int) -> None:
    made = {stage.key: stage.settings for stage in Measurements(0.2, 3, None, batch_size).stages()}
    assert made["sharpness/worst"]["rho"] == 0.2
    assert made["surface/plane"]["points"] == [3, 3]
    assert batch_size in made["noise/minibatch"].values() or [batch_size] in made["noise/minibatch"].values()
