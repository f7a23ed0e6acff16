"""The processes that share the points of one scan, each with a copy of the model and of the data.

Every process of the default group calls the scan; the first one writes. Right when a plane on two processes equals the
plane on one bit for bit (`tests/analysis/surface/test_ranks.py`). Cost: one exchange of a few numbers for each
round of points, one for each process.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import distributed

Shared = TypeVar("Shared")


class Ranks:
    """This process among those that scan together; alone unless asked to be one of several.

    Args:
        together: Whether to share the work with the default process group.

    Attributes:
        rank: From 0.
        size: Number of processes.

    Raises:
        RuntimeError: There is no process group to share with.
    """

    def __init__(self, *, together: bool) -> None:
        if together and not (distributed.is_available() and distributed.is_initialized()):
            raise RuntimeError(
                "distributed=True needs a process group: start by torchrun and call "
                "torch.distributed.init_process_group() first, or leave it False"
            )
        self.rank = distributed.get_rank() if together else 0
        self.size = distributed.get_world_size() if together else 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the file."""
        return self.rank == 0

    def of_first(self, value: Shared) -> Shared:
        """Return what the first process has.

        Args:
            value: Can be pickled; looked at on the first process only.
        """
        if self.size == 1:
            return value
        box: list[Any] = [_on_cpu(value) if self.is_first else None]
        distributed.broadcast_object_list(box)
        found: Shared = box[0]
        return found

    def gathered(self, value: Shared) -> list[Shared]:
        """Return what each process has, in the order of their ranks.

        Args:
            value: Can be pickled.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def refuse_differences(self, what: dict[str, str]) -> None:
        """Refuse processes that would scan different things.

        Args:
            what: By name, texts that must be the same on all.

        Raises:
            ValueError: One is not; the message names the first.
        """
        everyone = self.gathered(what)
        for name in what:
            different = [rank for rank, other in enumerate(everyone) if other[name] != everyone[0][name]]
            if different:
                raise ValueError(
                    f"all processes must scan the same {name}, and process {different[0]} has another than process 0; "
                    "give each the whole data (no DistributedSampler) and the same weights"
                )


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, torch.Tensor) else value
