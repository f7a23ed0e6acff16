"""Worst-case rise of one objective's loss over a ball: SAM's one-step perturbation and random starts, then ascents.

Right when a quadratic network reaches the closed form and more restarts never lower the value
(`tests/analysis/flatness/test_worst.py`). Cost: at most 1 + (1 + restarts) * steps gradients, and about 1.3 times as
many losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.flatness.ascent import ascend
from analysis.flatness.balls import on_boundary
from analysis.flatness.scales import weight_scale
from analysis.objective import Objective


@dataclass(frozen=True)
class Search:
    """How to look for the worst perturbation: the arguments of `sharpness`, `adaptive` by the name of its scale."""

    rho: float
    scale: str
    steps: int
    restarts: int
    tol: float
    seed: int
    norm: str = "l2"


@dataclass(frozen=True)
class Worst:
    """The worst perturbation found.

    Attributes:
        rise: L(w + delta) - L(w); NaN or inf if such a loss was met.
        perturbation: delta, [D], on the objective's device.
        residual: As in `ascent.Ascent`, by u.
        base_loss: L(w).
        num_gradients: Gradients computed.
        num_losses: Losses computed.
    """

    rise: float
    perturbation: Tensor
    residual: float
    base_loss: float
    num_gradients: int
    num_losses: int


def worst_rise(objective: Objective, search: Search, on_start: Callable[[], None]) -> Worst:
    """Return the largest rise of the loss found in the ball.

    Args:
        objective: Whose loss.
        search: Settings.
        on_start: Called after each ascent.

    Returns:
        The best of all ascents and of delta = 0.
    """
    weights, scale = objective.weights(), weight_scale(objective, search.scale)
    base = objective.loss()
    if not math.isfinite(base):
        return Worst(math.nan, torch.zeros_like(weights), math.nan, base, 0, 1)
    at_start = scale * objective.gradient()
    if not bool(at_start.isfinite().all()):
        return Worst(math.nan, torch.zeros_like(weights), math.nan, base, 1, 1)
    best = Worst(0.0, torch.zeros_like(weights), float(bool(at_start.any())), base, 1, 1)
    num_gradients, num_losses = 1, 1
    for start in _starts(at_start, scale, search):
        found = ascend(
            lambda point: objective.loss(weights + scale * point),
            lambda point: scale * objective.gradient(weights + scale * point),
            start,
            search.rho,
            steps=search.steps,
            tol=search.tol,
            norm=search.norm,
            slack=4 * torch.finfo(objective.dtype).eps * abs(base),  # a few roundings of the batch sums
        )
        num_gradients, num_losses = num_gradients + found.num_gradients, num_losses + found.num_losses
        rise = found.value - base
        if rise > best.rise or not math.isfinite(rise):
            best = Worst(rise, scale * found.point, found.residual, base, num_gradients, num_losses)
        on_start()
        if not math.isfinite(rise):
            break
    return Worst(best.rise, best.perturbation, best.residual, base, num_gradients, num_losses)


def _starts(gradient: Tensor, scale: Tensor, search: Search) -> Iterator[Tensor]:
    """Yield points of the ball: SAM's, a random one where the gradient is zero, then the random restarts.

    In L2 they lie on the sphere. SAM's in a box is a corner, random ones are uniform in it, as ascents from a corner
    would often stay there.
    """
    generator = torch.Generator().manual_seed(search.seed)
    num_random = search.restarts
    if bool(gradient.any()):
        yield on_boundary(gradient, search.rho, search.norm)
    else:
        num_random += 1
    for _ in range(num_random):
        if search.norm == "linf":
            draw = 2 * torch.rand(scale.shape, generator=generator).to(scale) - 1
        else:
            draw = torch.randn(scale.shape, generator=generator).to(scale)
        draw = draw * (scale != 0)  # a weight of 0 cannot move
        if bool(draw.any()):
            yield search.rho * draw if search.norm == "linf" else on_boundary(draw, search.rho, search.norm)
