"""What several tests share: the command line called in this process, one small study and one small trained run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from gcsam.training import TrainConfig
from landscape.cli import app
from landscape.measuring.training import train_run
from landscape.progress import Display

# Four runs of two epochs on 120 images; about ten seconds.
STUDY = ("study", "digits", "--quick", "--seeds", "1", "--points", "3")
TINY = TrainConfig(model="mlp", epochs=2, train_limit=60, test_limit=30, device="cpu")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Call the command line in this process; nothing it raises but its exit gets through."""
    monkeypatch.setenv("COLUMNS", "200")  # for help; results have a width of their own
    monkeypatch.setattr(sys, "path", list(sys.path))  # the user's folder is put in front of it

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            typer.main.get_command(app).main([str(argument) for argument in arguments], prog_name="landscape")
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Do a small study once, as a user would; its folder, which is not to be changed, and what went into the pipe."""
    folder = tmp_path_factory.mktemp("study") / "runs" / "small"
    command = [sys.executable, "-m", "landscape", *STUDY, "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder, done.stdout


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a small run once; its folder, which is not to be changed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_run(TINY, folder, Display())
    return folder
