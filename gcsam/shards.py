"""Tensors cut over processes (FSDP2, DTensor): the part that is here, and sums over all parts.

Everything else in the optimizer works on plain tensors. A sharded parameter enters as its local part; what needs the
whole tensor, the mean of a row that is cut and the norm, is summed over the processes that hold the other parts.
Right when two processes give the step of one on the same data, whatever the axis that is cut
(`tests/gcsam/test_shards.py`). Cost: one message of two numbers per tensor for all norms of a step together, and one
of a number per row for each tensor whose rows are cut (along axis 0: those of transposed convolutions).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Processes", "as_shard", "holders", "local", "shard_of", "sum_over", "whole_norms"]

Processes = tuple[Any, ...]
"""Process groups, one for each axis of the device mesh that a tensor is cut along."""


def local(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """Return the part of a tensor that this process holds; a plain tensor is its own part.

    Args:
        tensor: Plain, or a DTensor.
        like: Cut the tensor as this one first, where it is cut otherwise (the gradient of a parameter may be).

    Returns:
        A plain tensor that shares memory with the part, unless it had to be cut anew.
    """
    if not _is_sharded(tensor):
        return tensor
    if like is not None and tensor.placements != like.placements:  # type: ignore[attr-defined]
        tensor = tensor.redistribute(placements=like.placements)  # type: ignore[attr-defined]
    return tensor.to_local()  # type: ignore[attr-defined, no-any-return]


def holders(tensor: Tensor, axes: Sequence[int] | None = None) -> Processes:
    """Return the processes among which a tensor is cut.

    Args:
        tensor: Plain, or a DTensor.
        axes: Count cuts along these axes only. None: all.

    Returns:
        Process groups; () for a plain tensor, and for one of which each process holds all that `axes` span.
    """
    if not _is_sharded(tensor):
        return ()
    mesh = tensor.device_mesh  # type: ignore[attr-defined]
    cuts = [getattr(placement, "dim", None) for placement in tensor.placements]  # type: ignore[attr-defined]
    return tuple(
        mesh.get_group(place) for place, axis in enumerate(cuts) if axis is not None and (axes is None or axis in axes)
    )


def sum_over(tensor: Tensor, processes: Processes) -> Tensor:
    """Add up what each process has, in place; without processes there is nothing to add.

    Args:
        tensor: Of one shape on all of them.
        processes: From `holders`.

    Returns:
        The tensor given.
    """
    for group in processes:
        torch.distributed.all_reduce(tensor, group=group)
    return tensor


def whole_norms(norms: Tensor, cuts: Sequence[Processes]) -> Tensor:
    """Turn norms of local parts into norms of whole tensors.

    Args:
        norms: [..., number of tensors]
        cuts: The holders of each tensor.

    Returns:
        Norms, as given where nothing is cut.
    """
    for processes in dict.fromkeys(cut for cut in cuts if cut):
        members = [place for place, cut in enumerate(cuts) if cut == processes]
        norms = norms.clone()
        norms[..., members] = sum_over(norms[..., members].square(), processes).sqrt()
    return norms


def shard_of(whole: Tensor, like: Tensor) -> Tensor:
    """Return the part of a whole tensor that this process would hold, were it cut like another one.

    Args:
        whole: Equal on all processes.
        like: A plain one is not cut.

    Returns:
        A plain tensor.
    """
    if not _is_sharded(like):
        return whole
    api = sys.modules["torch.distributed.tensor"]
    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return local(api.distribute_tensor(whole.to(like.device), mesh, placements, src_data_rank=None))


def as_shard(part: Tensor, like: Tensor) -> Tensor:
    """Present this process's part as the tensor it belongs to; without copying.

    Args:
        part: Plain.
        like: Tells how the whole is cut; of a plain one the part is the whole.

    Returns:
        A DTensor around the part, or the part.
    """
    if not _is_sharded(like):
        return part
    api = sys.modules["torch.distributed.tensor"]
    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return api.DTensor.from_local(  # type: ignore[no-any-return]
        part, mesh, placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def _is_sharded(tensor: Tensor) -> bool:
    # looked up, not imported: who has no sharded tensor need not wait for the import
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
