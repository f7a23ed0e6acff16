"""The three kinds of noise as operators: a matrix as it is, within the centralized subspace, within the control's.

Right when each is the dense product with its projection (`tests/analysis/operators/test_contract.py`), and the rank the
trace of that projection (`tests/analysis/noise/test_kinds.py`). Cost: that of the operator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from analysis.noise.scalars import KINDS
from analysis.objective import Objective
from analysis.operators.restricted import Centralized, RandomlyProjected


def checked_kinds(kinds: Sequence[str]) -> list[str]:
    """Return the kinds that are wanted, in the order of `KINDS`; "raw" always is.

    Args:
        kinds: Names.

    Raises:
        ValueError: An unknown one.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}, got {unknown[0]!r}")
    return [kind for kind in KINDS if kind in kinds or kind == "raw"]


def seen(kind: str, operator: Any, seed: int) -> Any:
    """Return an operator restricted to where noise of this kind lies.

    Args:
        kind: One of `KINDS`.
        operator: An `Objective`, or an operator made of one.
        seed: Of the control's directions.
    """
    if kind == "raw":
        return operator
    return Centralized(operator) if kind == "centralized" else RandomlyProjected(operator, seed)


def projected(kind: str, objective: Objective, seed: int, rows: Tensor) -> Tensor:
    """Return rows [K, D] without what noise of this kind has no part in.

    Args:
        kind: One of `KINDS`.
        objective: Whose weights.
        seed: Of the control's directions.
        rows: [K, D].
    """
    if kind == "raw":
        return rows
    view = seen(kind, objective, seed)
    return torch.stack([view.project(row) for row in rows])


def rank(kind: str, objective: Objective) -> int:
    """Return how many dimensions noise of this kind can have: D, less one for each row that a projection acts on.

    Args:
        kind: One of `KINDS`.
        objective: Whose weights.
    """
    if kind == "raw":
        return objective.num_parameters
    shapes = zip(objective.names, objective.layout.shapes, strict=True)
    dims = objective.centralize_dims
    removed = [shape.numel() // math.prod(shape[axis] for axis in dims[name]) for name, shape in shapes if dims[name]]
    return objective.num_parameters - sum(removed)
