"""P applied to one tensor: what is removed from each row, and how much that was.

A row loses its component along one direction: (1, ..., 1) for centralization, a random one for its control. The row
may be cut over processes; then its sum is taken over all of them. Right when the result is that of
`gcsam.centralize.centralize` and `remove_component` on the whole tensor (`tests/gcsam/test_rows.py`).
Cost: reads the tensor twice and writes it once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gcsam.shards import Processes, sum_over

__all__ = ["Removed", "Rows", "project"]


class Rows(NamedTuple):
    """The rows of one tensor.

    Attributes:
        axes: That make up a row; at least one.
        length: Elements of a whole row.
        cut: Processes that hold parts of the same row; () for whole rows.
        directions: Unit vector of each row, as this process holds it, of the tensor's shape. None: (1, ..., 1).
    """

    axes: tuple[int, ...]
    length: int
    cut: Processes = ()
    directions: Tensor | None = None


class Removed(NamedTuple):
    """What P removed from the part that is here; its norm is factor * ||tensor||."""

    tensor: Tensor
    factor: float


def project(source: Tensor, rows: Rows, out: Tensor) -> Removed:
    """Write P(source) into another tensor.

    Args:
        source: A gradient.
        rows: Its rows.
        out: Of the shape of the source; may be the source itself.

    Returns:
        What was removed.
    """
    if rows.directions is None:
        if rows.cut:
            mean = sum_over(source.sum(rows.axes, keepdim=True), rows.cut) / rows.length
        else:
            mean = source.mean(rows.axes, keepdim=True)
        here = math.prod([source.shape[axis] for axis in rows.axes])
        torch.sub(source, mean, out=out)
        return Removed(mean, math.sqrt(here))
    component = sum_over((source * rows.directions).sum(rows.axes, keepdim=True), rows.cut)
    removed = component * rows.directions
    torch.sub(source, removed, out=out)
    return Removed(removed, 1.0)
