"""The training loop: any method, one code path, resumable bit for bit after every epoch.

Right when a stopped run ends like one that was not stopped, bit for bit on a CPU, and when selection never sees the
test split (`tests/gcsam/training/test_loop.py`, `test_resume.py`). Cost: that of `gcsam.training.trainer`, and a file
per epoch. On CUDA a resumed run repeats the other up to the order in which kernels add.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gcsam.training.checkpoint import CHECKPOINT, load_file
from gcsam.training.config import TrainConfig, resolve_device
from gcsam.training.data import load_data
from gcsam.training.observer import Observer
from gcsam.training.run import TrainRun, load_run, run_of
from gcsam.training.splits import Splits
from gcsam.training.team import Team
from gcsam.training.trainer import Trainer

__all__ = ["train"]

Progress = Callable[[int, int, dict[str, float]], None]


def train(
    config: TrainConfig,
    directory: str | os.PathLike[str],
    *,
    splits: Splits | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> TrainRun:
    """Train a network, or go on where a stopped run was; a finished run is returned at once.

    The caller's random state is left as it was. Called in several processes (under `torchrun`, or with
    `torch.distributed` initialized), it trains one network: each process takes its share of every batch, batch_size
    being that of the whole batch, and the first one writes.

    Args:
        config: What to do.
        directory: Gets `checkpoint.pt` after every epoch (from which a run goes on), `selected.pt` (the weights
            selected so far: {"model": state_dict, "config": JSON, "epoch": int}) and, if asked for, `trajectory/`.
        splits: `load_data(config)`, where many runs share it. None reads the data.
        progress: Called after each epoch as progress(epochs done, epochs, metrics), metrics being the epoch's row of
            the history; in the first process only.
        observer: Called with a `Moment` before the first step this call takes, and after every step; in the first
            process only, while the others wait. It must leave the training as it finds it. What it raises ends it.

    Returns:
        The finished run.

    Raises:
        ValueError: The directory holds a run with other settings; the data, network or device is not there.
        TrainingDiverged: The loss or gradient is not finite.
    """
    directory = Path(directory)
    path = directory / CHECKPOINT
    state = load_file(path) if path.is_file() else None
    if state is not None:
        run = run_of(state, directory)
        differences = run.config.differences(config)
        if differences:
            raise ValueError(
                f"{directory} holds a run with {'; '.join(differences)} as asked for; give the same settings or "
                "another directory"
            )
        if run.is_finished:
            return run
    with Team(resolve_device(config.device)) as team:
        data = load_data(config, team.device) if splits is None else splits.to(team.device)
        with torch.random.fork_rng(devices=[team.device] if team.device.type == "cuda" else []):
            _run(Trainer(config, directory, data, team, observer), state, progress)
    return load_run(directory)


def _run(trainer: Trainer, state: dict[str, Any] | None, progress: Progress | None) -> None:
    """Train from a state, or from the beginning, to the end."""
    team, epochs = trainer.team, trainer.config.epochs
    if state is None:
        trainer.save()
        trainer.keep_weights("epoch")
        trainer.keep_weights("step")
    else:
        trainer.load(state)
    if trainer.epoch < epochs:
        trainer.show(ends_epoch=False)
    while trainer.epoch < epochs:
        trainer.run_epoch()
        trainer.save()
        if progress is not None and team.is_first:
            progress(trainer.epoch, epochs, trainer.history.last())
    team.wait()
    if team.is_first:
        trainer.finish()
    team.wait()
