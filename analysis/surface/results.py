"""What scans find: the loss along a line, over a plane and in a block, and how the numbers came about.

Right when each comes back equal from a file (`tests/analysis/surface/test_scan.py`). Cost: none.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from torch import Tensor

from analysis.evidence import Result, Status, measured

LI = "Li et al. (2018), arXiv 1712.09913"


@dataclasses.dataclass(frozen=True, eq=False)
class Scan(Result):
    """What a line and a plane have in common: how the numbers came about."""

    group: ClassVar[str] = "surface"
    origin_loss: float = measured(units="loss", description="Loss at the weights themselves, whether a cell or not")
    source: str = measured(description="Where the directions come from: random, hessian or given")
    normalize: str = measured(description="Normalization applied: filter, layer, model or none", source=LI)
    zero_1d: bool = measured(
        description="Whether biases and norm parameters were left out of the directions", source=LI
    )
    seed: int = measured(units="1", description="Of random directions")
    names: tuple[str, ...] = measured("tensor", description="Measured parameters, in the order of the flat vector")
    state_sha256: str = measured(description="SHA-256 of all parameters and buffers at the origin")
    data_fingerprint: str = measured(description="Sum over all data relative to their norm, and the norm")
    status: Status = measured(description="How the scan ended")


@dataclasses.dataclass(frozen=True, eq=False)
class Surface(Scan):
    """The loss over a plane: loss[i, j] is at weights + x[i] * directions[0] + y[j] * directions[1]."""

    x: Tensor = measured("x", units="1", description="Multiples of the first direction")
    y: Tensor = measured("y", units="1", description="Multiples of the second direction")
    loss: Tensor = measured("x", "y", units="loss", description="Mean loss; NaN and inf as found", source=LI)
    done: Tensor = measured("x", "y", units="1", description="Whether the cell has been computed")
    directions: Tensor = measured("direction", "parameter", units="weight", description="As added to the weights")
    cosine: float = measured(units="1", description="Of the two directions, after normalization")
    single_share: float = measured(
        units="1", description="Share of the directions in filters of one element, which cannot be orthogonal"
    )
    extent: Tensor = measured("direction", "end", units="1", description="Lowest and highest multiple")
    points: Tensor = measured("direction", units="1", description="Number of points")


@dataclasses.dataclass(frozen=True, eq=False)
class Line(Scan):
    """The loss along a line: loss[i] is at weights + t[i] * direction."""

    t: Tensor = measured("t", units="1", description="Multiples of the direction")
    loss: Tensor = measured("t", units="loss", description="Mean loss; NaN and inf as found", source=LI)
    done: Tensor = measured("t", units="1", description="Whether the point has been computed")
    direction: Tensor = measured("parameter", units="weight", description="As added to the weights")
    extent: Tensor = measured("end", units="1", description="Lowest and highest multiple")
    points: int = measured(units="1", description="Number of points")


@dataclasses.dataclass(frozen=True, eq=False)
class Block(Scan):
    """The loss in three dimensions: loss[i, j, k] is at weights + x[i] d[0] + y[j] d[1] + z[k] d[2]."""

    x: Tensor = measured("x", units="1", description="Multiples of the first direction")
    y: Tensor = measured("y", units="1", description="Multiples of the second direction")
    z: Tensor = measured("z", units="1", description="Multiples of the third direction")
    loss: Tensor = measured("x", "y", "z", units="loss", description="Mean loss; NaN and inf as found", source=LI)
    done: Tensor = measured("x", "y", "z", units="1", description="Whether the cell has been computed")
    directions: Tensor = measured("direction", "parameter", units="weight", description="As added to the weights")
    cosine: float = measured(units="1", description="Of two of the directions, the largest in magnitude")
    single_share: float = measured(
        units="1", description="Share of the directions in filters of one element, which cannot be orthogonal"
    )
    extent: Tensor = measured("direction", "end", units="1", description="Lowest and highest multiple")
    points: Tensor = measured("direction", units="1", description="Number of points")
