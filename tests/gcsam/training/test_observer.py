"""When an observer is called, and what it is shown. Blind to what observers do: those must leave things as they are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from gcsam.training import Moment, TrainConfig, train
from gcsam.training.checkpoint import load_file
from gcsam.training.schedules import learning_rate
from tests.gcsam.training.small import small
from tests.gcsam.training.test_resume import Stop, same, without_times


def seen(config: TrainConfig, path: Path, stop: int | None = None) -> list[tuple[int, int, bool, float]]:
    kept = []

    def observer(moment: Moment) -> None:
        assert not moment.optimizer.is_perturbed
        rate = moment.optimizer.param_groups[0]["lr"]
        kept.append((moment.step, moment.epoch, moment.ends_epoch, rate))
        if moment.step == stop:
            raise Stop

    train(config, path, observer=observer)
    return kept


@pytest.mark.parametrize("method", ["sgd", "gcsam"])
def test_it_is_called_before_the_first_step_and_after_each(method: str, tmp_path: Path) -> None:
    """Two epochs of 4 batches; the rate is that of the step just done, and at first that of the step to come."""
    config = small(method=method, schedule="onecycle", lr=0.1)
    rates = [learning_rate("onecycle", 0.1, max(step - 1, 0), 8) for step in range(9)]
    assert rates[0] != 0.1
    assert seen(config, tmp_path / "run") == [
        (step, step // 4, step in {4, 8}, pytest.approx(rates[step])) for step in range(9)
    ]


def test_after_a_stop_it_is_called_with_the_step_that_was_saved(tmp_path: Path) -> None:
    config = small(epochs=3)
    with pytest.raises(Stop):
        seen(config, tmp_path / "run", stop=6)
    assert [step for step, *_ in seen(config, tmp_path / "run")] == list(range(4, 13))


def test_a_finished_run_is_shown_to_nobody(tmp_path: Path) -> None:
    train(small(), tmp_path / "run")
    assert seen(small(), tmp_path / "run") == []


def test_the_weights_it_sees_are_those_of_the_step(tmp_path: Path) -> None:
    kept: list[dict[str, torch.Tensor]] = []

    def observer(moment: Moment) -> None:
        kept.append({name: tensor.clone() for name, tensor in moment.model.state_dict().items()})

    train(small(trajectory_every_steps=1), tmp_path / "run", observer=observer)
    stored = [load_file(path)["model"] for path in sorted((tmp_path / "run" / "trajectory").glob("step*"))]
    assert len(stored) == len(kept) == 9
    assert all(same(a, b) for a, b in zip(kept, stored, strict=True))


def test_its_time_is_no_time_of_the_training(tmp_path: Path) -> None:
    """Fails if slow watching makes a method look slow: 9 calls of 0.1 s beside steps of about a millisecond."""

    def slow(moment: Moment) -> None:
        time.sleep(0.1)

    began = time.perf_counter()
    run = train(small(), tmp_path / "run", observer=slow)
    assert time.perf_counter() - began > 9 * 0.1
    assert run.history["seconds"].sum() < 4 * 0.1
    assert run.history["step_seconds"].sum() <= run.history["seconds"].sum()


def test_a_run_that_is_watched_is_the_same_run(tmp_path: Path) -> None:
    seen(small(method="gcsam"), tmp_path / "watched")
    train(small(method="gcsam"), tmp_path / "alone")
    watched, alone = (without_times(load_file(tmp_path / name / "checkpoint.pt")) for name in ("watched", "alone"))
    assert same(watched, alone)
