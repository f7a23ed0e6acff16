"""Augmentation of a whole batch on the device its images are on: random crops and flips.

Zero padding of an eighth of the side (4 pixels for 32), a crop of the old size, and a horizontal flip with probability
one half, as He et al. (arXiv 1512.03385, sec. 4.2) train on CIFAR-10. The images are normalized before, so zero is the
mean. Right when every image is one of the crops that can be cut, each equally often
(`tests/gcsam/training/test_augment.py`). Cost: one gather; three numbers per image are drawn on the CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["AUGMENTATIONS", "crop_flip"]

AUGMENTATIONS = ("none", "crop-flip")


def crop_flip(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Return randomly shifted and flipped images.

    Args:
        inputs: [B, C, H, W], normalized; not written to.
        generator: On the CPU, so that a seed means the same on every device.

    Returns:
        [B, C, H, W]
    """
    size, _, height, width = inputs.shape
    down, right = _shifts(size, height, generator), _shifts(size, width, generator)
    flips = torch.randint(0, 2, (size, 1), generator=generator).bool()
    columns = torch.arange(width).expand(size, width)
    rows = down + torch.arange(height)
    columns = right + torch.where(flips, columns.flip(1), columns)
    pad = (width // 8, width // 8, height // 8, height // 8)
    image = torch.arange(size, device=inputs.device)[:, None, None]
    at = (image, slice(None), rows[:, :, None].to(inputs.device), columns[:, None, :].to(inputs.device))
    return F.pad(inputs, pad)[at].permute(0, 3, 1, 2).contiguous()


def _shifts(size: int, side: int, generator: torch.Generator) -> Tensor:
    """Return where each crop begins, [B, 1]: from 0 to twice the padding."""
    return torch.randint(0, 2 * (side // 8) + 1, (size, 1), generator=generator)
