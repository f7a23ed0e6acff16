"""`landscape noise`: what is stored and printed, at the network's weights and at those that training kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import gradient_noise, load
from analysis.store import list_measurements
from gcsam.training.checkpoint import load_file
from landscape.progress import Display
from landscape.subjects import open_run, run_subject
from landscape.training import train_run
from tests.landscape.conftest import TINY, Done


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run that keeps the weights of every epoch."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    train_run(TINY.replace(trajectory_every=1), folder, Display())
    return folder


def test_over_training_every_checkpoint_is_measured_at_its_weights(cli: Callable[..., Done], kept: Path) -> None:
    done = cli("noise", kept, "--over-training", "--samples", "all", "--seed", "2")
    assert (done.status, done.err) == (0, ""), done.err
    objective = run_subject(open_run(kept), "cpu").objective
    checkpoints = sorted((kept / "trajectory").glob("epoch-*.pt"))
    for number, path in enumerate(checkpoints):
        found = load(kept / "run.h5", f"noise/gradient_noise_epoch-{number:04d}")
        assert found == gradient_noise(objective, load_file(path)["model"], seed=2)
        assert f"│ epoch {number} " in done.out
    assert len(checkpoints) > 1
    assert load(kept / "run.h5", "noise/gradient_noise") == gradient_noise(objective, seed=2)
    assert f"of {len(checkpoints)} checkpoints" in done.out
    again = cli("noise", kept, "--over-training", "--seed", "2")
    assert "done in" not in again.out
    assert again.out.endswith(done.out[done.out.index("┏") :])


def test_the_answer_is_the_last_line(cli: Callable[..., Done], trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "noise.h5"
    done = cli("noise", trained, "--output", target)
    assert (done.status, done.err) == (0, ""), done.err
    assert "noise/gradient_noise" in list_measurements(target)
    assert "P keeps" in done.out.splitlines()[-1]
    assert "By layer, from" in done.out
    assert "over training" not in done.out


def test_over_training_needs_a_run_that_kept_its_weights(cli: Callable[..., Done], trained: Path, kept: Path) -> None:
    assert "train with --trajectory-every 1" in cli("noise", trained, "--over-training").err
    refused = cli("noise", kept, trained, "--over-training")
    assert (refused.status, refused.err) == (
        2,
        "landscape noise: --over-training needs one run folder, got 2; measure each by itself\n",
    )
