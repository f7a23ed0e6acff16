"""What is asked about the gradient of one weight, and the algebra that answers it without projecting anything.

A projection removes from each row o of a gradient g its component h_o along a unit vector: (1, ..., 1) / sqrt(K) for P,
a random one for the control. So <P g, P g'> = <g, g'> - sum_o h_o h'_o, and the components, which are linear in g, are
all that a projection needs: for the squared norm (g' = g), the product with a vector G, and that with the sample
before. The same is asked about deviations g - G from a mean.

Proved right by projecting explicitly in float64 (`tests/analysis/noise/test_scalars.py`). A difference carries the
rounding of ||g||^2, so the projected square is exact relative to the raw one. Cost: up to four passes over g.
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
        previous: The gradient (or deviation) of the sample before the first one, [*shape]; None where no products of
            neighbors are wanted, which are then NaN.
        is_centered: Whether g_i - G is asked about, and not g_i.
    """

    shape: torch.Size
    dims: tuple[int, ...]
    kinds: tuple[str, ...] = KINDS
    control: Tensor | None = None
    along: Tensor | None = None
    previous: Tensor | None = None
    is_centered: bool = False

    @property
    def row_length(self) -> int:
        """K, the weights in one row."""
        return math.prod([self.shape[axis] for axis in self.dims])


class Raw(NamedTuple):
    """What is known of the gradients before any projection: ||g_i||^2, <g_i, G>, <g_i, g_{i-1}>, each [C] or None."""

    square: Tensor
    along: Tensor | None
    neighbor: Tensor | None


class Components(NamedTuple):
    """Along one unit vector a row: of each sample's gradient, [C, rows]; of G and of the sample before, [rows]."""

    kind: str
    gradient: Tensor
    along: Tensor | None
    previous: Tensor | None


def assembled(raw: Raw, components: Sequence[Components], target: Target) -> Tensor:
    """Put the numbers of every kind together.

    Args:
        raw: Of the gradients as they are.
        components: One for each projection that is wanted; none where P does nothing.
        target: What is asked.

    Returns:
        [kind, (square, product, neighbor), C] in float64, NaN where not asked for.
    """
    size = len(raw.square)
    found = torch.full((len(KINDS), 3, size), torch.nan, dtype=torch.float64, device=raw.square.device)
    unprojected = found[0]
    for row, values in zip(unprojected, raw, strict=True):
        if values is not None:
            row.copy_(values)
    for number, kind in enumerate(KINDS):
        if kind in target.kinds and not target.dims:
            found[number] = unprojected
    for kind, of_gradient, of_along, of_previous in components:
        h = of_gradient.double()
        less = torch.zeros_like(unprojected)
        less[0] = h.square().sum(1)
        if of_along is not None:
            less[1] = h @ of_along.double()
        if of_previous is not None:
            less[2] = chained(h, of_previous.double())
        values = unprojected - less
        values[0].clamp_(min=0)
        found[KINDS.index(kind)] = values
    return found


def of_gradients(gradients: Tensor, target: Target) -> Tensor:
    """Answer from the gradients themselves.

    Args:
        gradients: [C, *shape].
        target: What is asked.

    Returns:
        As `assembled`.
    """
    gradients = deviations(gradients, target)
    flat = gradients.reshape(len(gradients), -1)
    along = None if target.along is None else flat @ target.along.reshape(-1)
    neighbor = None if target.previous is None else chained(flat, target.previous.reshape(-1))
    axes = tuple(axis + 1 for axis in target.dims)
    components = []
    for kind, unit in units(target):
        h = gradients.sum(axes) * unit if isinstance(unit, float) else (gradients * unit).sum(axes)
        components.append(with_fixed(kind, h.flatten(1), unit, target))
    square = torch.linalg.vector_norm(flat, dim=1).double().square()
    return assembled(Raw(square, along, neighbor), components, target)


def centered(raw: Raw, target: Target) -> Raw:
    """Turn numbers of gradients g_i into those of g_i - G where these are asked about: G is taken off each product.

    A square that is small beside ||g_i||^2 has the rounding of that.

    Args:
        raw: Of the gradients; its first neighbor is the product with `target.previous` as it is.
        target: What is asked.

    Returns:
        The same of deviations, in float64.
    """
    if not target.is_centered or target.along is None or raw.along is None:
        return raw
    mean = target.along.double()
    square, along, less = raw.square.double(), raw.along.double(), mean.square().sum()
    neighbor = None
    if raw.neighbor is not None and target.previous is not None:
        off = torch.cat([(mean * target.previous).sum().reshape(1), along[1:] + along[:-1] - less])
        neighbor = raw.neighbor.double() - off
    return Raw((square - 2 * along + less).clamp(min=0), along - less, neighbor)


def deviations(gradients: Tensor, target: Target) -> Tensor:
    """Return g_i - G where that is asked about, else g_i.

    Args:
        gradients: [C, *shape].
        target: What is asked.
    """
    return gradients - target.along if target.is_centered and target.along is not None else gradients


def chained(rows: Tensor, previous: Tensor) -> Tensor:
    """Return the product of each row with the one before it, [C].

    Args:
        rows: [C, n].
        previous: [n], before the first row.
    """
    first = (rows[:1] @ previous).to(rows)
    following: Tensor = torch.linalg.vecdot(rows[1:], rows[:-1])
    return torch.cat([first, following])


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


def with_fixed(kind: str, of_gradient: Tensor, unit: Tensor | float, target: Target) -> Components:
    """Join the components of the samples with those of G and of the sample before.

    Args:
        kind: Of the projection.
        of_gradient: [C, rows], the rows in the order of the remaining axes.
        unit: As from `units`.
        target: What is asked.

    Returns:
        All three.
    """

    def component(vector: Tensor | None) -> Tensor | None:
        return None if vector is None else (vector * unit).sum(target.dims).flatten()

    return Components(kind, of_gradient, component(target.along), component(target.previous))
