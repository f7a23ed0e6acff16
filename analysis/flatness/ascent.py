"""Maximize a function over a ball around 0 by projected gradient ascent with step-size control.

On the sphere the ascent follows the tangential gradient, inside the ball and where the gradient points inward the
gradient itself. Right when a quadratic reaches the closed form of its maximum over the ball
(`tests/analysis/flatness/test_ascent.py`). Cost: one gradient for each step, and one loss for each trial of a step
length, about 1.2 a step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from torch import Tensor

TRIALS = 10  # quarterings of a step before the ascent gives up: 1e-6 of a step is lost in float32 rounding
LONGEST = 10.0  # longest step, in radii: beyond it a step along the sphere is a turn by 90 degrees whatever its length


@dataclasses.dataclass(frozen=True)
class Ascent:
    """Where one ascent ended.

    Attributes:
        point: [D], in the ball to rounding.
        value: The function there; NaN or inf if the ascent met such a value.
        residual: How far from stationary, in [0, 1]. On the sphere, with the gradient pointing outward: norm of the
            tangential gradient over norm of the gradient. Elsewhere: norm of the gradient over the largest seen.
        num_gradients: Gradients used.
        num_losses: Function values used.
    """

    point: Tensor
    value: float
    residual: float
    num_gradients: int
    num_losses: int


def ascend(
    function: Callable[[Tensor], float],
    gradient: Callable[[Tensor], Tensor],
    start: Tensor,
    radius: float,
    *,
    steps: int,
    tol: float,
    slack: float = 0.0,
) -> Ascent:
    """Climb from a point on the sphere.

    Step lengths are those of Barzilai and Borwein; the first turns the point by at most 45 degrees. A step that lowers
    the function is tried again at a quarter of its length.

    Args:
        function: From [D] to a number.
        gradient: From [D] to [D].
        start: [D], of norm `radius`.
        radius: Of the ball.
        steps: At most so many gradients.
        tol: Stop at this residual.
        slack: Rounding error of the function; a step that lowers it by less is taken.

    Returns:
        The last point.

    References:
        Barzilai, Borwein, Two-point step size gradient methods, IMA J. Numer. Anal. 8 (1988).
    """
    point, value, num_losses = start, function(start), 1
    if not math.isfinite(value):
        return Ascent(point, value, math.nan, 0, num_losses)
    slope, is_held, norm = _slope(point, gradient(point), radius, is_on_sphere=True)
    step = radius / norm if norm > 0 else 0.0  # a turn by up to 45 degrees
    num_gradients, largest = 1, norm
    while True:
        if not math.isfinite(norm):
            return Ascent(point, math.nan, math.nan, num_gradients, num_losses)
        largest = max(largest, norm)
        free = float(slope.norm())
        residual = free / scale if (scale := norm if is_held else largest) > 0 else 0.0
        here = Ascent(point, value, residual, num_gradients, num_losses)
        if residual <= tol or num_gradients == steps:
            return here
        step = min(step, LONGEST * radius / free)
        for _ in range(TRIALS):
            candidate, is_on_sphere = _in_ball(point + step * slope, radius, is_held=is_held)
            candidate_value = function(candidate)
            num_losses += 1
            if not math.isfinite(candidate_value):
                return Ascent(candidate, candidate_value, math.nan, num_gradients, num_losses)
            if candidate_value >= value - slack:
                break
            step /= 4
        else:
            return dataclasses.replace(here, num_losses=num_losses)
        before, moved = slope, candidate - point
        point, value = candidate, candidate_value
        slope, is_held, norm = _slope(point, gradient(point), radius, is_on_sphere=is_on_sphere)
        num_gradients += 1
        change = abs(float(moved @ (slope - before)))
        step = float(moved @ moved) / change if change > 0 else step


def _slope(point: Tensor, gradient: Tensor, radius: float, *, is_on_sphere: bool) -> tuple[Tensor, bool, float]:
    """Return what of the gradient can be followed in the ball, whether the sphere holds the point, and its norm."""
    multiplier = float(point @ gradient) / radius**2
    is_held = is_on_sphere and multiplier >= 0
    return (gradient - multiplier * point if is_held else gradient), is_held, float(gradient.norm())


def _in_ball(point: Tensor, radius: float, *, is_held: bool) -> tuple[Tensor, bool]:
    """Return the point on the sphere if it is held there or lies outside, else as it is; and which it was."""
    norm = float(point.norm())
    is_on_sphere = is_held or norm > radius
    return (point * (radius / norm) if is_on_sphere else point), is_on_sphere
