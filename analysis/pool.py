"""All samples of a data set in one place, from which batches are taken by index, whatever the form of the batches.

Random subsets and random batches mix samples of different batches; this is what they share. Right when the samples of
given indices come back in their order, in any nesting of tensors (`tests/analysis/test_pool.py`). Cost: one pass over
the data without the model, and the memory of the data on the objective's device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from analysis.batches import tensors_of
from analysis.evaluation import Evaluation


class Pool:
    """The data of an objective as one long batch; make it inside or outside of `measuring`.

    Args:
        objective: Over batches of tensors, samples along the first axis.
        what: Needs it, for messages: "m".
        otherwise: What to do where the data cannot be mixed, to end messages; may be empty.

    Attributes:
        num_samples: N.

    Raises:
        ValueError: Tensors of one batch differ in length, samples of two batches in shape, or what is no tensor differs
            between batches.
    """

    def __init__(self, objective: Evaluation, what: str, otherwise: str = "") -> None:
        self._what, self._otherwise = what, otherwise
        with objective.measuring(with_grad=False):
            batches = list(objective.batches())
        lengths = [self._length(batch) for batch in batches]
        self.num_samples = sum(lengths)
        self._largest = max(lengths)
        self._whole = _combined(self._concatenated, batches, self._refuse)

    def batches(self, indices: Tensor) -> list[Any]:
        """Return some samples, in batches no larger than the largest one given.

        Args:
            indices: Of the samples, in the order of the data from 0.
        """
        return [self._taken(piece) for piece in torch.split(indices, self._largest)]

    def _taken(self, indices: Tensor) -> Any:
        return _combined(lambda tensors: tensors[0][indices.to(tensors[0].device)], [self._whole], self._refuse)

    def _length(self, batch: Any) -> int:
        lengths = {len(tensor) if tensor.ndim else 0 for tensor in tensors_of(batch)}
        if len(lengths) != 1 or 0 in lengths:
            self._refuse(
                f"batches whose tensors have the samples along their first axis, got lengths {sorted(lengths)} "
                "in one batch"
            )
        return lengths.pop()

    def _concatenated(self, tensors: Sequence[Tensor]) -> Tensor:
        shapes = {tuple(tensor.shape[1:]) for tensor in tensors}
        if len(shapes) != 1:
            self._refuse(f"samples of one shape to mix batches, got {sorted(shapes)}; pad them")
        return torch.cat(list(tensors))

    def _refuse(self, text: str) -> None:
        end = f"; {self._otherwise}" if self._otherwise else ""
        raise ValueError(f"{self._what} needs {text}{end}")


def _combined(
    function: Callable[[Sequence[Tensor]], Tensor], batches: Sequence[Any], refuse: Callable[[str], None]
) -> Any:
    """Return a batch of the same form as each of the batches, the function applied to tensors in the same place."""
    first = batches[0]
    if isinstance(first, Tensor):
        return function(batches)
    if isinstance(first, Mapping):
        return {key: _combined(function, [batch[key] for batch in batches], refuse) for key in first}
    if isinstance(first, (tuple, list)):
        items = [_combined(function, [batch[i] for batch in batches], refuse) for i in range(len(first))]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    if any(batch != first for batch in batches):
        refuse(f"batches of tensors, got a {type(first).__name__} that differs between batches")
    return first
