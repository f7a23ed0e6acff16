"""What every reader returns, checked: images [N, C, H, W] as they came, and class labels [N].

Right when each kind of array that cannot be trained on is one line (`tests/gcsam/training/test_readers.py`).
Cost: one pass over floating-point images, to find values that are not finite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Images", "checked"]

Images = tuple[Tensor, Tensor]
"""Images [N, C, H, W], uint8 or float32, and labels [N], int64."""


def checked(images: Any, labels: Any, where: str) -> Images:
    """Return images and labels in the one form used inside.

    Args:
        images: [N, C, H, W] or [N, H, W]; a tensor or an array of uint8 or numbers.
        labels: [N] or [N, 1], whole numbers from 0.
        where: Begins the message.

    Returns:
        The pair, on the CPU.

    Raises:
        ValueError: Other shapes or types, no images, values that are not finite.
    """
    x, y = _tensor(images, where, "images"), _tensor(labels, where, "labels")
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4:
        raise ValueError(f"{where}: images must be [N, C, H, W] or [N, H, W], got shape {list(x.shape)}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) != len(x):
        raise ValueError(
            f"{where}: labels must be one class per image, [{len(x)}] or [{len(x)}, 1], got shape {list(y.shape)}"
        )
    if x.numel() == 0:
        raise ValueError(f"{where}: there are no images, got shape {list(x.shape)}")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool or int(y.min()) < 0:
        raise ValueError(f"{where}: labels must be whole numbers from 0, got {y.dtype} from {y.min().item()}")
    if x.is_complex():
        raise ValueError(f"{where}: images must be real, got {x.dtype}")
    if x.dtype != torch.uint8:
        x = x.to(torch.float32)
        if not bool(x.isfinite().all()):
            raise ValueError(f"{where}: images must be finite; {int((~x.isfinite()).sum())} values are NaN or infinite")
    return x.contiguous(), y.to(torch.int64)


def _tensor(values: Any, where: str, what: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.ascontiguousarray(values)
        if array.dtype == np.uint16:  # torch cannot do much with it
            array = array.astype(np.int32)
        return torch.from_numpy(array.copy())
    except (TypeError, ValueError):
        raise ValueError(
            f"{where}: {what} must be a tensor or an array of numbers, got {type(values).__name__}"
        ) from None
