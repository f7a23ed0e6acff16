"""From what was given on the command line to networks ready to be measured: run folders, or the user's own.

Every mistake is found before the first measurement starts. Right when a run is measured with the weights selected on
its validation split, on its own training data (`tests/landscape/network/test_opening.py`).
Cost: loading data and weights, and one batch to see that model, data and loss fit together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.network.own import check_one_kind, own_subject
from landscape.network.subject import Subject
from landscape.options import TRAIN, Given
from landscape.progress import Display
from landscape.records.identity import samples_before
from landscape.records.layout import RUN_FILE, SELECTED

if TYPE_CHECKING:
    from gcsam.training import Splits, TrainRun
    from gcsam.training.team import Team

# Input numbers in a batch of a run's images: 128 of CIFAR-10. Our choice, because a Hessian product of a ResNet-18 then
# stays within a few GB; how the data are cut changes no result.
BATCH_NUMBERS, MAX_BATCH = 128 * 3 * 32 * 32, 1024
# Our choice, because a ResNet-20 is then measured in minutes on two cores; the numbers are those of these images.
SAMPLES = 500
# Splits of a run that can be measured beside its training data.
BESIDE = ("validation", "test")
WORDS = {TRAIN: "training"}


def subjects(given: Given, display: Display, team: Team | None = None) -> Iterator[Subject]:
    """Open one network after the other, so that only one is held in memory.

    Args:
        given: From the command line.
        display: Told what was done to the names of weights.
        team: The processes that measure together, each on its own device; None is this one alone.

    Yields:
        Each network.

    Raises:
        ValueError: Both or neither of run folders and an own network, an incomplete one, or any part that is wrong.
        FileNotFoundError: A folder or file that is not there.
    """
    check_one_kind(given)
    if given.output is not None and not given.output.resolve().parent.is_dir():
        raise FileNotFoundError(f"--output {given.output}: no folder {given.output.resolve().parent}; make it first")
    device = given.device.resolve() if team is None else str(team.device)
    if not given.runs:
        yield own_subject(given, display, device)
        return
    if given.test_data:
        raise ValueError(f"--test-data {given.test_data}: for runs give --split test")
    if given.output is not None and len(given.runs) > 1:
        raise ValueError(f"--output {given.output}: one file cannot hold {len(given.runs)} runs; leave it out")
    check_samples(given.samples)
    opened = [open_run(folder_of(path)) for path in given.runs]
    for run in opened:
        target = given.output or run.directory / (RUN_FILE if given.on == TRAIN else f"{given.on}.h5")
        yield run_subject(
            run,
            device,
            limit=limit_of(given.samples, samples_before(target) or SAMPLES),
            output=target,
            on=given.on,
            beside=given.splits,
            batchnorm=given.batchnorm,
            writes=team is None or team.is_first,
        )


def open_run(folder: Path) -> TrainRun:
    """Read a finished run.

    Args:
        folder: That `landscape train` wrote.

    Returns:
        The run.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no run, or one whose training stopped.
    """
    from gcsam.training import load_run

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give one that landscape train wrote")
    run = load_run(folder)
    if not run.is_finished:
        raise ValueError(
            f"{folder}: the training stopped after {len(run.history['epoch'])} of {run.config.epochs} epochs; give the "
            "same landscape train command again to finish it"
        )
    return run


def run_subject(
    run: TrainRun,
    device: str,
    *,
    limit: int | None = None,
    output: Path | None = None,
    splits: Splits | None = None,
    beside: Sequence[str] = (),
    on: str = TRAIN,
    batchnorm: str = "eval",
    writes: bool = True,
) -> Subject:
    """Open a finished run: the weights selected on its validation split, with its own data and its own loss.

    Its history and summary are written into the result file, if they are not there.

    Args:
        run: Finished.
        device: Where to compute.
        limit: At most so many images, the first of a fixed shuffle; None takes all.
        output: Result file; None for the run's own.
        splits: The run's data, where they are at hand.
        beside: Names of further splits to measure on, "validation" or "test", with the same limit.
        on: The split that is measured: "train", "validation" or "test".
        batchnorm: "eval" or "recalibrate".
        writes: Whether this process writes into the result file.

    Returns:
        The network, ready to be measured.

    Raises:
        ValueError: Another split.
    """
    import torch

    from analysis import Objective
    from analysis.store import sha256_file
    from landscape.records.trained import write_training

    splits = (run.splits("cpu") if splits is None else splits).to("cpu")
    path = run.directory / RUN_FILE if output is None else output
    if writes:
        write_training(run, splits, path)
    unknown = [name for name in beside if name not in BESIDE]
    if unknown:
        raise ValueError(f"--split must be {' or '.join(BESIDE)}, got {unknown[0]!r}")
    chosen = getattr(splits, on).to(device)
    batch_size = min(max(BATCH_NUMBERS // chosen.images[0].numel(), 1), MAX_BATCH)
    batches = chosen.all_batches(batch_size, limit)
    return Subject(
        title=f"{run.config.model} with {run.config.method}, seed {run.config.seed}",
        path=path,
        objective=Objective(run.model(device), torch.nn.CrossEntropyLoss(), batches, batchnorm=batchnorm),
        checkpoint_sha256=sha256_file(run.directory / SELECTED),
        config=run.config.to_json(),
        data=f"{len(batches.split)} of {len(chosen)} {WORDS.get(on, on)} images of {run.config.data}",
        num_samples=len(batches.split),
        splits={name: getattr(splits, name).to(device).all_batches(batch_size, limit) for name in beside},
    )


def folder_of(path: Path) -> Path:
    """Return the folder of a run, given as such or by the result file in it.

    Args:
        path: From the command line.
    """
    return path.parent if path.name == RUN_FILE else path


def check_samples(samples: str) -> None:
    """Refuse what is no number of samples.

    Args:
        samples: From the command line.

    Raises:
        ValueError: It is neither empty, nor "all", nor a number of at least 2.
    """
    if samples not in {"", "all"} and not (samples.isdecimal() and int(samples) >= 2):
        raise ValueError(f"--samples must be all or a number of at least 2, got {samples!r}")


def limit_of(samples: str, before: int) -> int | None:
    """Return how many images to measure on, None for all.

    Args:
        samples: From the command line.
        before: Taken without a wish: as many as before, for one file is on the same data.
    """
    if samples == "all":
        return None
    return int(samples) if samples else before
