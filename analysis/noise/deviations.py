"""Deviations e_i = g_i - mean(g) of per-sample gradients: their squared norms, and those of chosen samples in full.

With g_i = N / count * (gradient of sample i's loss_sum), as in `gradient_noise`, Sigma = 1/(N-1) sum_i e_i e_i^T. The
norms of all samples take one pass in which a chunk of gradients is held at a time; a chosen deviation is one gradient
of one sample.

Proved right by explicit gradients by plain autograd, sample by sample on a float64 copy
(`tests/analysis/noise/test_deviations.py`). Cost: three passes over the data, of which one takes 1.3 to 3 gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.batches import tensors_of
from analysis.cutting import batch_length, cut, rebuilt
from analysis.noise.per_sample import WHAT, MeanGradient, PerSampleGradients, gradients_of, mean_gradient
from analysis.noise.scalars import KINDS, of_gradients
from analysis.noise.targets import targets_of
from analysis.objective import Objective

# How far the norm of a chosen deviation may be from that of the pass before: relative, and in parts of the largest
# gradient. Generous, our choice: single samples go through other kernels than chunks; another sample is further off.
SAME_NORM, ROUNDING = 1e-2, 1e-4


class Deviations:
    """The e_i of one objective at its present weights, none of them kept.

    Args:
        objective: Whose. Its loss must be a sum over samples, its batches tensors with the samples along their first
            axis; at least two samples.
        seed: Of the control's directions.
        probe: A vector r, [D].

    Attributes:
        objective: As given.
        num_samples: N.
        mean: mean(g), [D]: the gradient of the objective.
        squares: ||e_i||^2 raw, centralized and under the control, [3, N] in float64 on the CPU.
        along: <e_i, r>, [N] in float64 on the CPU.

    Raises:
        ValueError: Fewer than two samples, none that counts, batches that cannot be cut, or a loss that is not a sum.
    """

    def __init__(self, objective: Objective, seed: int, probe: Tensor) -> None:
        self.objective = objective
        # every pass in a block of its own: a loader that shuffles then gives the samples in the same order
        with self._reading():
            self._state = objective.state()
            mean = mean_gradient(objective, self._state)
        self.num_samples = mean.num_samples
        self._scale = mean.num_samples / mean.count
        self._mean_of_sums = mean.vector.to(objective.dtype)
        self.mean = self._mean_of_sums * self._scale
        with self._reading():
            self.squares, self.along = self._pass(mean, seed, probe)

    def trace(self, kind: int) -> float:
        """Return tr(Sigma), unbiased.

        Args:
            kind: Row of `squares`.
        """
        return float(self.squares[kind].sum()) / (self.num_samples - 1)

    def chosen(self, indices: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield (i, e_i) for some samples, one vector [D] at a time.

        Args:
            indices: Of samples, in the order of the data.

        Yields:
            Each index with its deviation, ascending.

        Raises:
            ValueError: A sample is not the one that had this place before.
        """
        with self._reading():
            samples = list(self._samples(set(indices)))
        for i, sample in samples:
            with self._reading():  # not around the yield: what the caller does in between is not inside
                leaves = [self._state[name].detach().requires_grad_() for name in self.objective.names]
                replaced = {**self._state, **dict(zip(self.objective.names, leaves, strict=True))}
                pieces = gradients_of(self.objective.evaluate(replaced, sample)[0], leaves)
            gradient = torch.cat([piece.reshape(-1).to(self.mean) for piece in pieces])
            deviation = (gradient - self._mean_of_sums) * self._scale
            self._check_same(i, deviation)
            yield i, deviation

    def product(self, vector: Tensor) -> Tensor:
        """Return Sigma v, [D], from the deviations themselves: one pass like that for the norms.

        Args:
            vector: [D].
        """
        layout = self.objective.layout
        along, means = layout.split(layout.checked(vector, "vector")), layout.split(self._mean_of_sums)
        total = torch.zeros_like(self.mean)
        parts = layout.split(total)
        with self._reading():
            for pieces in PerSampleGradients(self.objective, self._state):
                rows = {name: (pieces.pop(name).to(mean) - mean).flatten(1) for name, mean in means.items()}
                products = torch.stack([row @ along[name].flatten() for name, row in rows.items()]).sum(0)
                for name, row in rows.items():
                    parts[name] += (products @ row).view_as(parts[name])
        return total * (self._scale**2 / (self.num_samples - 1))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self.objective.measuring(with_grad=True), sdpa_kernel(SDPBackend.MATH):  # vmap batches only that kernel
            yield

    def _pass(self, mean: MeanGradient, seed: int, probe: Tensor) -> tuple[Tensor, Tensor]:
        objective = self.objective
        means = objective.layout.split(self._mean_of_sums)
        targets = targets_of(objective, means, KINDS, probe, seed)
        gradients = PerSampleGradients(objective, self._state)
        found: list[Tensor] = []
        for pieces in gradients:
            total: Tensor | float = 0.0
            for name, target in targets.items():
                deviation = pieces.pop(name).to(means[name]) - means[name]
                total = total + of_gradients(deviation, target).cpu()
            found.append(torch.as_tensor(total))
        gradients.check_additive(mean)
        table = torch.cat(found, -1)  # [kind, square and product, N]
        return table[:, 0] * self._scale**2, table[0, 1] * self._scale

    def _samples(self, wanted: set[int]) -> Iterator[tuple[int, Any]]:
        """Yield (i, a batch of sample i alone), copied, so that the rest of its batch can go."""
        start = 0
        for batch in self.objective.batches():
            length = batch_length(batch, WHAT)
            for i in sorted(wanted & set(range(start, start + length))):
                one = cut(batch, i - start, i - start + 1)
                yield i, rebuilt(one, iter([tensor.clone() for tensor in tensors_of(one)]))
            start += length

    def _check_same(self, i: int, deviation: Tensor) -> None:
        norm = float(torch.linalg.vector_norm(deviation, dtype=torch.float64))
        before = float(self.squares[0, i]) ** 0.5
        largest = float(self.squares[0].max()) ** 0.5 + float(torch.linalg.vector_norm(self.mean))
        if abs(norm - before) > SAME_NORM * before + ROUNDING * largest:
            raise ValueError(
                f"the samples must come in the same order in every pass, but sample {i} had a gradient {before:.3g} "
                f"from the mean and now one {norm:.3g} from it; give a loader without shuffling, or a list of batches"
            )
