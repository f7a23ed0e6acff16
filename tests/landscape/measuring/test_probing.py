"""`landscape train --probe`: the same run to the bit, its record in the run's file, and a stop on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import landscape.measuring.training
import landscape.tables.measured
from analysis import Objective, ProbeRecord, gradient_noise, hessian_trace, load
from analysis.store import list_measurements
from gcsam.training import TrainConfig, load_data
from gcsam.training.checkpoint import load_file
from gcsam.training.trainer import initial_model
from landscape.measuring.probing import ProbeWish, wish
from landscape.measuring.training import train_run
from tests.gcsam.training.test_resume import same, without_times
from tests.landscape.conftest import TINY, Done
from tests.landscape.recorder import Recorder

WATCHED = TINY.replace(model="tests.gcsam.training.nets:dropped", method="gcsam", momentum=0.9, batch_size=16)


def watch(schedule: str = "every:2", budget: float = math.inf, samples: int = 20) -> ProbeWish:
    return wish(schedule, budget, samples)


def record_of(path: Path) -> ProbeRecord:
    found = load(path, "training/probe")
    assert isinstance(found, ProbeRecord)
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watched") / "run"
    train_run(WATCHED.replace(trajectory_every_steps=2), folder, Recorder(), watch())
    return folder


def test_a_run_ends_in_the_same_bits_with_and_without_it(watched: Path, tmp_path: Path) -> None:
    train_run(WATCHED.replace(trajectory_every_steps=2), tmp_path / "alone", Recorder())
    for name in ("checkpoint.pt", "selected.pt"):
        one, other = (load_file(folder / name) for folder in (watched, tmp_path / "alone"))
        one, other = (without_times(state) if name == "checkpoint.pt" else state for state in (one, other))
        assert same(one, other)


def test_rows_are_those_of_the_weights_kept_at_these_steps(watched: Path) -> None:
    """2 epochs of 4 batches, measured on the first 20 images of the fixed choice."""
    record = record_of(watched / "run.h5")
    assert record.step.tolist() == [0, 2, 4, 6, 8]
    assert record.epoch.tolist() == [0, 0, 1, 1, 2]
    splits = load_data(WATCHED, "cpu")
    model = initial_model(WATCHED, splits)
    batches = splits.train.all_batches(20, 20)
    objective = Objective(model, torch.nn.CrossEntropyLoss(), batches)
    kept = sorted((watched / "trajectory").glob("step*"))
    assert len(kept) == 5
    for row, path in enumerate(kept):
        model.load_state_dict(load_file(path)["model"])
        assert record.loss[row].item() == objective.loss()
        trace = hessian_trace(objective, min_probes=10, max_hvps=10)
        assert record.trace[row].item() == pytest.approx(trace.value, rel=1e-5)
        noise = gradient_noise(objective)
        assert record.centralized.trace[row].item() == pytest.approx(noise.centralized.total.trace, rel=1e-5)
        assert record.ascent_ratio[row].tolist() == pytest.approx(noise.ascent_ratio.tolist(), rel=1e-5)
    rates = load(watched / "probe.h5").learning_rate  # type: ignore[union-attr]
    history = record_history(watched)
    assert rates[0] == rates[1].new_tensor(history[0])
    np.testing.assert_allclose(record.threshold.numpy(), 2 / rates.numpy())
    np.testing.assert_allclose(record.threshold_with_momentum.numpy(), 3.8 / rates.numpy())


def record_history(folder: Path) -> list[float]:
    from analysis.store import read

    return [float(rate) for rate in read(folder / "run.h5", "training/history").variables["learning_rate"].data]


def test_the_run_file_holds_what_the_file_of_the_probe_does(watched: Path) -> None:
    assert list_measurements(watched / "run.h5") == ["training/history", "training/probe", "training/summary"]
    assert record_of(watched / "run.h5") == record_of(watched / "probe.h5")


def test_a_stopped_run_goes_on_with_its_record(watched: Path, tmp_path: Path) -> None:
    """Stopped in step 6, two steps after the last whole epoch: that row is dropped and measured again."""
    from gcsam.training.trainer import Trainer

    config, original = WATCHED.replace(trajectory_every_steps=2), Trainer._step

    def stopping(self: Trainer, *arguments: Any, **named: Any) -> Any:
        if self.step == 7:
            raise KeyboardInterrupt
        return original(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, tmp_path, Recorder(), watch())
    assert record_of(tmp_path / "probe.h5").step.tolist() == [0, 2, 4, 6]
    assert not (tmp_path / "run.h5").exists()
    train_run(config, tmp_path, Recorder(), watch())
    parts, whole = (record_of(folder / "run.h5") for folder in (tmp_path, watched))
    assert parts.step.tolist() == [0, 2, 4, 6, 8]
    for name in ("loss", "trace", "sharpness", "ascent_ratio_total", "threshold", "epoch"):
        assert torch.equal(getattr(parts, name), getattr(whole, name)), name
    assert torch.equal(parts.raw.noise_scale, whole.raw.noise_scale)
    assert same(load_file(tmp_path / "selected.pt"), load_file(watched / "selected.pt"))


def test_it_measures_what_is_asked_for_alone(tmp_path: Path) -> None:
    train_run(TINY, tmp_path, Recorder(), wish("epochs:1", math.inf, 20, ("noise",)))
    record = record_of(tmp_path / "run.h5")
    assert record.control.trace.isfinite().all()
    assert record.lambda_max.isnan().all()
    with pytest.raises(ValueError, match="quantities must be some of lambda_max, trace, noise, sharpness, each once"):
        wish("epochs:1", math.inf, 20, ("noises",))


def test_by_epochs(tmp_path: Path) -> None:
    train_run(TINY, tmp_path, Recorder(), watch("epochs:1"))
    record = record_of(tmp_path / "run.h5")
    assert record.step.tolist() == [0, 2, 4]
    assert record.epoch.tolist() == [0, 1, 2]
    assert record.schedule == "epochs:1"


def test_the_budget_is_that_of_the_wish(tmp_path: Path) -> None:
    """Fails if it is not handed on: within a billionth of the time only the first measurement is made."""
    train_run(TINY, tmp_path, Recorder(), watch("every:1", budget=1e-9))
    record = record_of(tmp_path / "run.h5")
    assert (record.step.tolist(), record.skipped) == ([0], 4)


def test_a_run_finished_before_keeps_its_record_and_one_without_is_told(watched: Path, tmp_path: Path) -> None:
    config = WATCHED.replace(trajectory_every_steps=2)
    before = (watched / "run.h5").read_bytes()
    train_run(config, watched, Recorder(), watch())
    assert (watched / "run.h5").read_bytes() == before
    train_run(TINY, tmp_path, Recorder())
    with pytest.raises(ValueError, match=r"holds a run that was finished without a probe, and the weights on its way "):
        train_run(TINY, tmp_path, Recorder(), watch())


def test_options_reach_the_wish(cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[ProbeWish | None] = []

    def fake(config: TrainConfig, output: Path, display: object, probe: ProbeWish | None) -> None:
        kept.append(probe)

    monkeypatch.setattr(landscape.measuring.training, "train_run", fake)
    monkeypatch.setattr(landscape.tables.measured, "trained_table", lambda path: "")
    options = ("--probe", "log:3", "--probe-budget", "inf", "--probe-samples", 7)
    assert cli("train", "--output", "run", *options).status == 0
    assert cli("train", "--output", "run").status == 0
    assert cli("train", "--output", "run", "--probe", "every:50").status == 0
    assert kept == [wish("log:3", math.inf, 7), None, wish("every:50", 0.05, 256)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--probe often", "a schedule must be every:N or log:N in steps, epochs:N, or at:N,N,..., got 'often'"),
        ("--probe every:0", "steps must be a whole number >= 1, got 0; 1 measures after every step"),
        ("--probe every:1 --probe-budget 0", "budget must be a share of the training time, a number > 0, got 0.0;"),
        ("--probe every:1 --probe-budget nan", "budget must be a share of the training time, a number > 0, got nan;"),
        ("--probe every:1 --probe-samples 1", "--probe-samples must be a whole number >= 2, got 1; the noise is a sc"),
    ],
)
def test_a_mistake_is_told_before_training(options: str, told: str, cli: Callable[..., Done], tmp_path: Path) -> None:
    done = cli("train", "--output", tmp_path / "run", *options.split())
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"landscape train: {told}")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
