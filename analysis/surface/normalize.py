"""Scale directions to the weights they move, and make two of them orthogonal so that the scaling cannot undo it.

Both work on blocks of weights that get one common factor: a filter, a tensor, or all weights. Two directions that are
orthogonal in each block stay so whatever the factors. Computed in float64 on the CPU. Right when each filter of a
direction has the norm of the same filter of w and the cosine of two is below 1e-6
(`tests/analysis/surface/test_normalize.py`). Cost: a few passes over [D].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from analysis.parameters import Layout

NORMALIZATIONS = ("filter", "layer", "model", "none")


# From a vector [D] to its sum over each block, given at each of the block's entries, [D].
Blocks = Callable[[Tensor], Tensor]


def blocks(layout: Layout, row_dims: Mapping[str, tuple[int, ...]], normalize: str) -> Blocks:
    """Return the blocks of a normalization, as the function that sums over them.

    Args:
        layout: Of the flat vector.
        row_dims: As `Objective.row_dims`: the axes of one filter, () where a tensor has none. Such a tensor (a bias, a
            norm parameter) is one block: element by element its direction would be +-|w|, and no longer Gaussian.
        normalize: One of `NORMALIZATIONS`.

    Returns:
        Filters, tensors, or all weights in one block ("model" and "none").

    Raises:
        ValueError: Another normalization.
    """
    if normalize not in NORMALIZATIONS:
        raise ValueError(f"normalize must be one of {', '.join(NORMALIZATIONS)}, got {normalize!r}")
    if normalize in ("model", "none"):
        return lambda vector: vector.sum().expand(vector.shape)
    axes = {
        name: (row_dims[name] if normalize == "filter" else ()) or tuple(range(len(shape)))
        for name, shape in zip(layout.names, layout.shapes, strict=True)
    }

    def sums(vector: Tensor) -> Tensor:
        pieces = layout.split(vector)
        return torch.cat([
            (piece.sum(dim=axes[name], keepdim=True) if piece.ndim else piece).expand(piece.shape).reshape(-1)
            for name, piece in pieces.items()
        ])

    return sums


def orthogonalized(vectors: Tensor, by: Blocks) -> Tensor:
    """Make each direction orthogonal to those before it, block by block; the first stays as it is.

    A block of n elements holds n orthogonal directions; in a further one it is left alone (see `single_share`).

    Args:
        vectors: [K, D], float64.
        by: Blocks of the normalization that follows.

    Returns:
        [K, D].
    """
    sizes = _sizes(vectors[0], by)
    found: list[Tensor] = []
    for vector in vectors:
        is_full = sizes <= len(found)
        for _ in range(2):  # once leaves rounding errors where a block is nearly parallel to an earlier one
            for other in found:
                factor = _ratio(by(vector * other), by(other * other))
                vector = torch.where(is_full, vector, vector - factor * other)
        found.append(vector)
    return torch.stack(found)


def scaled(vectors: Tensor, weights: Tensor, by: Blocks) -> Tensor:
    """Give each block of each direction the norm of the same block of the weights; zero blocks give zero.

    Args:
        vectors: [K, D], float64.
        weights: [D], float64.
        by: The blocks.

    Returns:
        [K, D].
    """
    norms = by(weights * weights)
    return torch.stack([vector * _ratio(norms, by(vector * vector)).sqrt() for vector in vectors])


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the cosine of two vectors [D], in float64."""
    a, b = a.double(), b.double()
    return float(a @ b / (a.norm() * b.norm()))


def single_share(a: Tensor, b: Tensor, by: Blocks, count: int = 2) -> float:
    """Return the share of two directions that lies in blocks too small for them: the bound on |cosine| after scaling.

    Args:
        a: [D].
        b: [D].
        by: The blocks.
        count: Directions there are in all; blocks of fewer elements are too small, of one element for two.

    Returns:
        ||a_S|| ||b_S|| / (||a|| ||b||) with S those blocks, in [0, 1]; 0 where the cosine is 0 to rounding.
    """
    a, b = a.double(), b.double()
    single = _sizes(a, by) < count
    return float((a * single).norm() * (b * single).norm() / (a.norm() * b.norm()))


def _sizes(vector: Tensor, by: Blocks) -> Tensor:
    return by(torch.ones_like(vector))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, 0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator.clamp_min(torch.finfo(denominator.dtype).tiny), 0.0)
