"""`landscape train`: every option reaches the configuration, and defaults are those of `TrainConfig`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

import landscape.measuring.training
import landscape.tables.measured
from gcsam.training import DATA_NAMES, METHODS, MODELS, TrainConfig
from landscape.commands.train import train
from landscape.measuring.probing import ProbeWish, wish
from tests.landscape.conftest import Done

# Not offered: what is seldom wanted from the command line; a study's file takes all of it.
SWITCHES = {"centralize_ascent", "centralize_descent", "projection", "friendly", "friendly_decay", "eta"}
LEFT_OUT = {"select", "optimizer_options", *SWITCHES}
CHANGED = {
    "data": "npz:/tmp/a.npz",
    "root": "/tmp",
    "model": "mlp",
    "method": "sam",
    "rho": 0.2,
    "radius": "published",
    "optimizer": "RMSprop",
    "lr": 0.3,
    "momentum": 0.5,
    "weight_decay": 0.25,
    "epochs": 3,
    "batch_size": 7,
    "schedule": "constant",
    "seed": 9,
    "device": "cpu",
    "train_limit": 11,
    "test_limit": 12,
    "image_size": 13,
    "trajectory_every": 4,
    "trajectory_every_steps": 5,
    "label_noise": 0.1,
    "label_smoothing": 0.2,
    "augment": "crop-flip",
    "perturbation": "local",
}
# Beside each other: images that drift are not augmented.
DRIFT = {"drift": "contrast", "drift_severity": 1.5, "drift_after": 2, "drift_stream": "repeat"}


@pytest.fixture
def trained_with(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """Train nothing, and keep the configurations that would have been."""
    kept: list[TrainConfig] = []
    monkeypatch.setattr(landscape.measuring.training, "train_run", lambda config, *_: kept.append(config))
    monkeypatch.setattr(landscape.tables.measured, "trained_table", lambda path: f"table of {path}")
    return kept


def test_the_options_of_the_probe_reach_it(cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[ProbeWish | None] = []
    monkeypatch.setattr(landscape.measuring.training, "train_run", lambda *given: kept.append(given[3]))
    monkeypatch.setattr(landscape.tables.measured, "trained_table", lambda path: f"table of {path}")
    options = ("--probe=every:9", "--probe-budget=0.25", "--probe-samples=33", "--probe-of=noise", "--probe-of=trace")
    for given in (options, options[:3], ()):
        assert cli("train", "--model", "mlp", "--output", "there", *given).status == 0
    assert kept == [wish("every:9", 0.25, 33, ("noise", "trace")), wish("every:9", 0.25, 33), None]


def test_every_option_reaches_the_configuration(cli: Callable[..., Done], trained_with: list[TrainConfig]) -> None:
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in CHANGED.items()]
    done = cli("train", "--output", "run", "--adaptive", "--compile", *arguments)
    assert done.status == 0, done.err
    assert done.out == "table of run/run.h5\n"
    assert trained_with == [TrainConfig(**CHANGED, adaptive=True, compile=True)]
    assert {*CHANGED, *DRIFT, "adaptive", "compile"} == set(TrainConfig.model_fields) - LEFT_OUT
    defaults = TrainConfig().model_dump()
    assert all(value != defaults[name] for name, value in (CHANGED | DRIFT).items())


def test_a_drift_keeps_the_last_weights(cli: Callable[..., Done], trained_with: list[TrainConfig]) -> None:
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in DRIFT.items()]
    done = cli("train", "--output", "run", "--device", "cpu", *arguments)
    assert done.status == 0, done.err
    assert trained_with == [TrainConfig(**DRIFT, device="cpu")]
    assert trained_with[0].select == "last"


def test_without_options_it_is_the_default_configuration(
    cli: Callable[..., Done], trained_with: list[TrainConfig]
) -> None:
    assert cli("train", "--output", "run").status == 0
    assert trained_with == [TrainConfig(device=trained_with[0].device)]


def test_help_names_all_data_models_and_methods() -> None:
    texts = {name: str(parameter.annotation) for name, parameter in inspect.signature(train).parameters.items()}
    for option, names in (("data", DATA_NAMES), ("model", MODELS), ("method", METHODS)):
        assert all(name in texts[option] for name in names), option


def test_a_run_and_its_table(cli: Callable[..., Done], tmp_path: Path) -> None:
    options = ("--model", "mlp", "--epochs", 1, "--train-limit", 60, "--test-limit", 30, "--output", tmp_path / "run")
    done = cli("train", *options)
    assert done.status == 0, done.err
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0].startswith("training: done in ")
    assert any("weights of epoch 1" in line for line in lines)
    assert [line.split("│")[1].strip() for line in lines if "│" in line and "%" in line] == [
        "train",
        "validation",
        "test",
    ]
    again = cli("train", *options)
    assert again.out.splitlines()[0] == f"{tmp_path / 'run'}: trained before, nothing to do"
    assert again.out.splitlines()[1:] == lines[1:]
    assert cli("train", *options, "--quiet").out.splitlines() == lines[1:]
