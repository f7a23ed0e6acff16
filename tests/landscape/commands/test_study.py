"""`landscape study`: the options reach the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import landscape.study.running
from landscape.options import Device
from landscape.study.config import StudyConfig, reduced
from landscape.study.named import find_study
from tests.landscape.conftest import Done

HOW = {"device": Device.AUTO, "workers": None, "quiet": False, "executor": "process", "retry": False}
DIGITS = find_study("digits", {})
CIFAR = find_study("cifar10", {"root": "/data"})
XRAYS = find_study("pneumonia", {"data": "npz:x.npz"})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[StudyConfig, Path, dict[str, Any]]]:
    kept: list[tuple[StudyConfig, Path, dict[str, Any]]] = []
    monkeypatch.setattr(
        landscape.study.running, "run_study", lambda config, folder, **rest: kept.append((config, folder, rest))
    )
    return kept


@pytest.mark.parametrize(
    ("arguments", "config", "folder"),
    [
        ("", DIGITS, "runs/digits"),
        ("digits --seeds 5", dataclasses.replace(DIGITS, seeds=5), "runs/digits"),
        ("digits --points 9 --output there", dataclasses.replace(DIGITS, points=9), "there"),
        ("--quick", reduced(DIGITS), "runs/digits-quick"),
        ("cifar10 --root /data", CIFAR, "runs/cifar10"),
        ("pneumonia --data npz:x.npz --output there", XRAYS, "there"),
        ("--quick --points 25", dataclasses.replace(reduced(DIGITS), points=25), "runs/digits-quick"),
    ],
)
def test_options_reach_the_settings(
    arguments: str,
    config: StudyConfig,
    folder: str,
    cli: Callable[..., Done],
    started: list[tuple[StudyConfig, Path, dict[str, Any]]],
) -> None:
    assert cli("study", *arguments.split()).status == 0
    assert started == [(config, Path(folder), HOW)]


def test_how_it_runs_is_no_setting(
    cli: Callable[..., Done], started: list[tuple[StudyConfig, Path, dict[str, Any]]]
) -> None:
    rest = ("--device", "cpu", "--quiet", "--executor", "serial", "--retry")
    for name in ("--jobs", "--workers"):  # the second is the older name
        assert cli("study", name, "3", *rest).status == 0
    how = {"device": Device.CPU, "workers": 3, "quiet": True, "executor": "serial", "retry": True}
    assert started == [(DIGITS, Path("runs/digits"), how)] * 2
