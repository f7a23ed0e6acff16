"""The loss at many points, at little more than the cost of bare forward passes.

`Objective.loss` reads the data, checks them and holds the model at every call. A grid of thousands of cells does each
of these once: the batches stay on the device, and one `functional_call` serves all batches of a point. Right when a
point's loss equals `objective.loss(at)` bit for bit (`tests/analysis/surface/test_evaluate.py`).
Cost: 1.01 to 1.04 bare passes under inference mode (one CPU thread; a small CNN on 1,077 images of 8x8, in 1 to 17
batches); memory for the data, up to `HELD_BYTES`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

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
        batches = _read(objective)
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
    whole = _Pass(objective.model, objective.batch_loss)
    with objective.measuring(with_grad=False):
        batches = _read(objective)

        def loss(at: Tensor) -> float:
            state = {f"model.{name}": tensor for name, tensor in objective.state(at).items()}
            data = objective.batches() if batches is None else batches
            total, count = functional_call(whole, state, (data,))
            return float(total) / float(count)

        yield loss


def state_sha256(objective: Objective) -> str:
    """Return the SHA-256 of every parameter and buffer, names, types and shapes included.

    Args:
        objective: Its model is read, on the objective's device and in its dtype.
    """
    return tensors_sha256(objective.state())


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors, with names, types and shapes.

    Args:
        tensors: By name; their order counts.
    """
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def rounded_fingerprint(objective: Objective) -> str:
    """Return the data fingerprint without the last digits, which depend on the order in which a loader shuffles.

    Args:
        objective: Has made a pass over its data.
    """
    total, squares = (float.fromhex(number) for number in objective.data_fingerprint.split("/"))
    norm = math.sqrt(squares) if squares > 0 else 1.0
    return f"{round(total / norm, 6) + 0.0:.6f} {norm:.9e}"  # + 0.0: a sum of -1e-17 and one of 1e-17 both give 0


class _Pass(nn.Module):
    """One pass over the data as one forward, so that the weights are put in place once and not batch by batch."""

    def __init__(self, model: nn.Module, batch_loss: Callable[[Any, Any], tuple[Tensor, Tensor | int]]) -> None:
        super().__init__()
        self.model, self._batch_loss = model, batch_loss

    def forward(self, batches: Iterable[Any]) -> tuple[Tensor | float, Tensor | float]:
        total: Tensor | float = 0.0
        count: Tensor | float = 0.0
        for batch in batches:
            loss_sum, batch_count = self._batch_loss(self.model, batch)
            total = total + loss_sum.double()  # summed as in Objective.loss, so that the origin is equal bit for bit
            count = count + batch_count
        return total, count


def _read(objective: Objective) -> Held | None:
    batches: list[Any] = []
    num_bytes = 0
    for batch in objective.batches():
        num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(batch))
        if num_bytes > HELD_BYTES:
            return None
        batches.append(batch)
    return Held(batches)
