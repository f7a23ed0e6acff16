"""Loss, gradient norm and weight norm: what every number on sharpness should be read beside.

Right when they are those of the objective (`tests/analysis/report/test_magnitudes.py`). Cost: stated at `magnitudes`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from analysis.evidence import Result, Status, measured
from analysis.objective import Objective


@dataclasses.dataclass(frozen=True, eq=False)
class Magnitudes(Result):
    """Size of the loss, of its gradient and of the weights."""

    group: ClassVar[str] = "sharpness"
    loss: float = measured(units="loss", description="Mean loss at the weights")
    gradient_norm: float = measured(units="loss/weight", description="L2 norm of its gradient; 0 at a minimum")
    weight_norm: float = measured(units="weight", description="L2 norm of the measured weights")
    num_parameters: int = measured(units="1", description="D, the number of measured weights")
    num_gradients: int = measured(units="1", description="Gradients computed")
    num_losses: int = measured(units="1", description="Losses computed")
    status: Status = measured(description="How the measurement ended")


def magnitudes(objective: Objective) -> Magnitudes:
    """Measure the mean loss, the norm of its gradient and the norm of the weights.

    Two checkpoints compare in sharpness at equal loss; and where the gradient is not small the rise of the loss within
    rho is mostly slope, rho * gradient_norm, and not curvature.

    Args:
        objective: Whose loss, at its model's present weights.

    Returns:
        Magnitudes (frozen). status: NOT_FINITE where one of them is, else COMPLETE.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: one loss and one gradient.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2 on the data below
        >>> _ = model.weight.data.copy_(torch.tensor([[3.0, 1.0]]))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> found = magnitudes(objective)
        >>> found.loss, round(found.gradient_norm, 4), round(found.weight_norm, 4)
        (6.5, 5.0, 3.1623)
    """
    loss = objective.loss()
    sizes = (loss, float(objective.gradient().norm()), float(objective.weights().norm()))
    return Magnitudes(
        *sizes,
        num_parameters=objective.num_parameters,
        num_gradients=1,
        num_losses=1,
        status=Status.COMPLETE if all(math.isfinite(size) for size in sizes) else Status.NOT_FINITE,
    )
