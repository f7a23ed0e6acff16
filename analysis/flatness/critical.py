"""Critical sharpness: 2 over the smallest step along a direction at which the loss is above its start.

Proved right by: quadratics, where it is the curvature along the direction over the slope, an eigenvalue along an
eigenvector; a loss whose crossing scipy finds (`tests/analysis/flatness/test_critical.py`).
Cost: stated at `critical_sharpness`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from analysis.checks import check_whole
from analysis.evidence import Result, Status, measured
from analysis.flatness.bracket import crossing
from analysis.objective import Objective
from analysis.surface.evaluate import repeated_loss

PAPER = "arXiv 2601.16979"


@dataclasses.dataclass(frozen=True, eq=False)
class CriticalSharpness(Result):
    """The curvature that a step along a direction meets, from forward passes alone."""

    group: ClassVar[str] = "sharpness"
    value: float = measured(units="loss per squared weight", description="2 / learning_rate", source=PAPER)
    learning_rate: float = measured(
        units="squared weight per loss", description="Smallest step at which the loss rises"
    )
    low: float = measured(units="squared weight per loss", description="Largest step below it seen not to rise")
    high: float = measured(units="squared weight per loss", description="Smallest step seen to rise; inf for none")
    base_loss: float = measured(units="loss", description="Mean loss at the weights")
    num_gradients: int = measured(units="1", description="Gradients computed")
    num_losses: int = measured(units="1", description="Losses computed")
    tol: float = measured(units="1", description="Wanted width of the bracket, relative")
    status: Status = measured(description="How the search ended")


def critical_sharpness(
    objective: Objective,
    direction: Tensor | None = None,
    *,
    tol: float = 1e-2,
    max_losses: int = 100,
) -> CriticalSharpness:
    """Find the smallest learning rate eta at which a step w - eta * direction raises the loss, and 2 / eta.

    On a quadratic it is d.H.d / (g.d) for the direction d: for the gradient itself the Rayleigh quotient g.H.g / g.g,
    and lambda where the gradient is an eigenvector. Training with steps along d is stable below 2 / (learning rate);
    with the update of an optimizer as direction, it is the sharpness that this optimizer sees.

    The step is doubled, or halved, until it brackets the first crossing, and the bracket is bisected. A rise and fall
    between two tries of a doubling goes unseen.

    Args:
        objective: Whose loss, around its model's present weights.
        direction: [D], what a learning rate of 1 subtracts; None is the gradient. Not normalized.
        tol: Width of the bracket over its upper end at which to stop, in (0, 1). 1e-2 is our choice: training runs
            differ by more.
        max_losses: Budget of losses, >= 2. 100 is our choice: a search takes about 20.

    Returns:
        CriticalSharpness (frozen). value: loss per squared weight; learning_rate, the middle of low and high.
        status: CONVERGED; NO_BRACKET where no step was found to rise (high is inf) or none not to (low is 0: no descent
        direction, or a step below rounding), value and learning_rate then are NaN; MAX_STEPS where the budget ran out
        in the bisection; NOT_FINITE where the loss at the weights or the direction is.

    Raises:
        ValueError: An argument out of range, a direction of another length.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: about 20 losses, and one gradient where no direction is given.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2 on the data below
        >>> _ = model.weight.data.copy_(torch.tensor([[0.0, 1.0]]))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> f"{critical_sharpness(objective, tol=1e-4).value:.2f}"
        '4.00'

    References:
        arXiv 2601.16979. We differ: the direction is not normalized, so that the value is a curvature for any.
    """
    if not 0 < tol < 1:
        raise ValueError(f"tol must be a number in (0, 1), got {tol!r}; 0.01 is the default")
    check_whole("max_losses", max_losses, 2, "one is at the weights, one along the direction")
    with torch.inference_mode(False):  # whatever the caller's mode, a gradient is needed
        base = objective.loss()
        along = objective.gradient() if direction is None else objective.layout.checked(direction, "direction")
        weights = objective.weights()
        size = float(along.norm())
        if not (math.isfinite(base) and math.isfinite(size)):
            found, status = (0.0, math.inf, 0), Status.NOT_FINITE
        elif size == 0:
            found, status = (0.0, math.inf, 0), Status.NO_BRACKET
        else:
            whole = (float(weights.norm()) or 1.0) / size  # a step as long as the weights
            # from 1 % of that down to where the change of the loss drowns in its rounding; both are our choice
            start, least = 1e-2 * whole, torch.finfo(objective.dtype).eps ** 0.75 * whole
            with repeated_loss(objective) as loss:
                # what is not finite is above any loss
                found = crossing(lambda eta: not loss(weights - eta * along) <= base, start, tol, max_losses - 1, least)
            status = _status(found, tol)
    low, high, tries = found
    rate = (low + high) / 2 if status in {Status.CONVERGED, Status.MAX_STEPS} else math.nan
    return CriticalSharpness(
        value=2 / rate,
        learning_rate=rate,
        low=low,
        high=high,
        base_loss=base,
        num_gradients=int(direction is None),
        num_losses=1 + tries,
        tol=tol,
        status=status,
    )


def _status(found: tuple[float, float, int], tol: float) -> Status:
    low, high, _ = found
    if low == 0 or math.isinf(high):
        return Status.NO_BRACKET
    return Status.CONVERGED if high - low <= tol * high else Status.MAX_STEPS
