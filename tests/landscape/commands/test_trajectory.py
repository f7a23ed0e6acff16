"""`landscape trajectory` on trained runs: what is stored, two runs on one plane, going on, mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from analysis import Surface, Trajectory, load
from analysis.store import list_measurements
from gcsam.training.checkpoint import load_file
from landscape.measuring.training import train_run
from landscape.network.opening import open_run, run_subject
from landscape.progress import Display
from tests.landscape.conftest import TINY, Done


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two short runs that keep the weights of every epoch."""
    folder = tmp_path_factory.mktemp("kept")
    for name, method in (("one", "sgd"), ("other", "gcsam")):
        train_run(TINY.replace(trajectory_every=1, method=method), folder / name, Display())
    return folder / "one", folder / "other"


def test_one_run_on_its_own_plane(cli: Callable[..., Done], kept: tuple[Path, Path]) -> None:
    run = kept[0]
    done = cli("trajectory", run, "--points", "3", "--samples", "all")
    assert (done.status, done.err) == (0, ""), done.err
    found, plane = (load(run / "run.h5", name) for name in ("trajectory", "trajectory_plane"))
    assert isinstance(found, Trajectory)
    assert isinstance(plane, Surface)
    assert found.run_names == ("one",)
    assert torch.equal(plane.directions, found.directions)
    assert plane.extent.tolist() == [list(pair) for pair in found.extent()]
    objective = run_subject(open_run(run), "cpu").objective
    for number, loss in enumerate(found.loss.tolist()):
        weights = load_file(run / "trajectory" / f"epoch-{number:04d}.pt")["model"]
        assert objective.loss(weights) == loss
    assert "of the variance along its axes" in done.out
    assert "finished before, skipped" in cli("trajectory", run, "--points", "3").out
    assert "points [3, 3], asked for is [4, 4]" in cli("trajectory", run, "--points", "4").err


def test_two_runs_on_one_plane(cli: Callable[..., Done], kept: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "both.h5"
    done = cli("trajectory", *kept, "--points", "2", "--output", target)
    assert (done.status, done.err) == (0, ""), done.err
    found = load(target, "trajectory")
    assert isinstance(found, Trajectory)
    assert found.run_names == ("one", "other")
    assert found.run.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(found.coordinates[0], found.coordinates[3])  # the same seed: they begin at the same weights
    assert "surface/trajectory_plane" in list_measurements(target)


def test_mistakes_are_one_line(cli: Callable[..., Done], kept: tuple[Path, Path], trained: Path) -> None:
    for arguments, message in (
        (kept, "2 runs on one plane need --output FILE.h5"),
        ((trained,), "keeps 0 checkpoints of its training, a trajectory needs 2; train with --trajectory-every 1"),
        ((trained / "nowhere",), "no such folder; give one that landscape train wrote"),
    ):
        done = cli("trajectory", *arguments)
        assert done.status == 2, done.err
        assert message in done.err
        assert done.err.count("\n") == 1
