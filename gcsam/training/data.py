"""Labeled images in three splits, each one tensor on one device, cut into batches without copies of the whole.

Splits that a source does not bring are carved from its training images, class by class, with a seed that is fixed:
two runs that differ in their seed see the same test images. Right when the splits are disjoint, keep the share of
each class, and normalize to mean 0 and deviation 1 (`tests/gcsam/training/test_data.py`). Cost: the images stay in
memory as bytes where they came as bytes; on CUDA, on the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import torch
from torch import Tensor

from gcsam.training.config import TrainConfig, resolve_device
from gcsam.training.readers import Images, read

__all__ = ["SPLIT_SEED", "Batches", "Split", "Splits", "load_data"]

SPLIT_SEED = 20250111
"""Seed of everything that decides which image belongs where. Our choice, because some number it must be."""

# Our choices, because they are usual: a test set is 20% of data without one; validation is 20% of what is carved
# together with a test set, and 10% of a training set whose test set is apart.
_TEST_SHARE, _SMALL_VALIDATION_SHARE, _VALIDATION_SHARE = 0.2, 0.2, 0.1


@dataclass(frozen=True, eq=False)
class Split:
    """Images with labels, on one device.

    Args:
        images: [N, C, H, W], uint8 or floating point, as they came.
        labels: [N], int64, from 0.
        mean: [C], subtracted from every batch, in units of the images.
        std: [C], > 0, by which every batch is then divided.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, index: Tensor | slice) -> Tensor:
        """Return normalized images as float32.

        Args:
            index: Which ones.
        """
        images = self.images[index].to(torch.float32)
        return (images - self.mean[:, None, None]) / self.std[:, None, None]

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through all images once, in random order, in batches whose sizes differ by one at most.

        Args:
            batch_size: Of the largest batch, >= 1.
            generator: On the CPU; the order is drawn when the first batch is asked for.

        Yields:
            Inputs [B, C, H, W], float32 and normalized, and labels [B].
        """
        order = torch.randperm(len(self), generator=generator).to(self.labels.device)
        for index in order.tensor_split(self.num_batches(batch_size)):
            yield self.inputs(index), self.labels[index]

    def num_batches(self, batch_size: int) -> int:
        """Return how many batches an epoch has.

        Args:
            batch_size: Of the largest batch, >= 1.
        """
        return -(-len(self) // batch_size)

    def all_batches(self, batch_size: int, limit: int | None = None) -> Batches:
        """Return the images in a fixed order, to measure on: the same batches at every pass.

        Args:
            batch_size: Of all batches but the last.
            limit: At most so many images, the first of a fixed shuffle. None: all.

        Returns:
            A list of batches, each made when it is asked for.
        """
        return Batches(_limited(self, limit), batch_size)

    def to(self, device: torch.device | str) -> Split:
        """Return the split on another device.

        Args:
            device: Where to.
        """
        return Split(*(value.to(device) for value in (self.images, self.labels, self.mean, self.std)))


class Batches(Sequence[tuple[Tensor, Tensor]]):
    """Batches of a split in its own order, made when asked for, so that they take no memory of their own.

    Args:
        split: The images.
        batch_size: Of all batches but the last, >= 1.
    """

    def __init__(self, split: Split, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.split = split
        self.batch_size = batch_size

    def __len__(self) -> int:
        return self.split.num_batches(self.batch_size)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Tensor, Tensor]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Tensor, Tensor] | list[tuple[Tensor, Tensor]]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        start = range(len(self))[index] * self.batch_size
        part = slice(start, start + self.batch_size)
        return self.split.inputs(part), self.split.labels[part]


@dataclass(frozen=True, eq=False)
class Splits:
    """Training, validation and test images of one data set.

    Args:
        train: What is trained on; its mean and deviation normalize all three.
        validation: What is selected on.
        test: What is looked at once, at the end.
        num_classes: Labels are 0 to num_classes - 1.
        name: Of the data set.
    """

    train: Split
    validation: Split
    test: Split
    num_classes: int
    name: str

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.train.images.shape[2], self.train.images.shape[3]

    @property
    def shape(self) -> dict[str, Any]:
        """What a network is built for: in_channels, num_classes, image_size."""
        return {"in_channels": self.in_channels, "num_classes": self.num_classes, "image_size": self.image_size}

    def to(self, device: torch.device | str) -> Splits:
        """Return the splits on another device.

        Args:
            device: Where to.
        """
        train, validation, test = (split.to(device) for split in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test)


def load_data(config: TrainConfig, device: torch.device | str | None = None) -> Splits:
    """Read the data of a configuration, carve the splits it lacks, and put them on a device.

    Args:
        config: Its fields data, root, train_limit, test_limit, image_size and device count.
        device: Instead of the configuration's.

    Returns:
        The three splits.

    Raises:
        ValueError: The source is missing, or is not what it should be; one line.
    """
    found = read(config)
    target = resolve_device(config.device) if device is None else torch.device(device)
    splits = found if isinstance(found, Splits) else _assemble(found, config.data)
    if config.train_limit is None and config.test_limit is None:
        return splits.to(target)
    train = _limited(splits.train, config.train_limit)
    validation, test = (_limited(split, config.test_limit) for split in (splits.validation, splits.test))
    mean, std = _statistics(train.images)  # of the images that are used
    train, validation, test = (replace(split, mean=mean, std=std) for split in (train, validation, test))
    return replace(splits, train=train, validation=validation, test=test).to(target)


def _assemble(found: dict[str, Images], name: str) -> Splits:
    found = dict(found)
    share = _VALIDATION_SHARE if "test" in found else _SMALL_VALIDATION_SHARE / (1 - _TEST_SHARE)
    if "test" not in found:
        found["train"], found["test"] = _carve(found["train"], _TEST_SHARE, SPLIT_SEED, name)
    if "validation" not in found:
        found["train"], found["validation"] = _carve(found["train"], share, SPLIT_SEED + 1, name)
    mean, std = _statistics(found["train"][0])
    train, validation, test = (Split(*found[split], mean, std) for split in ("train", "validation", "test"))
    num_classes = 1 + max(int(split.labels.max()) for split in (train, validation, test))
    return Splits(train, validation, test, num_classes, name)


def _carve(images: Images, share: float, seed: int, name: str) -> tuple[Images, Images]:
    """Cut a share off each class, at least one image of every class that has two; return (rest, what was cut)."""
    inputs, labels = images
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    is_cut = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():  # type: ignore[no-untyped-call]
        members = order[labels[order] == label]
        is_cut[members[: min(max(1, round(share * len(members))), len(members) - 1)]] = True
    if not is_cut.any():
        raise ValueError(f"data {name!r} has too few images to split: no class has two; give more, or all splits")
    return (inputs[~is_cut], labels[~is_cut]), (inputs[is_cut], labels[is_cut])


def _limited(split: Split, limit: int | None) -> Split:
    if limit is None or limit >= len(split):
        return split
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}; None takes all images")
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(SPLIT_SEED))
    index = order[:limit].to(split.labels.device)
    return replace(split, images=split.images[index], labels=split.labels[index])


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel, in float64 channel by channel to spare memory; 1 where constant."""
    channels = [images[:, channel].to(torch.float64) for channel in range(images.shape[1])]
    mean = torch.stack([channel.mean() for channel in channels])
    std = torch.stack([channel.std(correction=0) for channel in channels])
    return mean.to(torch.float32), torch.where(std > 0, std, 1.0).to(torch.float32)
