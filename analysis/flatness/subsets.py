"""Cut a data set at random into subsets of m samples, whatever the form and the size of its batches.

Right when every sample is in exactly one subset and the same seed cuts the same way
(`tests/analysis/flatness/test_subsets.py`). Costs one pass over the data and their memory.
"""

from __future__ import annotations

from typing import Any

import torch

from analysis.batches import tensors_of
from analysis.objective import Objective
from analysis.pool import Pool
from analysis.surface.evaluate import Held, held


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
    pool = Pool(objective, "m", "m=None takes all data at once")
    total = pool.num_samples
    if not (isinstance(m, int) and not isinstance(m, bool) and 1 <= m <= total):
        raise ValueError(
            f"m must be a whole number of samples from 1 to {total}, all there are, got {m!r}; None is all"
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return [
        (objective.on(Held(pool.batches(chosen.sort().values))), len(chosen))
        for chosen in torch.tensor_split(order, -(-total // m))
    ]


def parts_of(objective: Objective, m: int | None, seed: int) -> list[tuple[Objective, int]]:
    """Return the objectives over which worst cases are taken, each with its number of samples, data read once.

    Args:
        objective: Any where m is None, else as for `subsets`.
        m: As for `subsets`; None takes all data as one.
        seed: Of the cut.

    Raises:
        ValueError: As `subsets`.
    """
    if m is not None:
        return subsets(objective, m, seed)
    whole = held(objective)
    return [(whole, num_samples(whole))]


def _length(batch: Any) -> int:
    first = next(tensors_of(batch), None)
    return 1 if first is None or first.ndim == 0 else len(first)
