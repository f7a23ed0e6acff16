"""Two processes train the network that one process trains; one of them writes.

The oracle is the loop of one process, which has tests against formulas of its own (`test_loop.py`). Dropout differs,
because each process draws its own masks; there the oracle is the run that was not stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gcsam.training import load_run, train
from gcsam.training.checkpoint import load_file
from tests.gcsam.training import parallel
from tests.gcsam.training.small import NETS, small
from tests.gcsam.training.test_resume import same
from tests.processes import in_two_processes

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("team")


@pytest.fixture(scope="module")
def both(folder: Path) -> list[Any]:
    return in_two_processes(partial(parallel.work, folder=str(folder)), folder)


def test_global_is_the_run_of_one_process(both: list[Any], folder: Path, tmp_path: Path) -> None:
    """Shares of 8 and 7 images; fails if processes count equally, or augment or climb differently."""
    alone = train(small(**parallel.RUNS["global"]), tmp_path)
    for name in ("checkpoint.pt", "selected.pt"):
        for key, value in load_file(tmp_path / name)["model"].items():
            # 8 steps in float32 with sums in another order: some tens of roundings of 6e-8 on weights of size 1
            torch.testing.assert_close(load_file(folder / "global" / name)["model"][key], value, rtol=0, atol=2e-5)
    for found in both:
        history = found["global"]["history"]
        assert history["step_loss"] == pytest.approx(alone.history["step_loss"], abs=2e-5)
        assert history["gradient_norm"] == pytest.approx(alone.history["gradient_norm"], rel=1e-4)
        assert history["train_accuracy"].tolist() == alone.history["train_accuracy"].tolist()
        assert found["global"]["summary"]["selected_epoch"] == alone.summary["selected_epoch"]


def test_local_is_another_run_that_learns_too(both: list[Any], folder: Path, tmp_path: Path) -> None:
    """What a local step is, is tested with the optimizer; here that the setting arrives there."""
    train(small(), tmp_path)
    alone, local = (load_file(path / "checkpoint.pt")["model"] for path in (tmp_path, folder / "local"))
    differences = [float((alone[name] - local[name]).abs().max()) for name in alone]
    assert max(differences) > 1e-4  # rounding gives 2e-5 at most
    history = both[0]["local"]["history"]
    assert history["train_loss"][1] < history["train_loss"][0]
    assert sorted(path.name for path in (folder / "local" / "trajectory").iterdir()) == [
        "step-0000000.pt",
        "step-0000003.pt",
        "step-0000006.pt",
    ]


def test_one_process_writes_and_talks_and_both_return_the_run(both: list[Any]) -> None:
    assert [found["global"]["calls"] for found in both] == [[1, 2], []]
    assert same(both[0]["global"]["summary"], both[1]["global"]["summary"])


def test_stopped_after_an_epoch_it_ends_bit_for_bit_the_same(both: list[Any], folder: Path) -> None:
    """Fails if the random state of the second process is lost, which its dropout needs."""
    whole, parts = (load_file(folder / name / "checkpoint.pt") for name in ("dropout", "stopped"))
    assert len(whole["noise"]) == len(both) == 2
    assert not torch.equal(whole["noise"][0]["cpu"], whole["noise"][1]["cpu"])
    assert same(whole["model"], parts["model"])
    assert same(whole["noise"], parts["noise"])


def test_another_number_of_processes_does_not_go_on(both: list[Any], folder: Path, tmp_path: Path) -> None:
    directory = tmp_path / "alone"
    directory.mkdir()
    state = load_file(folder / "dropout" / "checkpoint.pt")
    torch.save({**state, "summary": {}}, directory / "checkpoint.pt")
    with pytest.raises(ValueError, match="holds a run of 2 processes, got 1; go on with as many"):
        train(small(**parallel.RUNS["dropout"]), directory)


def test_a_batch_smaller_than_the_team_is_refused(both: list[Any]) -> None:
    assert "must give each of 2 processes an image, got a batch of 1; take larger batches" in both[0]["too few"]


def test_torchrun_starts_the_command(tmp_path: Path) -> None:
    """One run, one table, one result file."""
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "landscape", "train"]
    options = ["--data", f"{NETS}:data", "--model", "mlp", "--epochs", "2", "--batch-size", "16", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, *command, *options, "--output", str(tmp_path / "run")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training: done in") == 1
    assert done.stdout.count("validation ") == 1
    run = load_run(tmp_path / "run")
    assert run.is_finished
    alone = train(small(), tmp_path / "alone")
    assert run.history["step_loss"] == pytest.approx(alone.history["step_loss"], abs=2e-5)
