"""Training on a stream of images whose distribution drifts: predict each batch, then train on it, hour by hour.

An hour is an epoch. After `drift_after` clean epochs the images of hour h of H are corrupted at severity
`drift_severity` * h / H. The accuracy on each batch at the weights before its step is the online (prequential) accuracy
(Gama, Sebastiao, Rodrigues, Machine Learning 90, 2013), in train mode, as the step sees it: a network with batch norm
predicts by the batch's own statistics. With `drift_stream="fresh"` no image of an hour was ever trained on before, so
that the online accuracy is one on unseen images; with "repeat" it is not, and flatters whoever remembers best.
Right when each hour holds the images it should at the level it should, and a stopped run ends like one that was not
(`tests/gcsam/training/test_drift.py`). Cost: one corruption of the hour's images and of the validation images, and one
evaluation of the latter, an hour; nothing without drift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gcsam.training.corruptions import CORRUPTIONS
from gcsam.training.evaluation import EVALUATION_BATCH, evaluate
from gcsam.training.functions import check_name
from gcsam.training.seeds import DRIFT, stream_seed
from gcsam.training.shifted import shifted, span_of
from gcsam.training.splits import Split, Splits

if TYPE_CHECKING:
    from gcsam.training.config import TrainConfig

__all__ = ["NO_DRIFT", "Stream", "check_drift"]

NO_DRIFT = "none"


def check_drift(config: TrainConfig) -> None:
    """Refuse settings that contradict a drift.

    Args:
        config: Whose other fields are checked.

    Raises:
        ValueError: One line: no such corruption, weights that are selected, images that are augmented, or no hour.
    """
    check_name(config.drift, [NO_DRIFT, *CORRUPTIONS], "drift")
    if config.drift == NO_DRIFT:
        return
    if config.select != "last":
        raise ValueError(
            f"select must be 'last' with drift, got {config.select!r}: a stream has no better epoch to go back to"
        )
    if config.augment != "none":
        raise ValueError(
            f"augment must be 'none' with drift, got {config.augment!r}: images are predicted as they come"
        )
    if config.drift_after >= config.epochs:
        raise ValueError(
            f"drift_after must be less than epochs ({config.epochs}), got {config.drift_after}; the rest are the hours "
            "of the stream"
        )


class Stream:
    """What each epoch of a run trains on; without drift the training split, always.

    Args:
        config: Its fields drift, drift_severity, drift_after, drift_stream, epochs, batch_size and seed count.
        data: On the device of the run.

    Raises:
        ValueError: Fewer images than hours, each of which is to have its own.
    """

    def __init__(self, config: TrainConfig, data: Splits) -> None:
        self._config, self._data = config, data
        self._hours = config.epochs - config.drift_after
        self._parts = _parts(config, len(data.train)) if config.drift != NO_DRIFT else None
        self._span = span_of(data)

    @property
    def drifts(self) -> bool:
        """Whether there is a drift."""
        return self._parts is not None

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        sizes = [self._size(epoch) for epoch in range(1, self._config.epochs + 1)]
        return sum(-(-size // self._config.batch_size) for size in sizes)

    def severity(self, epoch: int) -> float:
        """Return the level of an epoch, 0 before the stream begins.

        Args:
            epoch: From 1.
        """
        hour = epoch - self._config.drift_after
        if self._parts is None or hour < 1:
            return 0.0
        return self._config.drift_severity * hour / self._hours

    def train(self, epoch: int) -> Split:
        """Return what an epoch trains on.

        Args:
            epoch: From 1.
        """
        split = self._data.train
        if self._parts is None:
            return split
        index = self._parts[epoch - 1].to(split.labels.device)
        part = replace(split, images=split.images[index], labels=split.labels[index])
        return self._shifted(part, epoch, 0)

    def columns(self, model: nn.Module, epoch: int, accuracy: float) -> dict[str, float]:
        """Return the columns of the history that tell of the drift.

        Args:
            model: After the epoch.
            epoch: From 1.
            accuracy: On the epoch's batches, each at the weights before its step.

        Returns:
            severity; online_accuracy and current_accuracy, NaN before the stream begins. Nothing without drift.
        """
        if self._parts is None:
            return {}
        severity = self.severity(epoch)
        if severity == 0:
            return {"severity": 0.0, "online_accuracy": math.nan, "current_accuracy": math.nan}
        now = self._shifted(self._data.validation, epoch, 1)
        current = evaluate(model, now.all_batches(EVALUATION_BATCH))[1]
        return {"severity": severity, "online_accuracy": accuracy, "current_accuracy": current}

    def summary(self, history: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the mean over the images of the whole stream; nothing without drift.

        Args:
            history: Of the finished run.
        """
        if self._parts is None:
            return {}
        hours = range(self._config.drift_after + 1, self._config.epochs + 1)
        sizes = torch.tensor([self._size(epoch) for epoch in hours], dtype=torch.float64)
        online = history["online_accuracy"][self._config.drift_after :]
        return {"online_accuracy": float((online * sizes).sum() / sizes.sum())}

    def _size(self, epoch: int) -> int:
        return len(self._data.train) if self._parts is None else len(self._parts[epoch - 1])

    def _shifted(self, split: Split, epoch: int, which: int) -> Split:
        # a seed of its own for each hour needs no state in the checkpoint
        seed = stream_seed(self._config.seed, DRIFT, epoch, which)
        return shifted(split, self._config.drift, self.severity(epoch), seed=seed, span=self._span)


def _parts(config: TrainConfig, num_images: int) -> list[Tensor]:
    """Return which training images each epoch sees, in an order drawn from the seed of the run."""
    generator = torch.Generator().manual_seed(stream_seed(config.seed, DRIFT))
    order = torch.randperm(num_images, generator=generator)
    hours = config.epochs - config.drift_after
    if config.drift_stream == "repeat":
        return [order] * config.epochs
    before, stream = order.tensor_split([num_images // 2]) if config.drift_after else (order[:0], order)
    if len(stream) < hours or (config.drift_after and not len(before)):
        raise ValueError(
            f"drift_stream 'fresh' needs an image of its own for each of {hours} hours, got {len(stream)} images; give "
            "fewer epochs, or 'repeat'"
        )
    return [before] * config.drift_after + list(stream.tensor_split(hours))
