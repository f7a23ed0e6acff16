"""The loss at many points, at little more than the cost of bare forward passes.

`Objective.loss` reads the data, checks them and holds the model at every call. A grid of thousands of cells does each
of these once: the batches stay on the device, and weights are put in place once for all batches of a point. Right when
a point's loss equals `objective.loss(at)` bit for bit (`tests/analysis/surface/test_evaluate.py`).
Cost: 1.01 to 1.04 bare passes under inference mode (one CPU thread; a small CNN on 1,077 images of 8x8, in 1 to 17
batches); memory for the data, up to `HELD_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from analysis.batch_loss import on_tensors
from analysis.batches import tensors_of
from analysis.objective import Objective

HELD_BYTES = 2 * 2**30  # our choice: fits beside a network on any device; larger data are read anew for each point


class Held:
    """Batches kept on the device. Not a list: a list of tensors would be taken for one batch.

    Args:
        batches: Any number of them.
    """

    def __init__(self, batches: Sequence[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def held(objective: Objective) -> Objective:
    """Return the objective over its data read once and kept on the device; the same object if they are too large.

    Args:
        objective: Any. Cost: one pass over its loader, no forward pass but the check that the loss repeats.
    """
    with objective.measuring(with_grad=False):
        batches = read_once(objective)
    return objective if batches is None else objective.on(batches)


@contextmanager
def repeated_loss(objective: Objective) -> Iterator[Callable[[Tensor], float]]:
    """Open a function from weights [D] to the mean loss, for many calls.

    The model is in eval mode until the block ends, and as found afterwards.

    Args:
        objective: Any whose loss can be computed; call `objective.loss()` first to learn what is wrong with it.

    Yields:
        The function. NaN and inf are returned as found.
    """
    with objective.measuring(with_grad=False):
        batches = read_once(objective)

        def loss(at: Tensor) -> float:
            data = objective.batches() if batches is None else batches
            total, count = on_tensors(objective.model, objective.state(at), over, data)
            return float(total) / float(count)

        # one pass as one call, so that the weights are put in place once and not batch by batch
        def over(model: nn.Module, data: Iterable[Any]) -> tuple[Tensor | float, Tensor | float]:
            total: Tensor | float = 0.0
            count: Tensor | float = 0.0
            for batch in data:
                loss_sum, batch_count = objective.batch_loss(model, batch)
                total = (
                    total + loss_sum.double()
                )  # summed as in Objective.loss, so that the origin is equal bit for bit
                count = count + batch_count
            return total, count

        yield loss


def read_once(objective: Objective) -> Held | None:
    """Return the batches on the objective's device; None where they are larger than `HELD_BYTES`.

    Args:
        objective: Is measuring. Cost: one pass over its loader.
    """
    batches: list[Any] = []
    num_bytes = 0
    for batch in objective.batches():
        num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(batch))
        if num_bytes > HELD_BYTES:
            return None
        batches.append(batch)
    return Held(batches)
