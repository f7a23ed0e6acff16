"""What is asked about the gradient of one weight, and the algebra that answers it without projecting anything.

A projection removes from each row o of a gradient g its component h_o along a unit vector: (1, ..., 1) / sqrt(K) for P,
a random one for the control. So ||P g||^2 = ||g||^2 - sum_o h_o^2 and <P g, G> = <g, G> - sum_o h_o G_o, with G_o the
component of G: the components are all that a projection needs, and they are linear in g.

Proved right by projecting explicitly in float64 (`tests/analysis/noise/test_scalars.py`). A difference carries the
rounding of ||g||^2, so the projected square is exact relative to the raw one. Cost: up to three passes over g.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

KINDS = ("raw", "centralized", "control")


class Target(NamedTuple):
    """One weight and what its per-sample gradients are measured against.

    Attributes:
        shape: Of the weight.
        dims: Axes that make up one row for P; () where P does nothing.
        kinds: Which of `KINDS` are wanted beside "raw"; others are NaN.
        control: Unit vectors of the control, [*shape]; None where it is not wanted or P does nothing.
        along: The vector G, [*shape]; None where no products are wanted, which are then NaN.
    """

    shape: torch.Size
    dims: tuple[int, ...]
    kinds: tuple[str, ...] = KINDS
    control: Tensor | None = None
    along: Tensor | None = None

    @property
    def row_length(self) -> int:
        """K, the weights in one row."""
        return math.prod([self.shape[axis] for axis in self.dims])


class Components(NamedTuple):
    """Of each sample's gradient along one unit vector a row, [C, rows]; and of G, [rows] or None."""

    kind: str
    gradient: Tensor
    along: Tensor | None


def assembled(square: Tensor, along: Tensor | None, components: Sequence[Components], target: Target) -> Tensor:
    """Put squared norms and products of every kind together.

    Args:
        square: ||g_i||^2, [C].
        along: <g_i, G>, [C], or None.
        components: One for each projection that is wanted; none where P does nothing.
        target: What is asked.

    Returns:
        [kind, square and product, C] in float64, NaN where not asked for.
    """
    raw = square.double()
    products = torch.full_like(raw, torch.nan) if along is None else along.double()
    found = torch.full((len(KINDS), 2, len(raw)), torch.nan, dtype=torch.float64, device=raw.device)
    for number, kind in enumerate(KINDS):
        if kind == "raw" or (kind in target.kinds and not target.dims):
            found[number] = torch.stack([raw, products])
    for kind, of_gradient, of_along in components:
        h = of_gradient.double()
        less = products if of_along is None else products - h @ of_along.double()
        found[KINDS.index(kind)] = torch.stack([(raw - h.square().sum(1)).clamp(min=0), less])
    return found


def of_gradients(gradients: Tensor, target: Target) -> Tensor:
    """Answer from the gradients themselves.

    Args:
        gradients: [C, *shape].
        target: What is asked.

    Returns:
        As `assembled`.
    """
    flat = gradients.reshape(len(gradients), -1)
    along = None if target.along is None else flat @ target.along.reshape(-1)
    axes = tuple(axis + 1 for axis in target.dims)
    components = []
    for kind, unit in units(target):
        h = gradients.sum(axes) * unit if isinstance(unit, float) else (gradients * unit).sum(axes)
        components.append(Components(kind, h.flatten(1), component_of_along(target, unit)))
    return assembled(torch.linalg.vector_norm(flat, dim=1).double().square(), along, components, target)


def units(target: Target) -> list[tuple[str, Tensor | float]]:
    """Return the wanted projections by the unit vectors they remove; a number stands for equal entries.

    Args:
        target: What is asked.
    """
    found: list[tuple[str, Tensor | float]] = []
    if target.dims and "centralized" in target.kinds:
        found.append(("centralized", target.row_length**-0.5))
    if target.control is not None and "control" in target.kinds:
        found.append(("control", target.control))
    return found


def component_of_along(target: Target, unit: Tensor | float) -> Tensor | None:
    """Return the component of G along a unit vector a row, [rows], in the order of the remaining axes.

    Args:
        target: What is asked.
        unit: As from `units`.
    """
    return None if target.along is None else (target.along * unit).sum(target.dims).flatten()
