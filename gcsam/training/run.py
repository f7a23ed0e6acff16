"""A training run as its files tell it: history, summary, selected weights.

Right when a run read back equals what `train` returned (`tests/gcsam/training/test_run.py`). Cost: reads one file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gcsam.training.checkpoint import CHECKPOINT, SELECTED, load_file
from gcsam.training.config import TrainConfig, resolve_device
from gcsam.training.data import load_data
from gcsam.training.models import build_model
from gcsam.training.splits import Splits

__all__ = ["TrainRun", "load_run"]


@dataclass(frozen=True, eq=False)
class TrainRun:
    """A run on disk, finished or not.

    Args:
        config: Its settings.
        directory: Where its files are.
        history: One entry per finished epoch, the first after epoch 1: epoch; train_loss and train_accuracy (means
            over the epoch's batches, at the weights before each step); validation_loss and validation_accuracy;
            learning_rate (of the epoch's first step); gradient_norm (root mean square of ||g|| over the epoch's
            batches; where several processes perturb locally, of the first one's shares); seconds (of its steps);
            gradient_evaluations (batch gradients since the start); ascent_ratio_total, q = ||Pg|| / ||g|| of the
            epoch's first batch, and ascent_ratio [epoch, layer], the same for each layer, NaN where g = 0. One entry
            per step: step_loss, step_seconds. With a drift also severity (0 before the stream begins), online_accuracy
            (train_accuracy of an hour of the stream) and current_accuracy (on validation images corrupted as the hour
            was), NaN before. Losses are mean cross entropies in nats (train_loss and step_loss with
            the label smoothing asked for); accuracies are fractions.
        layers: Names of the weights that P acts on, in the order of ascent_ratio.
        summary: Empty until the run is finished. Of the selected weights: selected_epoch, and loss and accuracy as
            train_*, validation_*, test_*. Of the run: seconds, step_seconds_median, step_memory_bytes
            (peak of the second step, NaN where there was one only), num_parameters, method, seed, rho (0 where the
            method has no ascent), and with a drift online_accuracy, the mean over the stream's images.
    """

    config: TrainConfig
    directory: Path
    history: dict[str, np.ndarray[Any, Any]]
    layers: tuple[str, ...]
    summary: dict[str, float | int | str]
    data_shape: Mapping[str, Any]

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done and the selected weights evaluated."""
        return bool(self.summary)

    def model(self, device: torch.device | str | None = None) -> nn.Module:
        """Build the network with the selected weights, in eval mode.

        Args:
            device: Instead of the configuration's.

        Returns:
            The network; the caller's random state is left as it was.

        Raises:
            FileNotFoundError: No epoch is finished.
        """
        weights = load_file(self.directory / SELECTED)["model"]
        with torch.random.fork_rng(devices=[]):
            model = build_model(self.config.model, **self.data_shape)
        model.load_state_dict(weights)
        return model.to(resolve_device(self.config.device) if device is None else device).eval()

    def splits(self, device: torch.device | str | None = None) -> Splits:
        """Read the run's data again: the same images in the same splits.

        Args:
            device: Instead of the configuration's.

        Returns:
            All three splits.
        """
        return load_data(self.config, device)


def load_run(directory: str | os.PathLike[str]) -> TrainRun:
    """Read a run from its directory.

    Args:
        directory: As given to `train`.

    Returns:
        The run, which may be unfinished.

    Raises:
        ValueError: There is no run, or its file is broken.
    """
    directory = Path(directory)
    path = directory / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{directory}: holds no training run, {CHECKPOINT} is missing; train one there first")
    return run_of(load_file(path), directory)


def run_of(state: Mapping[str, Any], directory: Path) -> TrainRun:
    """Return the run a checkpoint's content describes.

    Args:
        state: As read from the file.
        directory: Where it lies.

    Raises:
        ValueError: It is a file of something else.
    """
    try:
        return TrainRun(
            config=TrainConfig.from_json(state["config"]),
            directory=directory,
            history={name: values.numpy() for name, values in state["history"].items()},
            layers=tuple(state["layers"]),
            summary=dict(state["summary"]),
            data_shape=dict(state["data_shape"]),
        )
    except KeyError as error:
        raise ValueError(
            f"{directory / CHECKPOINT}: is no file of a training run (it lacks {error}); remove it to start again"
        ) from None
