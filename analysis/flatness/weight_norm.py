"""The norm of the weights, and how far training has moved them: the plainest measures, beside which others stand.

Proved right by: norms of each tensor taken one by one (`tests/analysis/flatness/test_weight_norm.py`).
Cost: a pass over the weights, none over the data.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.noise.layers import Layers
from analysis.objective import Objective

JIANG = "Jiang et al. (2020), arXiv 1912.02178"


@dataclasses.dataclass(frozen=True, eq=False)
class WeightNorm(Result):
    """L2 norms of the measured weights, and of their difference to initial ones."""

    group: ClassVar[str] = "sharpness"
    value: float = measured(units="weight", description="Norm of all measured weights", source=JIANG)
    distance: float = measured(units="weight", description="Norm of their change since; NaN if not known", source=JIANG)
    layers: tuple[str, ...] = measured("layer", description="Modules that hold them")
    by_layer: Tensor = measured("layer", units="weight", description="Norm of each layer's; squares add up")
    distance_by_layer: Tensor = measured("layer", units="weight", description="Norm of each layer's change; NaN")
    num_parameters: int = measured(units="1", description="D")
    status: Status = measured(description="How the measurement ended")


def weight_norm(objective: Objective, initial: Tensor | Mapping[str, Tensor] | None = None) -> WeightNorm:
    """Return the L2 norm of the measured weights, and their distance to initial ones, in all and by layer.

    Neither says how flat a minimum is: both change when a ReLU network is rescaled without changing its function.
    They are measured because a sharpness that only follows them tells nothing beyond them.

    Args:
        objective: Whose weights, its model's present ones.
        initial: Weights [D] or a checkpoint (`state_dict`), for example of before training; None measures no distance.

    Returns:
        WeightNorm (frozen). value, distance: in units of the weights; by_layer, distance_by_layer [L], float64, layers
        as in `gradient_noise`. Distances are NaN without `initial`. status: NOT_FINITE where a weight is, else
        COMPLETE.

    Raises:
        ValueError: `initial` is of another network, or not finite.

    Side effects: none.

    Cost: a pass over the weights.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> _ = torch.nn.init.constant_(model.weight, 2.0), torch.nn.init.constant_(model.bias, 1.0)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.ones(1, 2), torch.ones(1, 1)))
        >>> found = weight_norm(objective, {"weight": torch.ones(1, 2), "bias": torch.ones(1)})
        >>> found.value, round(found.distance, 4)
        (3.0, 1.4142)

    References:
        Jiang et al., Fantastic generalization measures and where to find them, arXiv 1912.02178.
    """
    layers = Layers(objective)
    weights = objective.weights()
    sizes = _by_layer(objective, layers, weights)
    unknown = torch.full_like(sizes, math.nan)
    moved = unknown if initial is None else _by_layer(objective, layers, weights - objective.flat(initial))
    return WeightNorm(
        value=float(sizes.norm()),
        distance=float(moved.norm()),
        layers=layers.names,
        by_layer=sizes,
        distance_by_layer=moved,
        num_parameters=objective.num_parameters,
        status=Status.COMPLETE if bool(sizes.isfinite().all()) else Status.NOT_FINITE,
    )


def _by_layer(objective: Objective, layers: Layers, vector: Tensor) -> Tensor:
    """Return the norm of a vector [D] over the weights of each layer, [L], in float64 on the CPU."""
    squares = torch.zeros(len(layers.names), dtype=torch.float64)
    for name, piece in objective.layout.split(vector.cpu().double()).items():
        squares[layers.row[name]] += piece.square().sum()
    return squares.sqrt()
