"""A batch cut in two at the model's output: weights -> output z, and z -> loss. Gauss-Newton and Fisher need the cut.

J v, the derivative of z along a direction of the weights, is taken from kept graphs by differentiating u -> J^T u,
which is linear, once more (the double-backward trick). Proved right by dense Jacobians in float64
(`tests/analysis/operators/test_contract.py`). Cost: recording about one and a half gradients; J v two thirds of one,
J^T u as much.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analysis.batch_loss import ModelAt
from analysis.batches import tensors_of
from analysis.cutting import rebuilt
from analysis.evaluation import Evaluation
from analysis.twice import outputs_only


@dataclass
class OutputTape:
    """One batch: outputs z, J^T u for placeholders u, and the loss's derivative by z, each with its graph.

    Attributes:
        outputs: z, one tensor for each that the loss uses.
        placeholders: u, of the same shapes.
        pulled: J^T u, one for each measured parameter; None where z does not depend on it.
        slopes: Derivative of loss_sum by each output, with a graph to `cut`.
        cut: The outputs as the loss saw them: the same numbers, cut off from the weights.
        loss: loss_sum.
        count: What the batch counts in the mean.
        batch: As given.
    """

    outputs: list[Tensor]
    placeholders: list[Tensor]
    pulled: list[Tensor | None]
    slopes: list[Tensor]
    cut: list[Tensor]
    loss: float
    count: float
    batch: Any

    @property
    def roots(self) -> list[Tensor]:
        """Tensors that hold the graphs."""
        return [*self.outputs, *(pulled for pulled in self.pulled if pulled is not None), *self.slopes]

    def push(self, vectors: list[Tensor]) -> list[Tensor]:
        """Return J v, one tensor for each output.

        Args:
            vectors: v, one for each measured parameter.
        """
        pairs = [
            (pulled, v)
            for pulled, v in zip(self.pulled, vectors, strict=True)
            if pulled is not None and pulled.requires_grad
        ]
        if not pairs:
            return [torch.zeros_like(z) for z in self.outputs]
        pulled, directions = zip(*((p, v.to(p.dtype)) for p, v in pairs), strict=True)
        with outputs_only():
            found = torch.autograd.grad(pulled, self.placeholders, directions, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(z) if f is None else f for z, f in zip(self.outputs, found, strict=True)]

    def bend(self, tangents: list[Tensor]) -> list[Tensor]:
        """Return the second derivative of the loss by the outputs, times directions of the outputs.

        Args:
            tangents: One for each output.
        """
        pairs = [(slope, t) for slope, t in zip(self.slopes, tangents, strict=True) if slope.requires_grad]
        if not pairs:  # a loss that is linear in the output
            return [torch.zeros_like(z) for z in self.outputs]
        slopes, directions = zip(*pairs, strict=True)
        found = torch.autograd.grad(slopes, self.cut, directions, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(z) if f is None else f for z, f in zip(self.outputs, found, strict=True)]

    def pull(self, leaves: list[Tensor], cotangents: list[Tensor], *, keep: bool) -> list[Tensor | None]:
        """Return J^T u, one piece for each measured parameter.

        Args:
            leaves: The measured parameters.
            cotangents: u, one for each output.
            keep: Whether the tape will be used again.
        """
        pairs = [(z, u) for z, u in zip(self.outputs, cotangents, strict=True) if z.requires_grad]
        if not pairs:
            return [None] * len(leaves)
        outputs, directions = zip(*pairs, strict=True)
        return list(torch.autograd.grad(outputs, leaves, directions, retain_graph=keep, allow_unused=True))


class _Cutting(ModelAt):
    """The model, its output cut off from the weights and noted."""

    def __init__(self, evaluation: Evaluation, state: Mapping[str, Tensor]) -> None:
        super().__init__(evaluation.model, state)
        self.outputs: list[Tensor] = []
        self.cut: list[Tensor] = []
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        self.calls += 1
        output = super().__call__(*args, **kwargs)
        self.outputs = list(tensors_of(output))
        self.cut = [z.detach().requires_grad_(z.is_floating_point()) for z in self.outputs]
        if isinstance(output, Mapping) and dataclasses.is_dataclass(type(output)):  # those of Hugging Face models
            return type(output)(**rebuilt(dict(output), iter(self.cut)))
        return rebuilt(output, iter(self.cut))


def record_outputs(
    evaluation: Evaluation, state: dict[str, Tensor], leaves: list[Tensor], batch: Any
) -> tuple[OutputTape, Tensor | int]:
    """Evaluate a batch and record both sides of the cut.

    Args:
        evaluation: Of what.
        state: On which tensors; holds the leaves.
        leaves: The measured parameters.
        batch: One batch.

    Returns:
        The tape, and the count of the batch.

    Raises:
        ValueError: The loss calls the model more than once, is made inside it, or takes derivatives of its output.
    """
    model = _Cutting(evaluation, state)
    try:
        loss_sum, count = evaluation.batch_loss(model, batch)
    except RuntimeError as error:
        if "appears to not have been used in the graph" not in str(error):
            raise
        raise ValueError(
            "Gauss-Newton and Fisher need the loss as a function of the model's output alone, but batch_loss takes "
            "derivatives of the output by the input; measure the Hessian, or the gradient noise, instead"
        ) from None
    if model.calls != 1:
        raise ValueError(
            f"Gauss-Newton and Fisher need a loss of one model output, but batch_loss called the model {model.calls} "
            "times; put the calls into one module"
        )
    if not loss_sum.requires_grad:
        raise ValueError("the loss must depend on the model's output, got one that does not")
    slopes = torch.autograd.grad(
        loss_sum, [z for z in model.cut if z.requires_grad], create_graph=True, allow_unused=True
    )
    cut = [z for z in model.cut if z.requires_grad]
    outputs = [z for z in model.outputs if z.is_floating_point()]
    used = [i for i, slope in enumerate(slopes) if slope is not None]
    if any(outputs[i].ndim == 0 for i in used):
        raise ValueError(
            "Gauss-Newton and Fisher need the loss as a function of the model's output, but the model returns a loss "
            "of its own and batch_loss uses it; compute the loss from the other outputs (the logits) instead"
        )
    outputs, cut = [outputs[i] for i in used], [cut[i] for i in used]
    placeholders = [torch.zeros_like(z, requires_grad=True) for z in outputs]
    through = [(z, u) for z, u in zip(outputs, placeholders, strict=True) if z.requires_grad]
    pulled: list[Tensor | None] = [None] * len(leaves)
    if through:
        ends, cotangents = zip(*through, strict=True)
        pulled = list(torch.autograd.grad(ends, leaves, cotangents, create_graph=True, allow_unused=True))
    kept = [slopes[i] for i in used]
    return OutputTape(outputs, placeholders, pulled, kept, cut, float(loss_sum.detach()), float(count), batch), count
