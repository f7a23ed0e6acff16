"""Robustness of a run: each number that of images corrupted by hand, finished work found, mistakes in one line.

Blind to the corruptions themselves: `tests/gcsam/training/test_corruptions.py` tests them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from analysis.store import list_measurements, read
from gcsam.training import TrainRun, load_run
from gcsam.training.corruptions import CORRUPTIONS
from landscape.jobs.job import Job
from landscape.jobs.measurements import Measurements
from landscape.measuring import robustness
from landscape.measuring.robustness import KEY, SEVERITIES, left, measure_robustness
from tests.landscape.conftest import Done
from tests.landscape.recorder import Recorder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> TrainRun:
    shutil.copytree(trained, tmp_path / "run")
    return load_run(tmp_path / "run")


def test_numbers_are_those_of_images_corrupted_by_hand(run: TrainRun) -> None:
    """Grey values of the digits are 0 to 16; fails where the range, the split, the order or the weights are others."""
    measure_robustness(run, "cpu", Recorder(), severities=(0.5, 2.0))
    found = read(run.directory / "run.h5", KEY)
    assert found.variables["accuracy"].dims == found.variables["loss"].dims == ("corruption", "severity")
    assert found.variables["corruption"].data.tolist() == list(CORRUPTIONS)
    assert found.variables["severity"].data.tolist() == [0.0, 0.5, 2.0]
    assert int(found.variables["num_images"].data) == 30
    loss, accuracy = found.variables["loss"].data, found.variables["accuracy"].data
    assert (loss[:, 0] == run.summary["test_loss"]).all()
    assert (accuracy[:, 0] == run.summary["test_accuracy"]).all()
    splits, model = run.splits("cpu"), run.model("cpu").double()
    clean = splits.test.images.double() / 16
    mean = clean.mean((2, 3), keepdim=True)
    by_hand = {
        "brightness": [(clean + shift).clamp(max=1) for shift in (0.05, 0.2)],
        "contrast": [mean + (1 - share) * (clean - mean) for share in (0.095, 0.38)],
    }
    for name, shifted in by_hand.items():
        row = list(CORRUPTIONS).index(name)
        for column, images in enumerate(shifted, start=1):
            scores = model((16 * images - splits.train.mean.double()) / splits.train.std.double()).detach()
            expected = float(F.cross_entropy(scores, splits.test.labels))
            assert loss[row, column] == pytest.approx(expected, rel=1e-5)  # float32 against float64
            hits = float((scores.argmax(1) == splits.test.labels).double().mean())
            assert accuracy[row, column] == pytest.approx(hits, abs=1e-12)
    assert np.unique(loss[:, 1:]).size == 2 * len(CORRUPTIONS)  # no cell is another's


def test_finished_work_is_found_and_left(run: TrainRun) -> None:
    path = run.directory / "run.h5"
    assert left(path) == left(path.with_name("none.h5")) == {"robustness": robustness.WEIGHT}
    display = Recorder()
    measure_robustness(run, "cpu", display)
    assert display.stages == ["robustness"]
    assert [(done, total) for _, _, done, total in display.updates][-1] == (45, 45)
    assert left(path) == {}
    before, first = path.read_bytes(), read(path, KEY)
    display = Recorder()
    measure_robustness(run, "cpu", display)
    assert display.notes == ["robustness: finished before, skipped (landscape robustness --again makes it anew)"]
    assert path.read_bytes() == before
    measure_robustness(run, "cpu", display, again=True)
    assert display.stages == ["robustness"]
    assert read(path, KEY) == first


def test_all_runs_see_the_same_images(run: TrainRun) -> None:
    """Fails if the corruptions depend on the run: the same weights under another seed have the same numbers."""
    import dataclasses

    measure_robustness(run, "cpu", Recorder(), severities=(3.0,))
    first = read(run.directory / "run.h5", KEY)
    torch.manual_seed(5)
    other = dataclasses.replace(run, config=run.config.replace(seed=7))
    measure_robustness(other, "cpu", Recorder(), severities=(3.0,), again=True)
    assert read(run.directory / "run.h5", KEY) == first


def test_other_severities_are_refused_by_name(run: TrainRun) -> None:
    measure_robustness(run, "cpu", Recorder(), severities=(0.5, 2.0))
    message = r"run\.h5 holds training/robustness at severity 0\.5 2, asked for is 1 2 3 4 5; give the same, or"
    for call in (lambda: measure_robustness(run, "cpu", Recorder()), lambda: left(run.directory / "run.h5")):
        with pytest.raises(ValueError, match=message):
            call()
    measure_robustness(run, "cpu", Recorder(), again=True)
    stored = read(run.directory / "run.h5", KEY).variables["severity"].data.tolist()
    assert stored == [0.0, *SEVERITIES]


@pytest.mark.parametrize("severities", [(), (0.0, 1.0), (2.0, 1.0), (1.0, 5.5), (float("nan"),), (1.0, float("nan"))])
def test_severities_that_are_none(run: TrainRun, severities: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"^severities must rise, from above 0 to at most 5, got ") as caught:
        measure_robustness(run, "cpu", Recorder(), severities=severities)
    assert "\n" not in str(caught.value)
    assert KEY not in list_measurements(run.directory / "run.h5")


def test_a_lost_result_file_is_made_and_one_of_other_weights_refused(run: TrainRun) -> None:
    path = run.directory / "run.h5"
    path.unlink()
    measure_robustness(run, "cpu", Recorder(), severities=(1.0,))
    assert list_measurements(path) == ["training/history", "training/robustness", "training/summary"]
    (run.directory / "selected.pt").write_bytes((run.directory / "checkpoint.pt").read_bytes())
    with pytest.raises(ValueError, match=r"run\.h5 belongs to the checkpoint with SHA-256"):
        measure_robustness(run, "cpu", Recorder(), severities=(1.0,), again=True)


def test_a_study_counts_it_among_the_work_of_a_run(run: TrainRun, tmp_path: Path) -> None:
    """Fails if the runs of a study that was finished before this measurement existed are left without it."""
    job = Job("gcsam", 0, {}, Measurements(0.05, 3, None, 16))
    assert "robustness" in job.remaining(tmp_path / "none")
    assert "robustness" in job.remaining(run.directory)
    measure_robustness(run, "cpu", Recorder())
    assert "robustness" not in job.remaining(run.directory)
    assert Job("gcsam", 0, {}, Measurements(0.05, 3, None, 16, of=())).remaining(run.directory) == {}


def test_the_command_prints_what_the_file_holds(cli: Callable[..., Done], run: TrainRun) -> None:
    command = ("robustness", run.directory, "--device", "cpu")
    done = cli(*command, "--severity", 0.5, "--severity", 2, "--quiet")
    assert (done.status, done.err) == (0, "")
    found = read(run.directory / "run.h5", KEY).variables
    accuracy = 100 * found["accuracy"].data
    rows = {line.split("│")[1].strip(): line for line in done.out.splitlines() if "│" in line}
    for name, row in zip(CORRUPTIONS, accuracy, strict=True):
        cells = [float(cell) for cell in rows[name].strip("│ ").split("│")[1:]]
        assert cells == [*np.round(row, 1), round(row[1:].mean(), 1)]
    clean, corrupted = accuracy[0, 0], accuracy[:, 1:].mean()
    assert f"Clean (severity 0) {clean:.2f} +- " in done.out
    error = 100 * (clean / 100 * (1 - clean / 100) / 30) ** 0.5
    assert f"+- {error:.2f} % (binomial" in done.out
    assert f"{corrupted:.2f} %, {clean - corrupted:.2f} percentage points less." in done.out
    again = cli(*command)  # as it is in the file
    assert again.out.splitlines()[0].startswith("robustness: finished before, skipped")
    assert again.out.splitlines()[1:] == done.out.splitlines()
    refused = cli(*command, "--severity", 3)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("landscape robustness: ")
    wrong = cli(*command, "--severity", 7)
    assert (wrong.status, wrong.err.count("\n")) == (2, 1)
    assert "severities must rise, from above 0 to at most 5, got 7" in wrong.err
    assert cli(*command, "--again", "--quiet").status == 0
    assert read(run.directory / "run.h5", KEY).variables["severity"].data.tolist() == [0.0, *SEVERITIES]


def test_a_folder_without_a_run(cli: Callable[..., Done], tmp_path: Path) -> None:
    done = cli("robustness", tmp_path / "none")
    assert done.status == 2
    assert "no such folder; give one that landscape train wrote" in done.err
