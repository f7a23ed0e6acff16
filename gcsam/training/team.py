"""The processes that train one network together: each takes its share of every batch, one writes.

Started by `torchrun`, or by whoever has initialized `torch.distributed`. Right when two processes train the network one
process trains (`tests/gcsam/training/test_team.py`). Cost: the averaging of gradients, and two numbers per step.
"""

from __future__ import annotations

import gc
import os
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Team", "is_first_process"]


def is_first_process() -> bool:
    """Return whether this process is the only one, or the one that writes and talks, also before there is a team."""
    return (distributed.get_rank() if _is_initialized() else int(os.environ.get("RANK", "0"))) == 0


class Team:
    """This process among all; alone where there is one.

    Args:
        device: Of the configuration. In several processes "cuda" becomes the GPU of this one.

    Attributes:
        rank: From 0.
        size: Number of processes.
        device: Where this process computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_ours = not _is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1
        if self._is_ours:
            if device.type == "cuda":
                torch.cuda.set_device(_local_rank())
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        is_parallel = _is_initialized()
        self.rank = distributed.get_rank() if is_parallel else 0
        self.size = distributed.get_world_size() if is_parallel else 1
        several_gpus = self.size > 1 and device.type == "cuda" and device.index is None
        self.device = torch.device("cuda", _local_rank()) if several_gpus else device

    def __enter__(self) -> Team:
        self.wait()  # nobody writes before all have read what is there
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_ours:
            # what still refers to the process group keeps its threads, which may bring Python down at its end
            gc.collect()
            if kind is None:
                self.wait()
            distributed.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return the model, wrapped so that gradients are averaged where there are several processes.

        Args:
            model: On this process's device.
        """
        if self.size == 1:
            return model
        ids = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(model, device_ids=ids)

    def share(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return this process's part of a batch, and the weight of its mean loss.

        The parts differ by one image at most. The mean over processes of weight * (mean loss of the part) is the mean
        loss of the batch, so the averaged gradient is that of the batch.

        Args:
            inputs: [B, C, H, W], equal on all processes.
            labels: [B]

        Returns:
            Inputs, labels, weight.

        Raises:
            ValueError: Fewer images than processes.
        """
        if self.size == 1:
            return inputs, labels, 1.0
        if len(labels) < self.size:
            raise ValueError(
                f"batch_size must give each of {self.size} processes an image, got a batch of {len(labels)}; "
                "take larger batches or fewer processes"
            )
        mine = labels.tensor_split(self.size)[self.rank]
        return inputs.tensor_split(self.size)[self.rank], mine, len(mine) * self.size / len(labels)

    def total(self, numbers: Tensor) -> Tensor:
        """Return the sum over all processes of numbers each has.

        Args:
            numbers: Of one shape on all; changed in place.
        """
        if self.size > 1:
            distributed.all_reduce(numbers)
        return numbers

    def gathered(self, value: Any) -> list[Any]:
        """Return what each process has, in the order of their ranks.

        Args:
            value: Can be pickled.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            distributed.barrier()


def _is_initialized() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))
