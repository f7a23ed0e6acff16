"""Balls to climb in: of the L2 norm, where a point is held on the sphere, and of the L-infinity norm, a box.

Right when ascents in them reach closed forms and stay inside (`tests/analysis/flatness/test_ascent.py`, `test_box.py`).
Cost: a few vector operations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

NORMS = ("l2", "linf")


class Ball(Protocol):
    """What an ascent asks of the set it must not leave."""

    @property
    def reach(self) -> float:
        """L2 norm of its farthest point."""

    def slope(self, point: Tensor, gradient: Tensor, *, is_outside: bool) -> tuple[Tensor, bool]:
        """Return what of the gradient can be followed from a point, and whether the boundary holds the point.

        Args:
            point: [D], in the ball.
            gradient: [D].
            is_outside: Whether the step to the point had to be shortened to the boundary.
        """

    def inside(self, point: Tensor, *, is_held: bool) -> tuple[Tensor, bool]:
        """Return the point put into the ball, and whether that was needed.

        Args:
            point: [D].
            is_held: Whether the boundary held the point it was reached from.
        """


@dataclass(frozen=True)
class Euclidean:
    """||u||_2 <= radius."""

    radius: float

    @property
    def reach(self) -> float:
        """The radius."""
        return self.radius

    def slope(self, point: Tensor, gradient: Tensor, *, is_outside: bool) -> tuple[Tensor, bool]:
        """Return the tangential gradient on the sphere where it points outward, else the gradient."""
        multiplier = float(point @ gradient) / self.radius**2
        is_held = is_outside and multiplier >= 0
        return (gradient - multiplier * point if is_held else gradient), is_held

    def inside(self, point: Tensor, *, is_held: bool) -> tuple[Tensor, bool]:
        """Return the point on the sphere if it is held there or lies outside, else as it is."""
        norm = float(point.norm())
        is_on_sphere = is_held or norm > self.radius
        return (point * (self.radius / norm) if is_on_sphere else point), is_on_sphere


@dataclass(frozen=True)
class Box:
    """max |u_i| <= radius, in D dimensions."""

    radius: float
    num_parameters: int

    @property
    def reach(self) -> float:
        """From the center to a corner."""
        return self.radius * math.sqrt(self.num_parameters)

    def slope(self, point: Tensor, gradient: Tensor, *, is_outside: bool) -> tuple[Tensor, bool]:  # noqa: ARG002
        """Return the gradient without the coordinates at a face that it points out of."""
        held = (point.abs() >= self.radius) & (point * gradient >= 0)
        return gradient.masked_fill(held, 0.0), bool(held.any())

    def inside(self, point: Tensor, *, is_held: bool) -> tuple[Tensor, bool]:  # noqa: ARG002
        """Return the nearest point of the box."""
        return point.clamp(-self.radius, self.radius), False


def on_boundary(direction: Tensor, radius: float, norm: str) -> Tensor:
    """Return the point of a ball that is farthest along a direction that is not zero.

    Args:
        direction: [D].
        radius: Of the ball.
        norm: "l2" or "linf".
    """
    if norm == "linf":
        return radius * torch.sign(direction)
    return direction * (radius / float(direction.norm()))
