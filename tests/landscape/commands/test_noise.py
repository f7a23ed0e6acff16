"""`landscape noise`: what is stored and printed, at the network's weights and at those that training kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import gradient_noise, load
from analysis.store import list_measurements, read
from gcsam.training.checkpoint import load_file
from landscape.measuring.training import train_run
from landscape.network.opening import open_run, run_subject
from landscape.progress import Display
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


def test_each_part_is_measured_on_the_split_asked_for(cli: Callable[..., Done], kept: Path) -> None:
    parts = ("--of", "batches", "--of", "tails", "--of", "weights", "--of", "spectrum", "--batch-sizes", "2,4")
    done = cli("noise", kept, *parts, "--on", "validation", "--samples", "all", "--seed", "1")
    assert (done.status, done.err) == (0, ""), done.err
    target = kept / "validation.h5"
    names = {"noise/minibatch", "noise/tails", "noise/snr", "noise/covariance"}
    assert names <= set(list_measurements(target))
    assert "noise/gradient_noise" not in list_measurements(target)
    assert load(target, "noise/minibatch").batch_sizes.tolist() == [2, 4]
    assert {int(read(target, name).variables["seed"].data) for name in names} == {1}
    run = open_run(kept)
    held_out = run.splits("cpu").validation
    assert f"{len(held_out)} of {len(held_out)} validation images" in str(
        read(target, "training/measured_data").variables["data"].data
    )
    for title in ("Do two batches agree", "Is the noise heavier", "In which layers", "Does the noise point"):
        assert title in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch-sizes", "2,x"), "--batch-sizes must be whole numbers with commas between, got '2,x'; 8,32,128 for"),
        (("--of", "batches", "--batch-sizes", "1000"), "batch_sizes must be whole numbers from 1 to"),
        (("--of", "sizes"), "'sizes' is not one of 'size', 'batches'"),
    ],
)
def test_mistakes_are_one_line(cli: Callable[..., Done], kept: Path, options: tuple[str, ...], message: str) -> None:
    refused = cli("noise", kept, *options)
    assert refused.status == 2
    assert message in refused.err
    assert refused.err.count("\n") == 1


def test_own_networks_have_no_splits(cli: Callable[..., Done], tmp_path: Path) -> None:
    own = "--model torch.nn:Linear --checkpoint no.pt --data no:data --loss no:loss".split()
    refused = cli("noise", *own, "--output", tmp_path / "x.h5", "--on", "test")
    assert refused.status == 2
    assert "--on test: is of a run" in refused.err
