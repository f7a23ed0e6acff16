"""Cut a data set at random into subsets of m samples, whatever the form and the size of its batches.

Right when every sample is in exactly one subset and the same seed cuts the same way
(`tests/analysis/flatness/test_subsets.py`). Costs one pass over the data and their memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from analysis.batches import tensors_of
from analysis.objective import Objective
from analysis.surface.evaluate import Held


def num_samples(objective: Objective) -> int:
    """Return how many samples the data hold: the length of the first tensor of each batch, summed.

    Args:
        objective: Any. Cost: one pass over the data, without the model.
    """
    with objective.measuring(with_grad=False):
        return sum(_length(batch) for batch in objective.batches())


def subsets(objective: Objective, m: int, seed: int) -> list[tuple[Objective, int]]:
    """Return the objective over each of ceil(N / m) random subsets that together hold each sample once.

    Their sizes differ by at most one, so that they are m only where m divides N.

    Args:
        objective: Over batches of tensors, samples along the first axis.
        m: Samples in a subset, at most; in [1, N].
        seed: Of the cut, drawn on the CPU.

    Returns:
        (objective, number of samples) of each subset. Batches are no larger than the largest one given.

    Raises:
        ValueError: m is out of range, or the batches cannot be cut.
    """
    with objective.measuring(with_grad=False):
        batches = list(objective.batches())
    lengths = [_common_length(batch) for batch in batches]
    total, largest = sum(lengths), max(lengths)
    if not (isinstance(m, int) and not isinstance(m, bool) and 1 <= m <= total):
        raise ValueError(
            f"m must be a whole number of samples from 1 to {total}, all there are, got {m!r}; None is all"
        )
    whole = _combined(_concatenated, batches)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    found = []
    for chosen in torch.tensor_split(order, -(-total // m)):
        pieces = [_taken(whole, piece) for piece in torch.split(chosen.sort().values, largest)]
        found.append((objective.on(Held(pieces)), len(chosen)))
    return found


def _length(batch: Any) -> int:
    first = next(tensors_of(batch), None)
    return 1 if first is None or first.ndim == 0 else len(first)


def _common_length(batch: Any) -> int:
    lengths = {len(tensor) if tensor.ndim else 0 for tensor in tensors_of(batch)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"m needs batches whose tensors have the samples along their first axis, got lengths {sorted(lengths)} "
            "in one batch; m=None takes all data at once"
        )
    return lengths.pop()


def _concatenated(tensors: Sequence[Tensor]) -> Tensor:
    shapes = {tuple(tensor.shape[1:]) for tensor in tensors}
    if len(shapes) != 1:
        raise ValueError(
            f"m needs samples of one shape to mix batches, got {sorted(shapes)}; pad them, or m=None takes all at once"
        )
    return torch.cat(list(tensors))


def _taken(whole: Any, indices: Tensor) -> Any:
    return _combined(lambda tensors: tensors[0][indices.to(tensors[0].device)], [whole])


def _combined(function: Callable[[Sequence[Tensor]], Tensor], batches: Sequence[Any]) -> Any:
    """Return a batch of the same form as each of the batches, the function applied to tensors in the same place."""
    first = batches[0]
    if isinstance(first, Tensor):
        return function(batches)
    if isinstance(first, Mapping):
        return {key: _combined(function, [batch[key] for batch in batches]) for key in first}
    if isinstance(first, (tuple, list)):
        items = [_combined(function, [batch[i] for batch in batches]) for i in range(len(first))]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    if any(batch != first for batch in batches):
        raise ValueError(
            f"m needs batches of tensors, got a {type(first).__name__} that differs between batches; m=None takes all "
            "data at once"
        )
    return first
