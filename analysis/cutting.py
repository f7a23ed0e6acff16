"""Cut a batch along its samples: what micro-batches, per-sample gradients and random subsets have in common.

Right when pieces put together are the batch, in any nesting of tensors (`tests/analysis/test_cutting.py`). Cost: none,
pieces are views.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from analysis.batches import tensors_of


def batch_length(batch: Any, what: str) -> int:
    """Return how many samples a batch holds: the first dimension that all its tensors share.

    Args:
        batch: Tensors in tuples, lists and mappings, in any nesting; beside them None and booleans.
        what: Needs it, for the message: "gradient noise".

    Returns:
        Number of samples.

    Raises:
        ValueError: The tensors do not share it, or there are other things that may belong to single samples.
    """
    shapes = [tuple(tensor.shape) for tensor in tensors_of(batch)]
    if len({shape[:1] for shape in shapes}) != 1 or () in shapes:
        raise ValueError(
            f"{what} needs batches whose tensors all have the samples along their first axis, got shapes "
            f"{', '.join(map(str, shapes)) or '(none)'} in one batch"
        )
    _refuse_others(batch, what)
    return shapes[0][0]


def cut(batch: Any, start: int, stop: int) -> Any:
    """Return the samples start:stop of a batch, in a batch of the same form; tensors are views.

    Args:
        batch: As `batch_length` takes it.
        start: First sample.
        stop: One past the last.
    """
    return rebuilt(batch, iter([tensor[start:stop] for tensor in tensors_of(batch)]))


def rebuilt(batch: Any, tensors: Iterator[Tensor]) -> Any:
    """Return a batch of the same form with its tensors replaced.

    Args:
        batch: The form.
        tensors: In the order of `tensors_of`.
    """
    if isinstance(batch, Tensor):
        return next(tensors)
    if isinstance(batch, Mapping):
        items = {key: rebuilt(value, tensors) for key, value in batch.items()}
        return items if type(batch) is dict else type(batch)(items)  # type: ignore[call-arg]
    if isinstance(batch, (tuple, list)):
        values = [rebuilt(value, tensors) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
    return batch


def _refuse_others(batch: Any, what: str) -> None:
    if isinstance(batch, (Mapping, tuple, list)):
        for value in batch.values() if isinstance(batch, Mapping) else batch:
            _refuse_others(value, what)
    elif not (batch is None or isinstance(batch, (Tensor, bool))):
        raise ValueError(
            f"{what} needs batches of tensors, which can be cut into samples, got a {type(batch).__name__} in one; "
            "make it a tensor with one entry per sample, or put it into batch_loss"
        )
