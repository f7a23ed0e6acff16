"""A loss of normalized logits: what is measured with it does not depend on how large a network makes its outputs.

Scaling the last layer, or training on after every sample is fitted, shrinks a cross-entropy and all its derivatives
without changing one prediction. Proved right by: the loss and adaptive sharpness of a network whose last layer is
scaled by 10, explicit derivatives in float64, and samples without spread (`tests/analysis/test_logits.py`).
Cost: none beside the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class NormalizedLogits:
    """A loss function after normalization of its outputs. Made by `normalized_logits`.

    Args:
        loss_fn: As for `Objective`.
    """

    def __init__(self, loss_fn: Callable[..., Tensor]) -> None:
        self.loss_fn = loss_fn

    def __call__(self, output: Tensor, target: Any) -> Tensor:
        """Return the loss of the normalized outputs."""
        return self.loss_fn(normalize(output), target)

    def before(self, loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return another function of (output, target), given the normalized outputs.

        Args:
            loss: The function.
        """
        return lambda output, target: loss(normalize(output), target)


def normalized_logits(loss_fn: Callable[..., Tensor]) -> NormalizedLogits:
    """Return a loss function that first divides the logits of each sample by their standard deviation over classes.

    f becomes f / sqrt(mean_i (f_i - mean f)^2), so that no factor of the logits changes the loss; they are not
    centered. `Objective` counts samples, ignored targets and class weights as it does for `loss_fn` itself.
    Weights that scale the logits alone become flat directions, so that plain sharpness then falls as the last layer
    grows; adaptive sharpness of normalized logits does not change.

    Where all logits of a sample are equal there is nothing to divide by: they are left as they are. Near such a sample
    derivatives are as large as the spread is small.

    Args:
        loss_fn: Called as `loss_fn(output, target)`, output [B, C, ...] with classes along axis 1, as for
            cross-entropy.

    Returns:
        The loss function. It raises ValueError for outputs without at least two classes along axis 1.

    Example:
        >>> from analysis import Objective, sharpness
        >>> model, x = torch.nn.Linear(2, 3, bias=False), torch.eye(2)
        >>> objective = Objective(model, normalized_logits(torch.nn.CrossEntropyLoss()), (x, torch.tensor([0, 1])))
        >>> before = sharpness(objective, adaptive=True).value
        >>> model.weight.data.mul_(16.0).shape
        torch.Size([3, 2])
        >>> abs(sharpness(objective, adaptive=True).value / before - 1) < 1e-3
        True

    References:
        Andriushchenko et al., A modern look at the relationship between sharpness and generalization, arXiv 2302.07011.
    """
    return NormalizedLogits(loss_fn)


def normalize(output: Tensor) -> Tensor:
    """Return logits of standard deviation 1 over axis 1; those without any are left as they are.

    Args:
        output: [B, C, ...].

    Raises:
        ValueError: Fewer than two classes, or no axis for them.
    """
    if not isinstance(output, Tensor) or output.ndim < 2 or output.shape[1] < 2:
        got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"normalized logits need a tensor [samples, classes, ...] of at least 2 classes, got {got}")
    variance = (output - output.mean(1, keepdim=True)).square().mean(1, keepdim=True)
    # replaced before the root, whose derivative at 0 would be infinite, and NaN where it is multiplied by 0
    return output * torch.where(variance > 0, variance, 1.0).rsqrt()
