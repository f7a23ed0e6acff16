"""Loss, gradient and Hessian the slow way: a float64 copy in eval mode, plain autograd, one sample after the other.

Shares no path with `analysis`: no swapped tensors, no batches, no padding where the samples given have none, no
counting by the loss. Blind to what autograd itself gets wrong; second derivatives are of eager attention.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Called with the float64 copy and one sample; returns (sum of the losses, how many).
SampleLoss = Callable[[Any, Any], tuple[Tensor, int]]


class Oracle:
    """The mean loss over samples as a function of the weights of a float64 copy."""

    def __init__(self, model: nn.Module, sample_loss: SampleLoss, samples: Sequence[Any], names: Sequence[str]) -> None:
        self.model = copy.deepcopy(model).double().eval()
        if hasattr(self.model, "set_attn_implementation"):
            self.model.set_attn_implementation("eager")
        parameters = dict(self.model.named_parameters())
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        self.weights = [parameters[name] for name in names]
        self._sample_loss, self._samples = sample_loss, samples

    def loss(self) -> Tensor:
        sums, counts = zip(*(self._sample_loss(self.model, sample) for sample in self._samples), strict=True)
        return torch.stack(sums).sum() / sum(counts)

    def gradient(self, *, create_graph: bool = False) -> Tensor:
        pieces = torch.autograd.grad(self.loss(), self.weights, create_graph=create_graph, allow_unused=True)
        return torch.cat([
            torch.zeros_like(w).flatten() if piece is None else piece.flatten()
            for w, piece in zip(self.weights, pieces, strict=True)
        ])

    def sample_gradients(self) -> Tensor:
        """[N, D] of the loss sums of single samples."""
        rows = []
        for sample in self._samples:
            loss_sum, _ = self._sample_loss(self.model, sample)
            pieces = torch.autograd.grad(loss_sum, self.weights, allow_unused=True, materialize_grads=True)
            rows.append(torch.cat([piece.flatten() for piece in pieces]))
        return torch.stack(rows)

    def hessian(self) -> Tensor:
        """[D, D], row by row by a second backward pass."""
        gradient = self.gradient(create_graph=True)
        rows = []
        for entry in gradient:
            pieces = torch.autograd.grad(
                entry, self.weights, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([piece.flatten() for piece in pieces]))
        return torch.stack(rows)

    def product(self, vector: Tensor) -> Tensor:
        """H v by a second backward pass, for models that round on their way."""
        slope = self.gradient(create_graph=True) @ vector
        pieces = torch.autograd.grad(slope, self.weights, allow_unused=True, materialize_grads=True)
        return torch.cat([piece.flatten() for piece in pieces])

    def difference(self, vector: Tensor) -> Tensor:
        """H v by central differences of the gradient; the error is about 1e-9 of the size of gradient and product."""
        step = 1e-5 / float(vector.norm())  # about eps^(1/3) for weights of order 1
        at = nn.utils.parameters_to_vector(self.weights).detach()
        ends = []
        for sign in (1, -1):
            nn.utils.vector_to_parameters(at + sign * step * vector, self.weights)
            ends.append(self.gradient().detach())
        nn.utils.vector_to_parameters(at, self.weights)
        return (ends[0] - ends[1]) / (2 * step)
