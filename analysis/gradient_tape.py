"""The gradient of one batch, recorded so that it can be differentiated again and again.

Right when its products equal a dense Hessian's, whole and block by block (`tests/analysis/test_objective.py`). Cost of
recording: about one and a half gradients; of a product: about two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analysis.evaluation import Evaluation


@dataclass
class GradientTape:
    """The gradient by each leaf, None where the loss does not depend on it; and the value of the loss."""

    gradients: list[Tensor | None]
    loss: float

    @property
    def roots(self) -> Sequence[Tensor]:
        """Tensors that hold the graph."""
        return [gradient for gradient in self.gradients if gradient is not None]

    def product(self, leaves: list[Tensor], vectors: Sequence[Tensor], *, keep: bool) -> list[Tensor | None]:
        """Return the second derivative times a vector, one piece for each leaf.

        Args:
            leaves: By which the gradient was taken.
            vectors: One for each leaf.
            keep: Whether the tape will be used again.
        """
        pairs = [(g, v) for g, v in zip(self.gradients, vectors, strict=True) if g is not None and g.requires_grad]
        if not pairs:  # the loss is linear in these weights
            return [None] * len(leaves)
        outputs, directions = zip(*((g, v.to(g.dtype)) for g, v in pairs), strict=True)
        return list(torch.autograd.grad(outputs, leaves, directions, retain_graph=keep, allow_unused=True))

    def block_products(
        self, leaves: list[Tensor], vectors: Sequence[Tensor], blocks: Sequence[Sequence[int]], *, keep: bool
    ) -> list[Tensor | None]:
        """Return the products with the diagonal blocks, one piece for each leaf.

        Args:
            leaves: By which the gradient was taken.
            vectors: One for each leaf.
            blocks: Indices of the leaves of each block.
            keep: Whether the tape will be used again.
        """
        found: list[Tensor | None] = [None] * len(leaves)
        for number, block in enumerate(blocks):
            part = GradientTape([self.gradients[i] for i in block], self.loss)
            is_last = number == len(blocks) - 1
            pieces = part.product([leaves[i] for i in block], [vectors[i] for i in block], keep=keep or not is_last)
            for i, piece in zip(block, pieces, strict=True):
                found[i] = piece
        return found


def record_gradient(
    evaluation: Evaluation, state: dict[str, Tensor], leaves: list[Tensor], batch: Any
) -> tuple[GradientTape, Tensor | int]:
    """Evaluate a batch and take its gradient with a graph.

    Args:
        evaluation: Of what.
        state: On which tensors; holds the leaves.
        leaves: The measured parameters.
        batch: One batch.

    Returns:
        The tape, and the count of the batch.
    """
    loss_sum, count = evaluation.evaluate(state, batch)
    if not loss_sum.requires_grad:
        return GradientTape([None] * len(leaves), float(loss_sum.detach())), count
    gradients = torch.autograd.grad(loss_sum, leaves, create_graph=True, allow_unused=True)
    return GradientTape(list(gradients), float(loss_sum.detach())), count
