"""What a step keeps beside the weights: room for one copy of them, and how P acts on each.

The copy of w is the one large thing GCSAM keeps. It stays between steps, because fresh memory costs a CPU six times the
copying. The random projection, a control, needs as much again for its directions. Right when memory is counted and
found to be one copy (`tests/gcsam/test_perturbation.py`), and when a seed alone decides the directions
(`tests/gcsam/test_workspace.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gcsam.centralize import random_directions
from gcsam.options import axes_of
from gcsam.rows import Rows, project
from gcsam.shards import as_shard, holders, local, shard_of

__all__ = ["Workspace"]

_SEEDS_APART = 1_000_003  # more than a model has parameters: the tensors of two seeds share no stream


class Workspace:
    """Lend each parameter room of its own form, and tell its rows."""

    def __init__(self) -> None:
        self._buffers: dict[Tensor, Tensor] = {}
        self._directions: dict[Tensor, tuple[tuple[Any, ...], Tensor]] = {}

    def buffer(self, parameter: Tensor) -> Tensor:
        """Return room for one copy of a parameter, the same at every call while its form is the same.

        Args:
            parameter: Sharded or not.

        Returns:
            A plain tensor of the form of the part that is here; its content is anything.
        """
        part = local(parameter)
        buffer = self._buffers.get(parameter)
        if buffer is None or _form(buffer) != _form(part):  # the model was moved or cast since
            buffer = self._buffers[parameter] = torch.empty_like(part)
        return buffer

    def tensors(self) -> list[Tensor]:
        """Return all that is lent or kept at present: room, and directions."""
        return [*self._buffers.values(), *(directions for _, directions in self._directions.values())]

    def rows(self, groups: Iterable[Mapping[str, Any]]) -> Iterator[list[Rows | None]]:
        """Tell for each group the rows of each parameter.

        Args:
            groups: All groups in order: the place of a parameter among them is part of its seed.

        Yields:
            One entry per parameter; None where P leaves it alone.
        """
        place = 0
        for group in groups:
            found: list[Rows | None] = []
            for parameter, axes in zip(group["params"], axes_of(group), strict=True):
                found.append(self._rows(parameter, axes, group, place) if axes else None)
                place += 1
            yield found

    def project_gradients(
        self, groups: Sequence[Mapping[str, Any]], replaced: list[tuple[Tensor, Tensor | None]]
    ) -> None:
        """Put P(gradient) in the place of each `.grad`, in the room for the copy of w.

        Args:
            groups: Those with `centralize_descent` are concerned.
            replaced: Gets each parameter and its own gradient, unchanged, before that is replaced.
        """
        for group, members in zip(groups, self.rows(groups), strict=True):
            for parameter, rows in zip(group["params"], members, strict=True):
                gradient = parameter.grad
                if group["centralize_descent"] and rows is not None and gradient is not None:
                    buffer = self.buffer(parameter)
                    project(local(gradient, parameter), rows, buffer)
                    replaced.append((parameter, gradient))
                    parameter.grad = as_shard(buffer, parameter)

    def _rows(self, parameter: Tensor, axes: tuple[int, ...], group: Mapping[str, Any], place: int) -> Rows:
        length = math.prod([parameter.shape[axis] for axis in axes])
        directions = None
        if group["projection"] == "random":
            directions = self._directions_of(parameter, axes, group["projection_seed"] * _SEEDS_APART + place)
        return Rows(axes, length, holders(parameter, axes), directions)

    def _directions_of(self, parameter: Tensor, axes: tuple[int, ...], seed: int) -> Tensor:
        part = local(parameter)
        dtype = torch.promote_types(part.dtype, torch.float32)  # a vector of length 1 in half precision is not
        key = (seed, axes, part.shape, part.device, dtype)
        kept = self._directions.get(parameter)
        if kept is None or kept[0] != key:
            whole = random_directions(parameter.shape, axes, torch.Generator().manual_seed(seed))
            kept = self._directions[parameter] = (key, shard_of(whole.to(dtype), parameter).to(part.device))
        return kept[1]


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype, torch.device]:
    return tensor.shape, tensor.dtype, tensor.device
