"""How far to look: the radius at which the loss has risen by a factor.

Right when a quadratic gives back the radius that its curvature says (`tests/analysis/surface/test_extent.py`). Cost:
two forward passes over the data for each radius tried, 6 to 20 radii for each direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from analysis.objective import Objective
from analysis.surface.evaluate import repeated_loss
from analysis.surface.grid import Extent

AUTO = "auto"
RISE = 10.0
DOUBLINGS = 40  # from 1: a direction along which nothing happens up to 1e12 times itself has no range
HALVINGS = 5  # of the bracket [r, 2r], in the logarithm: to 2 percent


def resolved(objective: Objective, vectors: Tensor, extent: Extent | str, rise: float, *, is_common: bool) -> Extent:
    """Return a range in numbers.

    Args:
        objective: Whose loss.
        vectors: Directions [K, D], on the objective's device.
        extent: "auto", or anything else, which is returned as it is.
        rise: See `radii`.
        is_common: Whether all directions get the smallest radius, because they are of one scale.

    Returns:
        A range for each direction, or what was given.

    Raises:
        ValueError: Another word, or as `radii`.
    """
    if not isinstance(extent, str):
        return extent
    if extent != AUTO:
        raise ValueError(f"extent must be 'auto', r > 0, (low, high) or one such pair per direction, got {extent!r}")
    found = radii(objective, vectors, rise)
    if is_common:
        found = [min(found)] * len(found)
    return tuple((-radius, radius) for radius in found)


def radii(objective: Objective, vectors: Tensor, rise: float) -> list[float]:
    """Return the radius along each direction at which the loss first reaches a multiple of that at the weights.

    Looked for by doubling or halving from 1, then between; a valley beyond a ridge is not seen. NaN and inf count as
    risen. Rounded to two digits, so that axes read well and a repeated search gives the same numbers.

    Args:
        objective: Whose loss.
        vectors: Directions [K, D], on the objective's device.
        rise: Factor > 1; the loss at +r or -r, whichever is larger, is about `rise` times that at the weights.

    Returns:
        [K], each > 0.

    Raises:
        ValueError: `rise` out of range, a loss that is not positive, or a direction along which it never rises so far.
    """
    if not (math.isfinite(rise) and rise > 1):
        raise ValueError(f"rise must be a finite number > 1, got {rise}; 10 shows the valley and its walls")
    weights = objective.weights()
    with repeated_loss(objective) as loss:
        origin = loss(weights)
        if not (math.isfinite(origin) and origin > 0):
            raise ValueError(
                f"extent='auto' looks for {rise:g} times the loss at the weights, which is {origin:.6g} and not above "
                "0; give a number"
            )

        def is_risen(vector: Tensor, radius: float) -> bool:
            ends = [loss(torch.add(weights, vector, alpha=side * radius)) for side in (1.0, -1.0)]
            return any(not end < rise * origin for end in ends)

        return [_radius(partial(is_risen, vector), number, rise) for number, vector in enumerate(vectors, start=1)]


def _radius(is_risen: Callable[[float], bool], number: int, rise: float) -> float:
    """Return the radius where a yes begins, to two digits."""
    exponent = 0
    step = -1 if is_risen(1.0) else 1
    while is_risen(2.0**exponent) == (step < 0):  # until the answer turns
        exponent += step
        if abs(exponent) > DOUBLINGS:
            where = f"up to {2.0**DOUBLINGS:.0e}" if step > 0 else f"down to {2.0**-DOUBLINGS:.0e}"
            raise ValueError(
                f"extent='auto': along direction {number} the loss does not turn {rise:g} times as large {where} "
                "times the direction; give a number"
            )
    low = float(min(exponent, exponent - step))
    for width in (0.5 ** (halving + 1) for halving in range(HALVINGS)):
        middle = low + width
        low = low if is_risen(2.0**middle) else middle
    return float(f"{2.0 ** (low + 0.5 ** (HALVINGS + 1)):.2g}")
