"""Runs over grids: which they are, and that their table holds their numbers. Blind to training itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from analysis.store import Measurement, Variable, write
from gcsam.training import TrainConfig
from landscape.records.layout import RUN_FILE
from landscape.study.config import StudyConfig
from landscape.study.parts import Sweep
from landscape.study.sweeps import DEFAULTS, points, sweep_tables, swept_methods

CONFIG = StudyConfig(
    methods={"sgd": {}, "sam": {"rho": 0.1}, "gcsam": {}},
    seeds=2,
    sweep=Sweep(rho=(0.05, 0.1), label_noise=(0.0, 0.4)),
)


def test_the_defaults_are_those_of_training() -> None:
    assert {name: TrainConfig.model_fields[name].default for name in DEFAULTS} == DEFAULTS


def test_each_run_is_on_its_grid_and_one_of_the_study_is_used_as_it_is(tmp_path: Path) -> None:
    """Fails if a run of the study is done twice, or sgd is swept over a radius it has not."""
    found = points(CONFIG, tmp_path, {})
    folders = [str(point.folder.relative_to(tmp_path)) for point in found if point.job.seed == 1]
    assert folders == [
        *("sweeps/sam-rho0.05-seed1", "runs/sam-seed1", "runs/gcsam-seed1", "sweeps/gcsam-rho0.1-seed1"),
        *("runs/sgd-seed1", "sweeps/sgd-label_noise0.4-seed1"),
        *("runs/sam-seed1", "sweeps/sam-label_noise0.4-seed1"),
        *("runs/gcsam-seed1", "sweeps/gcsam-label_noise0.4-seed1"),
    ]
    assert [point.is_base for point in found] == [point.folder.parent.name == "runs" for point in found]
    swept = next(point for point in found if point.folder.name == "sam-rho0.05-seed1")
    assert swept.job.settings == {"method": "sam", "rho": 0.05, "seed": 1}
    assert (swept.job.measurements, swept.job.may_diverge) == (None, True)
    noisy = next(point for point in found if point.folder.name == "sam-label_noise0.4-seed1")
    assert noisy.job.settings == {"method": "sam", "rho": 0.1, "label_noise": 0.4, "seed": 1}


def test_settings_that_were_found_are_those_around_which_is_swept(tmp_path: Path) -> None:
    chosen = {"sam": {"lr": 0.3, "rho": 0.05}}
    found = [point for point in points(CONFIG, tmp_path, chosen) if (point.setting, point.job.method) == ("rho", "sam")]
    assert {point.job.settings["lr"] for point in found} == {0.3}
    assert [point.value for point in found if point.is_base] == [0.05, 0.05]


def test_named_methods_alone_are_swept() -> None:
    sweep = Sweep(rho=(0.1, 0.2), label_noise=(0.0, 0.4), methods=("sgd", "gcsam"))
    named = dataclasses.replace(CONFIG, sweep=sweep)
    assert swept_methods(named, "rho") == ["gcsam"]
    assert swept_methods(named, "label_noise") == ["sgd", "gcsam"]
    assert swept_methods(dataclasses.replace(CONFIG, methods={"sam": {"rho": 0.0}}), "rho") == []


def test_the_table_holds_each_number_and_none_where_a_run_diverged(tmp_path: Path) -> None:
    found = points(CONFIG, tmp_path, {})
    for place, folder in enumerate(dict.fromkeys(point.folder for point in found)):
        if folder.name != "gcsam-rho0.1-seed0":
            numbers = {"test": place, "validation": place + 0.25, "train": place + 0.5}
            variables = {f"{name}_accuracy": Variable(np.array(value)) for name, value in numbers.items()}
            folder.mkdir(parents=True)
            write(folder / RUN_FILE, "training", "summary", Measurement("", variables))
    rho, noise = sweep_tables(CONFIG, tmp_path, {})
    assert (rho.setting, rho.values, rho.method, rho.seed) == ("rho", (0.05, 0.1), ("sam", "gcsam"), (0, 1))
    np.testing.assert_array_equal(rho.numbers["test_accuracy"], [[[0, 1], [4, 5]], [[2, np.nan], [6, 7]]])
    np.testing.assert_array_equal(rho.numbers["validation_accuracy"][0], [[0.25, 1.25], [4.25, 5.25]])
    assert noise.numbers["test_accuracy"].shape == (3, 2, 2)
    assert noise.numbers["test_accuracy"][1, 0, 0] == 1  # the study's own run of sam
    assert sweep_tables(StudyConfig(), tmp_path, {}) == []


def test_learning_rates_are_those_of_every_method_around_what_was_found(tmp_path: Path) -> None:
    swept = dataclasses.replace(CONFIG, seeds=1, sweep=Sweep(lr=(0.05, 0.1)))
    found = points(swept, tmp_path, {"sam": {"lr": 0.1, "rho": 0.2}})
    assert [(p.job.method, p.job.settings["lr"], p.is_base) for p in found] == [
        *(("sgd", 0.05, True), ("sgd", 0.1, False)),
        *(("sam", 0.05, False), ("sam", 0.1, True)),
        *(("gcsam", 0.05, True), ("gcsam", 0.1, False)),
    ]
    assert [p.job.settings.get("rho") for p in found if p.job.method == "sam"] == [0.2, 0.2]


@pytest.mark.parametrize("setting", ["rho", "label_noise"])
def test_a_setting_that_is_not_swept_has_no_table(tmp_path: Path, setting: str) -> None:
    alone = dataclasses.replace(CONFIG, sweep=Sweep(**{setting: CONFIG.sweep.grids()[setting]}))
    assert [table.setting for table in sweep_tables(alone, tmp_path, {})] == [setting]
