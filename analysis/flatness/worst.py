"""Worst-case rise of one objective's loss over a ball: SAM's one-step perturbation and random starts, then ascents.

Right when a quadratic network reaches the closed form, more restarts never lower the value
(`tests/analysis/flatness/test_worst.py`), and the perturbation alone gives the rise that its formula gives
(`tests/analysis/flatness/test_one_step.py`). Cost: at most 1 + (1 + restarts) * steps gradients, and about 1.3 times as
many losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.evidence import Status
from analysis.flatness.ascent import ascend
from analysis.flatness.balls import on_boundary
from analysis.flatness.perturbation import Perturbation, perturbation
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
    subspace: str = "all"

    def status(self, residual: float) -> Status:
        """Return how a search ended whose losses were finite.

        Args:
            residual: At the worst point.
        """
        if self.steps == 0:
            return Status.COMPLETE
        return Status.CONVERGED if residual <= self.tol else Status.MAX_STEPS

    @property
    def num_starts(self) -> int:
        """Of points that are looked at, each with its ascent if there are steps."""
        return 1 + self.restarts if self.steps else 1


@dataclass(frozen=True)
class Worst:
    """The worst perturbation found.

    Attributes:
        rise: L(w + delta) - L(w); NaN or inf if such a loss was met.
        perturbation: delta, [D], on the objective's device.
        residual: As in `ascent.Ascent`, by u; NaN for SAM's perturbation as it is.
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
        The best of all ascents and of delta = 0; with no steps, SAM's perturbation whatever its rise.
    """
    weights, move = objective.weights(), perturbation(objective, search.scale, search.subspace)
    base = objective.loss()
    if not math.isfinite(base):
        return Worst(math.nan, torch.zeros_like(weights), math.nan, base, 0, 1)
    at_start = move.of(objective.gradient())
    if not bool(at_start.isfinite().all()):
        return Worst(math.nan, torch.zeros_like(weights), math.nan, base, 1, 1)
    if search.steps == 0:
        is_moving = bool(at_start.any())
        delta = move.of(on_boundary(at_start, search.rho, search.norm)) if is_moving else torch.zeros_like(weights)
        rise = objective.loss(weights + delta) - base
        on_start()
        return Worst(rise, delta, math.nan, base, 1, 2)
    best = Worst(0.0, torch.zeros_like(weights), float(bool(at_start.any())), base, 1, 1)
    num_gradients, num_losses = 1, 1
    for start in _starts(at_start, move, search):
        found = ascend(
            lambda point: objective.loss(weights + move.of(point)),
            lambda point: move.of(objective.gradient(weights + move.of(point))),
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
            best = Worst(rise, move.of(found.point), found.residual, base, num_gradients, num_losses)
        on_start()
        if not math.isfinite(rise):
            break
    return Worst(best.rise, best.perturbation, best.residual, base, num_gradients, num_losses)


def _starts(gradient: Tensor, move: Perturbation, search: Search) -> Iterator[Tensor]:
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
            draw = 2 * torch.rand(gradient.shape, generator=generator).to(gradient) - 1
        else:
            draw = torch.randn(gradient.shape, generator=generator).to(gradient)
        draw = move.moving(draw)  # a weight of 0 cannot move where perturbations are relative to it
        if bool(draw.any()):
            yield search.rho * draw if search.norm == "linf" else on_boundary(draw, search.rho, search.norm)
