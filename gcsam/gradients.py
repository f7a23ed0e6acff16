"""The gradients a pass left behind, and what is refused about them.

Right when a pass without gradients, and one with sparse or complex ones, is one line that says what to do
(`tests/gcsam/test_optimizer_errors.py`). Cost: none beside the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from gcsam.shards import local

__all__ = ["asks_for_state", "gradients_of", "run_pass", "unscale"]


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


def unscale(optimizer: Optimizer, scaler: GradScaler | None, gradients: Sequence[Tensor]) -> bool:
    """Divide the gradients by the scale of a GradScaler, if there is one and they are not unscaled yet.

    `scaler.step(optimizer)` leaves that to the optimizer, because it knows GCSAM as one that handles it
    (`_step_supports_amp_scaling`, as fused optimizers): it sets `grad_scale`, None where the user unscaled before
    clipping, and `found_inf`, calls `step()`, and takes both away.

    Args:
        optimizer: Its second gradients are concerned.
        scaler: As given to `step` or `descend`.
        gradients: All of them.

    Returns:
        Whether a scaler is at work.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)
        return True
    scale = getattr(optimizer, "grad_scale", None)
    if scale is not None:
        for device in {gradient.device for gradient in gradients}:
            here = [local(gradient) for gradient in gradients if gradient.device == device]
            torch._foreach_mul_(here, scale.double().reciprocal().to(device, torch.float32))
    return hasattr(optimizer, "found_inf")


def asks_for_state(optimizer: Optimizer) -> bool:
    """Tell whether a call of `step()` only wants the state to be made.

    `torch.distributed.checkpoint.state_dict` does so before it reads or sets a state: it makes all gradients and
    learning rates zero first.

    Args:
        optimizer: Was told to step without a closure.

    Returns:
        Whether a step of the base optimizer would change no weight.
    """
    groups = optimizer.param_groups
    return not any(group.get("lr", 1) for group in groups) and not any(
        bool(gradient.count_nonzero()) for gradient in gradients_of(optimizer)
    )
