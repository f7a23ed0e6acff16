"""Data as given by the user, one form inside: something that can be iterated again and again, batch by batch.

Each full pass is fingerprinted by sums that do not depend on the order of the samples, so that data which change
between passes (random augmentation) are refused with the reason instead of giving a Hessian of nothing in particular.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


class NotRepeatable(RuntimeError):
    """Two evaluations at the same weights differ: the measured quantity would not be a function of the weights."""


def as_batches(data: Any) -> Iterable[Any]:
    """Return data that can be iterated repeatedly, one batch at a time.

    Args:
        data: A `DataLoader`, a list of batches, or one batch: a tensor, a mapping, or a pair that starts with a tensor.

    Returns:
        The data itself, or a list holding the one batch.

    Raises:
        ValueError: The data is missing, empty, or can be read only once.
    """
    one_batch = isinstance(data, (Tensor, Mapping))
    one_batch = one_batch or (isinstance(data, (tuple, list)) and bool(data) and isinstance(data[0], Tensor))
    if one_batch:
        return [data]
    if isinstance(data, Iterator):
        raise ValueError("data must be readable more than once, got an iterator; give list(data) or a DataLoader")
    if not isinstance(data, Iterable):
        raise ValueError(
            f"data must be batches (input, target), got {type(data).__name__}; give a DataLoader or a list"
        )
    if isinstance(data, Sized) and len(data) == 0:
        raise ValueError("data must hold at least one batch, got none; check the data set and drop_last")
    return data


def moved(batch: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """Copy a batch to a device, its floating-point tensors to a dtype; the batch given is not changed.

    Args:
        batch: Tensors in tuples, lists and mappings, in any nesting. Other leaves stay as they are.
        device: Where to.
        dtype: For floating-point tensors; None leaves theirs.

    Returns:
        A batch of the same form.

    Raises:
        ValueError: A tensor without numbers.
    """
    if isinstance(batch, Tensor):
        if batch.is_meta:
            raise ValueError("the data must hold numbers, got a tensor on the device meta; make it on the CPU")
        return batch.to(device, dtype if dtype is not None and batch.is_floating_point() else batch.dtype)
    if isinstance(batch, PackedSequence):  # its batch sizes stay on the CPU, wherever the rest is
        return batch.to(device, dtype or batch.data.dtype)  # type: ignore[arg-type]
    if isinstance(batch, Mapping):
        items = {key: moved(value, device, dtype) for key, value in batch.items()}
        return items if type(batch) is dict else type(batch)(items)  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(value, device, dtype) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(moved(value, device, dtype) for value in batch)
    return batch


def tensors_of(batch: Any) -> Iterator[Tensor]:
    """Walk over the tensors of a batch.

    Args:
        batch: As for `moved`.

    Yields:
        Each tensor, in order.
    """
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, (Mapping, tuple, list)):
        for value in batch.values() if isinstance(batch, Mapping) else batch:
            yield from tensors_of(value)


class Fingerprint:
    """Sums over all tensors of one pass, the same to rounding in whatever order and cut the samples come."""

    def __init__(self) -> None:
        self._sums: list[tuple[Tensor, Tensor]] = []

    def add(self, batch: Any) -> None:
        """Take one batch into account.

        Args:
            batch: As for `moved`.
        """
        for tensor in tensors_of(batch):
            numbers = tensor.detach()
            numbers = numbers if numbers.is_floating_point() else numbers.double()
            self._sums.append((numbers.sum(dtype=torch.float64), numbers.square().sum(dtype=torch.float64)))

    def value(self) -> tuple[float, float]:
        """Return the sum and the sum of squares of every number seen."""
        if not self._sums:
            return (0.0, 0.0)
        total = torch.stack([torch.stack(pair) for pair in self._sums]).sum(0)
        return (float(total[0]), float(total[1]))


def check_same(first: tuple[float, float], second: tuple[float, float]) -> None:
    """Refuse data that differ between two passes.

    Args:
        first: Fingerprint of the first pass.
        second: Fingerprint of a later pass.

    Raises:
        NotRepeatable: They differ by more than the rounding of a float64 sum in another order.
    """
    scale = math.sqrt(max(first[1], 1.0))  # a sum of n numbers rounds relative to their norm, not to the sum itself
    same_sum, same_square = (
        a == b or math.isnan(a) or abs(a - b) <= allowed  # two infinities are equal, and their difference NaN
        for a, b, allowed in zip(first, second, (1e-6 * scale, 1e-6 * scale * scale), strict=True)
    )
    if not (same_sum and same_square):
        raise NotRepeatable(
            f"two passes over the data gave inputs that sum to {first[0]:.9g} and {second[0]:.9g}: the data change "
            "between passes. Switch random augmentation and drop_last off, or give list(loader)"
        )
