"""Per-sample gradients in chunks: the gradient of the loss of each sample alone, for any model and loss.

A batch of one sample is a batch cut along the first axis of its tensors. `torch.func.vmap` computes a whole chunk at
once; models it cannot batch (recurrent layers) are differentiated sample by sample. Never more than one chunk is held.

Proved right by: equality with plain autograd, one sample at a time on a float64 copy of the model
(`tests/analysis/noise/test_per_sample.py`).
Cost: one gradient for the mean; then 1.3 to 3 gradients for convolutional networks by vmap, by the loop as many
forward and backward passes as there are samples.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap

from analysis.batches import tensors_of
from analysis.cutting import batch_length, cut, rebuilt
from analysis.objective import Objective

# Numbers in one chunk of gradients, 128 MiB in float32; our choice, because it holds a thousand samples of a small
# network, and larger chunks are no faster on two cores.
CHUNK_NUMBERS = 2**25
WHAT = "gradient noise"  # for messages of the functions it shares with others


@dataclasses.dataclass(frozen=True)
class MeanGradient:
    """What one pass over whole batches tells.

    Attributes:
        num_samples: N, the summed length of the batches.
        count: What the objective's mean divides by: samples, tokens, class weights.
        loss_sum: Over the data.
        rounding: Relative rounding error to allow in `loss_sum`.
        vector: [D] in float64, the mean over samples of the gradient of a sample's loss_sum.
    """

    num_samples: int
    count: float
    loss_sum: float
    rounding: float
    vector: Tensor


def mean_gradient(objective: Objective, state: Mapping[str, Tensor]) -> MeanGradient:
    """Go through the data once, batch by batch; call it inside `objective.measuring`.

    Args:
        objective: Whose loss.
        state: As returned by `objective.state()`.

    Returns:
        The mean gradient and the counts.

    Raises:
        ValueError: Fewer than two samples, none that counts, or batches that cannot be cut into samples.
    """
    leaves = {name: state[name].detach().requires_grad_() for name in objective.names}
    total = torch.zeros(objective.num_parameters, dtype=torch.float64, device=objective.device)
    num_samples, count, loss_sum, rounding = 0, 0.0, 0.0, 1e-4
    for batch in objective.batches():
        num_samples += batch_length(batch, WHAT)
        batch_loss, batch_count = objective.evaluate({**state, **leaves}, batch)
        pieces = gradients_of(batch_loss, list(leaves.values()))
        total += torch.cat([piece.reshape(-1).double() for piece in pieces])
        count += float(batch_count)
        loss_sum += float(batch_loss.detach())
        rounding = max(rounding, 8 * torch.finfo(batch_loss.dtype).eps)  # the sum itself is rounded to that type
    if num_samples < 2:
        raise ValueError(
            f"gradient noise needs at least 2 samples, got {num_samples}: a covariance over one sample does not exist"
        )
    if count <= 0:
        raise ValueError(
            f"the data must hold a sample that counts, got a total count of {count:g}; is every target ignored?"
        )
    return MeanGradient(num_samples, count, loss_sum, rounding, total / num_samples)


class PerSampleGradients:
    """Iterate over the gradients of the loss_sum of every sample, in the order of the data; inside `measuring`.

    Args:
        objective: Whose loss.
        state: As returned by `objective.state()`.
        chunk: Samples held at once, at most; chunks do not cross batches. None: as many as `CHUNK_NUMBERS` allows.
        names: Of the weights to differentiate by, some of the objective's; None for all of them.

    Attributes:
        method: "vmap", or "loop" once vmap had to be given up.
        count: Summed over the samples seen so far.
        loss_sum: Summed over the samples seen so far.
        loss_scale: The sum of |loss_sum|.
    """

    def __init__(
        self,
        objective: Objective,
        state: Mapping[str, Tensor],
        chunk: int | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._objective, self._state = objective, state
        self._leaves = {name: state[name].detach() for name in (objective.names if names is None else names)}
        self._chunk = chunk or max(1, CHUNK_NUMBERS // sum(leaf.numel() for leaf in self._leaves.values()))
        self.method = "vmap"
        self.count, self.loss_sum, self.loss_scale = 0.0, 0.0, 0.0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield a dictionary from parameter name to [C, *shape] for each chunk of C samples."""
        for batch in self._objective.batches():
            yield from self.of_batch(batch)

    def of_batch(self, batch: Any) -> Iterator[dict[str, Tensor]]:
        """Yield the same for the samples of one batch.

        Args:
            batch: As from `objective.batches()`.

        Yields:
            A dictionary for each chunk.
        """
        length = batch_length(batch, WHAT)
        for start in range(0, length, self._chunk):
            yield self._chunk_of(cut(batch, start, min(start + self._chunk, length)))

    def check_additive(self, mean: MeanGradient) -> None:
        """Refuse a loss that is not a sum over samples, once all of them were seen.

        Args:
            mean: What the pass over whole batches gave.

        Raises:
            ValueError: Loss or count of whole batches and of their samples differ by more than rounding.
        """
        check_additive((mean.loss_sum, mean.count), (self.loss_sum, self.count), mean.rounding * self.loss_scale)

    def _chunk_of(self, samples: Any) -> dict[str, Tensor]:
        if self.method == "vmap":
            try:
                return self._by_vmap(samples)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, UserWarning):  # the warning is the one that `_by_vmap` turns into an error
                self.method = "loop"  # a mistake in the model or the loss is raised again there
        return self._by_loop(samples)

    def _by_vmap(self, samples: Any) -> dict[str, Tensor]:
        def loss_of_one(leaves: dict[str, Tensor], *tensors: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            one = rebuilt(samples, iter([tensor.unsqueeze(0) for tensor in tensors]))
            loss_sum, count = self._objective.evaluate({**self._state, **leaves}, one)
            return loss_sum.reshape(()), (loss_sum.reshape(()), torch.as_tensor(count, device=loss_sum.device))

        tensors = list(tensors_of(samples))
        with warnings.catch_warnings():
            # without a batching rule vmap itself loops, over every operation: slower than our loop (7 times on an LSTM)
            warnings.filterwarnings("error", message=".*performance drop.*", category=UserWarning)
            per_sample = vmap(grad(loss_of_one, has_aux=True), in_dims=(None, *[0] * len(tensors)))
            gradients, (losses, counts) = per_sample(self._leaves, *tensors)
        self._add(losses, counts)
        return {name: gradient.detach() for name, gradient in gradients.items()}

    def _by_loop(self, samples: Any) -> dict[str, Tensor]:
        leaves = {name: leaf.requires_grad_() for name, leaf in self._leaves.items()}
        rows = []
        for i in range(batch_length(samples, WHAT)):
            loss_sum, count = self._objective.evaluate({**self._state, **leaves}, cut(samples, i, i + 1))
            rows.append(gradients_of(loss_sum, list(leaves.values())))
            self._add(loss_sum.detach(), torch.as_tensor(count))
        return {name: torch.stack(pieces) for name, pieces in zip(leaves, zip(*rows, strict=True), strict=True)}

    def _add(self, losses: Tensor, counts: Tensor) -> None:
        self.loss_sum += float(losses.double().sum())
        self.loss_scale += float(losses.double().abs().sum())
        self.count += float(counts.double().sum())


def check_additive(whole: tuple[float, float], parts: tuple[float, float], allowed: float) -> None:
    """Refuse a loss that is not a sum over samples: its per-sample gradients would not add up to its gradient.

    Args:
        whole: Loss and count of batches.
        parts: The same, summed over what they were cut into.
        allowed: Rounding of the loss.

    Raises:
        ValueError: They differ by more.
    """
    is_same_loss = not abs(parts[0] - whole[0]) > allowed  # True for NaN
    if not (is_same_loss and abs(parts[1] - whole[1]) <= 1e-4 * abs(whole[1])):
        raise ValueError(
            f"the loss must be a sum over samples, got loss {whole[0]:.6g} (count {whole[1]:g}) over whole batches and "
            f"{parts[0]:.6g} (count {parts[1]:g}) over their samples one by one; a loss that compares samples of a "
            "batch has no per-sample gradients"
        )


def gradients_of(loss_sum: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Return the gradient by each leaf, zeros where the loss does not depend on it.

    Args:
        loss_sum: Of some samples.
        leaves: What to differentiate by.
    """
    if not loss_sum.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(loss_sum, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if piece is None else piece for leaf, piece in zip(leaves, found, strict=True)]
