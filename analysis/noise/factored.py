"""What is asked about the weight of a linear layer or convolution, from its factors, in pieces of the batch.

The Gram form gives ||g_i - G||^2 as a difference. Where that has lost half its digits, gradients are formed instead:
in float32 where the noise is less than a few ten-thousandths of the squared gradient.

Proved right by the gradients themselves, formed by plain autograd (`tests/analysis/noise/test_factored.py`).
Cost: that of `analysis.noise.factors`, and a forward pass of the layer for each further vector in the Gram form.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from analysis.noise.factors import Factors
from analysis.noise.scalars import (
    Components,
    Raw,
    Target,
    assembled,
    centered,
    deviations,
    of_gradients,
    units,
    with_fixed,
)


def of_factors(factors: Factors, size: int, target: Target) -> Tensor:
    """Answer what is asked about a weight, in pieces of the batch.

    Args:
        factors: Of one batch; their way becomes the one that was taken.
        size: B, its samples.
        target: What is asked.

    Returns:
        [kind, (square, product, neighbor), B] in float64.
    """
    if factors.is_gram_close and target.along is None and target.previous is None and target.control is None:
        factors.take("gram")
    if factors.way == "gram":
        square = _in_pieces(factors.squares, 0, size, factors.piece)
        raw = centered(_raw(factors, square, size, target), target)
        if not (target.is_centered and _is_rounding(raw.square, square)):
            return assembled(raw, _components(factors, target), target)
        factors.take("product")
    parts = []
    for start in range(0, size, factors.piece):
        formed = factors.gradients(start, min(start + factors.piece, size))
        parts.append(of_gradients(formed, target))
        if target.previous is not None:
            target = target._replace(previous=deviations(formed[-1:], target)[0])
    return torch.cat(parts, -1)


def _raw(factors: Factors, square: Tensor, size: int, target: Target) -> Raw:
    """Return what the Gram form knows of the gradients."""
    along = None if target.along is None else factors.rows(target.along).sum(1)
    if target.previous is None:
        return Raw(square, along, None)
    first = factors.rows(target.previous, 1).sum(1)
    return Raw(square, along, torch.cat([first, _in_pieces(factors.neighbors, 1, size, factors.piece)]))


def _is_rounding(difference: Tensor, square: Tensor) -> bool:
    return bool(difference.sum() < torch.finfo(square.dtype).eps ** 0.5 * square.double().sum())


def _components(factors: Factors, target: Target) -> list[Components]:
    found = []
    for kind, unit in units(target):
        h = factors.row_sums() * unit if isinstance(unit, float) else factors.rows(unit)
        one = with_fixed(kind, h, unit, target)
        if target.is_centered and one.along is not None:
            one = one._replace(gradient=h - one.along)
        found.append(one)
    return found


def _in_pieces(numbers: Callable[[int, int], Tensor], start: int, stop: int, piece: int) -> Tensor:
    """Return numbers(i, j) for consecutive pieces of start:stop, joined; an empty call where there is none."""
    starts = range(start, stop, piece)
    return torch.cat([numbers(i, min(i + piece, stop)) for i in starts or [start]])
