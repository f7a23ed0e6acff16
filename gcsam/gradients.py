"""The gradients a pass left behind, and what is refused about them.

Right when a pass without gradients, and one with sparse or complex ones, is one line that says what to do
(`tests/gcsam/test_optimizer_errors.py`). Cost: none beside the pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["gradients_of", "run_pass"]


def run_pass(closure: Callable[[], Any], optimizer: Optimizer) -> Any:
    """Clear the gradients and run forward and backward, with gradients enabled.

    Args:
        closure: Does it.
        optimizer: Whose parameters should get gradients.

    Returns:
        What the closure returns.

    Raises:
        RuntimeError: It left none.
    """
    optimizer.zero_grad()
    with torch.enable_grad():
        loss = closure()
    if not gradients_of(optimizer):
        raise RuntimeError(
            "the closure left no gradient on any parameter of the optimizer; it must call backward() on a loss that "
            "depends on them before it returns"
        )
    return loss


def gradients_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the gradients that are there, in the order of the parameters.

    Args:
        optimizer: Whose parameters.

    Returns:
        Gradients, each dense and real.

    Raises:
        ValueError: One is not.
    """
    found = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [gradient for gradient in found if gradient is not None]
    if any(gradient.is_sparse or gradient.is_complex() for gradient in gradients):
        raise ValueError(
            "gradients must be dense and real, got a sparse or complex one; build embeddings with sparse=False"
        )
    return gradients
