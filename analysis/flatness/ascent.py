"""Maximize a function over a ball around 0, of the L2 or L-infinity norm, by projected ascent with step-size control.

On the sphere the ascent follows the tangential gradient, inside the ball and where the gradient points inward the
gradient itself; in a box, all coordinates but those held at a face. Right when a quadratic reaches the closed form of
its maximum (`tests/analysis/flatness/test_ascent.py`, `test_box.py`). Cost: one gradient for each step, and one loss
for each trial of a step length, about 1.2 a step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from torch import Tensor

from analysis.flatness.balls import Ball, Box, Euclidean

TRIALS = 10  # quarterings of a step before the ascent gives up: 1e-6 of a step is lost in float32 rounding
LONGEST = 10.0  # longest step, in radii: beyond it a step along the sphere is a turn by 90 degrees whatever its length


@dataclasses.dataclass(frozen=True)
class Ascent:
    """Where one ascent ended.

    Attributes:
        point: [D], in the ball to rounding.
        value: The function there; NaN or inf if the ascent met such a value.
        residual: How far from stationary, in [0, 1]. On the sphere, with the gradient pointing outward: norm of the
            tangential gradient over norm of the gradient. Elsewhere: norm of the gradient over the largest seen. In a
            box the coordinates at a face that the gradient points out of take the place of the sphere.
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
    norm: str = "l2",
) -> Ascent:
    """Climb from a point of the ball: in L2 of the sphere, in the box of norm "linf" any.

    Step lengths are those of Barzilai and Borwein; the first turns the point by at most 45 degrees. A step that lowers
    the function is tried again at a quarter of its length.

    Args:
        function: From [D] to a number.
        gradient: From [D] to [D].
        start: [D], of norm `radius`; in a box of at most that.
        radius: Of the ball.
        steps: At most so many gradients.
        tol: Stop at this residual.
        slack: Rounding error of the function; a step that lowers it by less is taken.
        norm: "l2" or "linf".

    Returns:
        The last point.

    References:
        Barzilai, Borwein, Two-point step size gradient methods, IMA J. Numer. Anal. 8 (1988).
    """
    point, value, num_losses = start, function(start), 1
    if not math.isfinite(value):
        return Ascent(point, value, math.nan, 0, num_losses)
    ball: Ball = Box(radius, start.numel()) if norm == "linf" else Euclidean(radius)
    full = gradient(point)
    slope, is_held = ball.slope(point, full, is_outside=True)
    size = float(full.norm())
    step = ball.reach / size if size > 0 else 0.0  # a turn by up to 45 degrees
    num_gradients, largest = 1, size
    while True:
        if not math.isfinite(size):
            return Ascent(point, math.nan, math.nan, num_gradients, num_losses)
        largest = max(largest, size)
        free = float(slope.norm())
        residual = free / scale if (scale := size if is_held else largest) > 0 else 0.0
        here = Ascent(point, value, residual, num_gradients, num_losses)
        if residual <= tol or num_gradients == steps:
            return here
        step = min(step, LONGEST * ball.reach / free)
        for _ in range(TRIALS):
            candidate, is_outside = ball.inside(point + step * slope, is_held=is_held)
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
        full = gradient(point)
        slope, is_held = ball.slope(point, full, is_outside=is_outside)
        size = float(full.norm())
        num_gradients += 1
        change = abs(float(moved @ (slope - before)))
        step = float(moved @ moved) / change if change > 0 else step
