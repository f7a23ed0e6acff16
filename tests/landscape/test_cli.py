"""How a command ends: status and one line. The lines of each mistake are in `test_mistakes.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import landscape.records.layout
from analysis.batches import as_batches
from tests.landscape.conftest import Done


def raising(error: BaseException) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise error

    return call


def test_without_a_command_it_shows_help(cli: Callable[..., Done]) -> None:
    done = cli()
    assert done.status == 0
    assert done.out == cli("--help").out
    assert done.err == ""


def test_ctrl_c_is_one_line_with_the_command_to_go_on(
    cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(landscape.records.layout, "find_runs", raising(KeyboardInterrupt()))
    monkeypatch.setattr(sys, "argv", ["landscape", "verify", "a folder"])
    done = cli("verify", tmp_path)
    line = "landscape verify: stopped; finished work is kept. To go on: landscape verify 'a folder'\n"
    assert done == Done(130, "", line)


def test_a_mistake_is_one_line_and_2(cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(landscape.records.layout, "find_runs", lambda _: as_batches([]))
    done = cli("verify", tmp_path)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("landscape verify: data must hold at least one batch, got none;")
    assert done.err.count("\n") == 1


def test_a_full_disk_is_1(cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error = OSError(28, "No space left on device", "a.h5")
    monkeypatch.setattr(landscape.records.layout, "find_runs", raising(error))
    done = cli("verify", tmp_path)
    assert (done.status, done.err) == (1, "landscape verify: a.h5: no space left on device; check the path\n")


def test_a_bug_traces_back(cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fails if every ValueError is taken for the user's: a bug would hide its place."""
    monkeypatch.setattr(landscape.records.layout, "find_runs", lambda _: np.zeros(2).reshape(3))
    with pytest.raises(ValueError, match="cannot reshape"):
        cli("verify", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["stdy"], "landscape: no such command 'stdy'. Did you mean 'study'?; see landscape --help"),
        (["train"], "landscape train: missing option '--output'; see landscape train --help"),
        (["study", "--points", "many"], "landscape study: invalid value for '--points': "),
        (["measure", "--top", "0"], "landscape measure: invalid value for '--top': "),
        (["train", "--output", "x", "--device", "tpu"], "landscape train: invalid value for '--device': "),
        (["inspect", "a", "b"], "landscape inspect: got unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line_and_2(cli: Callable[..., Done], arguments: list[str], line: str) -> None:
    done = cli(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(line)
    assert done.err.count("\n") == 1


def test_a_wrong_option_names_the_nearest(cli: Callable[..., Done]) -> None:
    done = cli("train", "--output", "x", "--epoch", "3")
    assert done.status == 2
    assert "--epoch" in done.err
    assert "--epochs" in done.err
