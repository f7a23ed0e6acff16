"""Several processes with a copy of the model each: whose gradient points the way up, and agreement on a bad one.

"global": the first gradient is averaged over the processes, as any gradient of DistributedDataParallel, so that all
take the same epsilon, that of the joint batch. "local": each process climbs on the gradient of its own share, which is
m-sharpness with m = the local batch (Foret et al., arXiv 2010.01412, sec. 3); only the second gradient is averaged.
Right when two processes do what one does with both shares (`tests/gcsam/test_processes.py`).
Cost: "local" saves the averaging of the first pass and sends one number instead.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from gcsam.shards import holders

__all__ = ["PERTURBATIONS", "check_local", "first_pass", "on_all", "share_overflow"]

PERTURBATIONS = ("global", "local")


def check_local(optimizer: Optimizer) -> None:
    """Refuse a local perturbation of sharded parameters.

    Args:
        optimizer: Whose parameters.

    Raises:
        ValueError: One is cut over processes, so that no process has a gradient of its own.
    """
    if any(holders(parameter) for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(
            "perturbation must be 'global' for sharded parameters, got 'local': no process has a whole gradient of its "
            "own batch"
        )


def first_pass(model: nn.Module | None) -> AbstractContextManager[Any]:
    """Return the context in which the first pass of a local perturbation runs, forward and backward.

    Args:
        model: As given to `GCSAM.from_model`.

    Returns:
        `model.no_sync()`; nothing where there is one process only.

    Raises:
        RuntimeError: Several processes, but no DistributedDataParallel model whose averaging could be held back.
    """
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    if _num_processes() > 1:
        raise RuntimeError(
            "step(closure) with perturbation='local' must hold back the averaging of the first gradient, and was given "
            "no DistributedDataParallel model; build the optimizer by GCSAM.from_model(ddp_model, ...), or call "
            "ascend() and descend() by hand with the first pass in ddp_model.no_sync()"
        )
    return nullcontext()


def on_all(flag: Tensor, model: nn.Module | None) -> Tensor:
    """Return whether a flag is true on every process.

    Args:
        flag: 0-d, boolean.
        model: Its process group is asked, or the default one.

    Returns:
        The flag of all, equal on every process; nothing waits for the device.
    """
    if _num_processes() == 1:
        return flag
    agreed = flag.to(torch.int32)
    torch.distributed.all_reduce(agreed, torch.distributed.ReduceOp.MIN, _group(model))
    return agreed.bool()


def share_overflow(scaler: GradScaler, optimizer: Optimizer, model: nn.Module | None) -> None:
    """Let every process's scaler know of an overflow on any of them, or their scales would drift apart.

    Args:
        scaler: Has unscaled the gradients of the optimizer.
        optimizer: The key it was given.
        model: As for `on_all`.
    """
    if _num_processes() > 1:
        for found in scaler._found_inf_per_device(optimizer).values():
            torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, _group(model))


def _group(model: nn.Module | None) -> Any:
    return getattr(model, "process_group", None)


def _num_processes() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
