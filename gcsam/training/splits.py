"""Labeled images in three splits, each one tensor on one device, cut into batches without copies of the whole.

Right when an epoch is a permutation in even batches, and the batches to measure on are the same at every pass
(`tests/gcsam/training/test_splits.py`). Cost: the images stay in memory as bytes where they came as bytes; on CUDA, on
the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import torch
from torch import Tensor

__all__ = ["SPLIT_SEED", "Batches", "Split", "Splits", "limited"]

SPLIT_SEED = 20250111
"""Seed of everything that decides which image belongs where. Our choice, because some number it must be."""


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
        return Batches(limited(self, limit), batch_size)

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


def limited(split: Split, limit: int | None) -> Split:
    """Return a part of a split.

    Args:
        split: The whole.
        limit: At most so many images, the first of a fixed shuffle. None: all.

    Returns:
        The part, normalized like the whole.

    Raises:
        ValueError: A limit below 1.
    """
    if limit is None or limit >= len(split):
        return split
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}; None takes all images")
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(SPLIT_SEED))
    index = order[:limit].to(split.labels.device)
    return replace(split, images=split.images[index], labels=split.labels[index])
