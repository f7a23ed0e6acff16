"""The base optimizer's step, unless a gradient is not finite.

Where reading a number from the device costs nothing (a CPU) or is done anyway (under a GradScaler), the step is left
out. Elsewhere nothing waits for the device: a base optimizer with fused=True leaves the step out by itself, because it
is told what a GradScaler would tell it; any other steps with a gradient of zero, so that no state is spoilt, but its
momentum and its weight decay go on for that step.
Right when a bad gradient leaves weights and state as each case says (`tests/gcsam/test_guard.py`).
Cost: one reading of the gradients for their norm, in the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from gcsam.shards import local

__all__ = ["keep_if", "may_wait_for", "step_if"]

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes of a number to an integer of that size


def keep_if(is_kept: Tensor, tensors: Sequence[Tensor]) -> None:
    """Set every number to zero where a condition is false, and change no bit where it is true; nothing waits.

    Args:
        is_kept: 0-d, boolean, on any device.
        tensors: Changed in place. They may hold NaN, which times zero is NaN: so their bits are multiplied.
    """
    for size, bits in _BITS.items():
        alike = [tensor.view(bits) for tensor in tensors if tensor.element_size() == size]
        for device in {tensor.device for tensor in alike}:
            here = [tensor for tensor in alike if tensor.device == device]
            torch._foreach_mul_(here, is_kept.to(device, bits))


def may_wait_for(device: torch.device) -> bool:
    """Return whether reading a number from a device costs nothing."""
    return device.type == "cpu"


def step_if(
    is_finite: Tensor,
    base: Optimizer,
    gradients: Sequence[Tensor],
    *,
    may_wait: bool,
    step: Callable[[], None],
) -> None:
    """Let the base optimizer step if the gradients are finite.

    Args:
        is_finite: 0-d, boolean, on the device.
        base: The base optimizer.
        gradients: All it will see.
        may_wait: Whether `is_finite` may be read.
        step: Calls its step.
    """
    if may_wait:
        if is_finite:
            step()
    elif getattr(base, "_step_supports_amp_scaling", False):
        # the two attributes a GradScaler sets on an optimizer that skips on the device (torch.optim.Adam, fused)
        base.grad_scale, base.found_inf = None, (~is_finite).to(torch.float32)  # type: ignore[attr-defined]
        try:
            step()
        finally:
            del base.grad_scale, base.found_inf  # type: ignore[attr-defined]
    else:
        keep_if(is_finite, [local(gradient) for gradient in gradients])
        step()
