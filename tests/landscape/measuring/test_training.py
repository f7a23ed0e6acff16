"""A run's result file says what the run says. Blind to training itself: `tests/gcsam/training` tests it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from analysis.store import list_measurements, read, read_attributes
from gcsam.training import TrainConfig, TrainRun, load_run
from landscape.measuring.training import train_run
from landscape.records.trained import HISTORY, SUMMARY, write_training
from tests.landscape.conftest import TINY
from tests.landscape.recorder import Recorder

DRIFT = {"severity", "online_accuracy", "current_accuracy"}  # which only a stream has


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> TrainRun:
    shutil.copytree(trained, tmp_path / "run")
    return load_run(tmp_path / "run")


def test_history_and_summary_are_those_of_the_run(run: TrainRun) -> None:
    history = read(run.directory / "run.h5", "training/history").variables
    assert set(history) == {*run.history, "layers"} == {*HISTORY, "layers"} - DRIFT
    for name, values in run.history.items():
        np.testing.assert_array_equal(history[name].data, values)  # NaN equals NaN here
        assert history[name].description
    assert history["layers"].data.tolist() == list(run.layers)
    assert history["ascent_ratio"].dims == ("epoch", "layer")
    assert len(history["step_loss"].data) == 4  # two epochs of 60 images in batches of at most 32
    summary = read(run.directory / "run.h5", "training/summary").variables
    assert set(summary) == set(run.summary) == set(SUMMARY) - DRIFT
    assert {name: variable.data.tolist() for name, variable in summary.items()} == run.summary


def test_a_study_has_its_own_name_for_a_method(run: TrainRun) -> None:
    (run.directory / "run.h5").unlink()
    train_run(TINY, run.directory, Recorder(), name="gcsam-again")
    assert read(run.directory / "run.h5", "training/summary").variables["method"].data[()] == "gcsam-again"


def test_provenance_names_weights_and_data(run: TrainRun) -> None:
    attributes = read_attributes(run.directory / "run.h5")
    weights = hashlib.sha256((run.directory / "selected.pt").read_bytes()).hexdigest()
    assert attributes["checkpoint_sha256"] == weights
    train = run.splits("cpu").train
    assert train.images.shape == (60, 1, 8, 8)
    described = b"torch.uint8 (60, 1, 8, 8) " + train.images.numpy().tobytes()
    described += b"torch.int64 (60,) " + train.labels.numpy().tobytes()
    assert attributes["data_fingerprint"] == hashlib.sha256(described).hexdigest()
    assert json.loads(attributes["config"]) == TINY.model_dump()
    assert attributes["device"] == "cpu"


def test_a_finished_run_is_left_alone(run: TrainRun) -> None:
    before = (run.directory / "run.h5").read_bytes()
    display = Recorder()
    train_run(TINY, run.directory, display)
    assert (run.directory / "run.h5").read_bytes() == before
    assert display.notes == [f"{run.directory}: trained before, nothing to do"]
    assert display.stages == []


def test_other_settings_for_the_same_folder_are_refused(run: TrainRun) -> None:
    with pytest.raises(ValueError, match=r"holds a run with lr 0\.05, not 0\.2"):
        train_run(TINY.replace(lr=0.2), run.directory, Recorder())


@pytest.mark.parametrize("lost", ["run.h5", "training/summary"])
def test_a_result_file_that_was_lost_or_not_finished_is_completed(run: TrainRun, lost: str) -> None:
    """Fails if a stop between the end of training and the end of writing leaves a run without its summary."""
    import h5py

    path = run.directory / "run.h5"
    whole = read(path, "training/summary")
    if lost == "run.h5":
        path.unlink()
    else:
        with h5py.File(path, "r+") as file:
            del file[lost]
    train_run(TINY, run.directory, Recorder())
    assert list_measurements(path) == ["training/history", "training/summary"]
    assert read(path, "training/summary") == whole


def test_a_result_file_of_other_weights_is_refused(run: TrainRun, tmp_path: Path) -> None:
    other, splits = train_run(TINY.replace(seed=1), tmp_path / "other", Recorder())
    with pytest.raises(ValueError, match=r"run\.h5 belongs to the checkpoint with SHA-256"):
        write_training(other, splits, run.directory / "run.h5")


def test_stopped_training_goes_on_where_it_was(tmp_path: Path, trained: Path) -> None:
    class Stopping(Recorder):
        def update(self, task: str, text: str, done: float, total: float) -> None:
            super().update(task, text, done, total)
            if done == 1 and total == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(TINY, tmp_path, Stopping())
    assert not (tmp_path / "run.h5").exists()
    display = Recorder()
    train_run(TINY, tmp_path, display)
    assert [text.split(",")[0] for _, text, _, _ in display.updates] == ["training", "training: epoch 2 of 2"]
    stored, expected = (read(folder / "run.h5", "training/history").variables for folder in (tmp_path, trained))
    for name in ("step_loss", "validation_accuracy", "gradient_evaluations"):
        np.testing.assert_array_equal(stored[name].data, expected[name].data)


def test_progress_names_epoch_and_validation_accuracy(tmp_path: Path) -> None:
    display = Recorder()
    run, _ = train_run(TrainConfig(**{**TINY.model_dump(), "epochs": 1}), tmp_path, display)
    accuracy = run.history["validation_accuracy"][0]
    assert display.updates[-1] == ("training", f"training: epoch 1 of 1, validation accuracy {accuracy:.3f}", 1, 1)
