"""What a run would cost is what it then took: steps, gradients, measurements on the way; times are only shown."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import gcsam.training
from analysis.probe.quantities import QUANTITIES
from analysis.store import read
from gcsam.training import TrainConfig, TrainRun, train
from landscape.jobs.job import do_job
from landscape.jobs.measurements import MEASURED, ON_REQUEST, Measure
from landscape.progress import Display
from landscape.records.layout import RUN_FILE, TRAINING
from landscape.study.config import StudyConfig
from landscape.study.cost import PROBED, TIMED_STEPS, USUAL, Cost, cost_of, num_probes

DRIFT = {"method": "sam", "drift": "contrast", "drift_after": 1, "batch_size": 7}
SMALL = StudyConfig(
    train={"model": "mlp", "epochs": 3, "train_limit": 300, "test_limit": 30, "device": "cpu"},
    methods={"sgd": {}, "wide": {"method": "sam", "batch_size": 64}, "gcsam": {"rho": 0.0}, "stream": DRIFT},
    seeds=2,
    points=3,
    samples=50,
)


@pytest.mark.parametrize("method", SMALL.methods)
def test_counts_are_those_of_the_run(tmp_path: Path, method: str) -> None:
    """Fails if an ascent, its absence at rho 0, or the cut into equal batches is forgotten."""
    settings = TrainConfig(**SMALL.settings(method, 0))
    assert settings.batch_size * TIMED_STEPS != 300
    run = train(settings, tmp_path)
    cost = cost_of(SMALL, method, "cpu")
    assert cost.steps == len(run.history["step_loss"])
    assert cost.gradients == run.history["gradient_evaluations"][-1]
    assert cost.training > 0
    assert min(cost.measuring.values()) > 0


@pytest.mark.parametrize("probe", ["epochs:2", "every:4", "log:2"])
def test_a_probe_measures_as_often_as_was_said(tmp_path: Path, probe: str) -> None:
    measure = Measure((), probe, math.inf, 40, ("noise",))
    watched = dataclasses.replace(SMALL, methods={"sgd": {}}, seeds=1, measure=measure)
    (job,) = watched.jobs()
    do_job(job, tmp_path / "run", "cpu", Display())
    steps = cost_of(watched, "sgd", "cpu").steps
    rows = read(tmp_path / "run" / RUN_FILE, "training/probe").variables["step"].data
    assert num_probes(measure, steps, 3) == len(rows)


def test_a_probe_is_a_part_of_the_cost_by_its_samples_and_its_budget() -> None:
    """Fails if it is left out, or its budget; the factors between the times compared are over 30."""
    measure = Measure((), "every:1", math.inf, 300, ("lambda_max", "trace"))
    cost = cost_of(dataclasses.replace(SMALL, measure=measure), "sgd", "cpu")
    assert cost.probes == cost.steps + 1
    assert cost.watching > cost.training
    tight = dataclasses.replace(SMALL, measure=dataclasses.replace(measure, probe_budget=1e-9))
    assert cost_of(tight, "sgd", "cpu").watching < cost.watching


def test_steps_are_timed_with_one_thread_as_runs_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if they are timed with all: beside other work, small networks are then slower by a factor of ten."""
    seen = []

    def spy(config: TrainConfig, folder: Any) -> TrainRun:
        seen.append(torch.get_num_threads())
        return train(config, folder)

    monkeypatch.setattr(gcsam.training, "train", spy)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        cost_of(SMALL, "sgd", "cpu")
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_of_a_run_that_is_trained_what_is_left_are_its_measurements() -> None:
    cost = Cost(10, 20, 3, 100.0, 10.0, {"trace": 4.0, "surface": 2.0})
    assert cost.seconds((TRAINING, "trace", "surface")) == 116.0
    assert cost.seconds(("surface",)) == 2.0
    assert cost.seconds(()) == 0.0


def test_every_measurement_of_a_study_has_a_cost() -> None:
    asked = dataclasses.replace(SMALL, measure=Measure((*MEASURED, *ON_REQUEST)))
    keys = {stage.key for stage in asked.measurements().stages() if not stage.is_grid}
    assert keys == USUAL.keys()
    assert QUANTITIES.keys() == PROBED.keys()
    (job, *_) = asked.jobs()
    assert {TRAINING, *cost_of(asked, "sgd", "cpu").measuring} == set(job.remaining(Path("nowhere")))
