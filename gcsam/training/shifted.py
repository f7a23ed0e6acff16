"""A split of images with its inputs shifted: the same images and labels, corrupted.

Right when the same seed gives the same images whatever is done with them afterwards, and severity 0 gives the split
itself (`tests/gcsam/training/test_shifted.py`). Cost: that of the corruption, and memory for the images as float32.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from gcsam.training.corruptions import corrupt
from gcsam.training.seeds import stream_seed
from gcsam.training.splits import Split, Splits

__all__ = ["shifted", "span_of"]

# Images corrupted at a time; part of what a seed means, since each piece has a seed of its own.
_PIECE = 512


def span_of(data: Splits) -> tuple[float, float]:
    """Return the darkest and the brightest value of the training images: the range that corruptions are a share of.

    Args:
        data: With grey values 0 to 16, 0 to 255 or any other.

    Returns:
        The two values; (v, v + 1) where all images are of one value v.
    """
    low, high = float(data.train.images.min()), float(data.train.images.max())
    return low, high if high > low else low + 1.0


def shifted(split: Split, name: str, severity: float, *, seed: int, span: tuple[float, float]) -> Split:
    """Return a split whose images are corrupted, and normalized with the mean and deviation of the clean ones.

    Args:
        split: The clean images; not written to.
        name: A name of `CORRUPTIONS`.
        severity: From 0, which returns the split itself, to 5.
        seed: Of what is drawn at random.
        span: As from `span_of`.

    Returns:
        Images as float32, not rounded, so that a small severity is no smaller than a step of grey; same labels.

    Raises:
        ValueError: No such corruption, or a severity out of range.
    """
    if severity == 0:
        return split
    pieces = [
        corrupt(images.to(torch.float32), name, severity, seed=stream_seed(seed, number), span=span)
        for number, images in enumerate(torch.split(split.images, _PIECE))
    ]
    return replace(split, images=torch.cat(pieces))
