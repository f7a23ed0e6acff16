"""Directions of a line or a plane: random, of largest curvature, or the user's own; ready to be added to the weights.

Random ones are Gaussian, drawn on the CPU in float64, so that a seed means the same on every device and in every
dtype. Right when two are orthogonal and of unit variance before scaling, and an eigenvector plane shows lambda_1 and
lambda_2 along its axes (`tests/analysis/surface/test_directions.py`).
Cost: a few passes over [D]; "hessian" some tens of Hessian products.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from analysis.curvature.hessian import hessian_eigenvalues
from analysis.evidence import Status
from analysis.objective import Objective
from analysis.surface.normalize import blocks, cosine, orthogonalized, scaled, single_share

SOURCES = ("random", "hessian")
Vector = Tensor | Mapping[str, Tensor]
# "random", "hessian", vectors [D] or by parameter name, or a result that has `.directions`.
Given = str | Vector | Sequence[Vector] | Any


@dataclass(frozen=True)
class Directions:
    """What the weights are moved along, and how it came about.

    Attributes:
        vectors: [K, D], on the objective's device and in its dtype.
        source: "random", "hessian" or "given".
        normalize: The normalization that was applied.
        zero_1d: Whether biases and norm parameters were set to zero.
        cosine: Of two of them, the largest in magnitude; NaN for one.
        single_share: The part that could not be made orthogonal, see `normalize.single_share`; NaN for one.
        status: COMPLETE, or how the search for eigenvectors ended.
    """

    vectors: Tensor
    source: str
    normalize: str
    zero_1d: bool
    cosine: float
    single_share: float
    status: Status


def choose(
    objective: Objective,
    directions: Given,
    count: int,
    normalize: str,
    *,
    zero_1d: bool,
    seed: int,
) -> Directions:
    """Return directions from the objective's weights, normalized.

    Args:
        objective: Whose weights are moved.
        directions: "random", "hessian", `count` vectors [D], or tensors by parameter name, or a result with them.
        count: 1, 2 or 3.
        normalize: As in `loss_surface`.
        zero_1d: As in `loss_surface`.
        seed: Of random directions, and of the start of the eigenvector search. The first of two random directions is
            the one that the same seed gives alone.

    Returns:
        The directions.

    Raises:
        ValueError: Unknown names, vectors of the wrong number or length, not finite or zero.
    """
    by = blocks(objective.layout, objective.row_dims, normalize)  # first: an unknown name is refused before any work
    source, status = "given", Status.COMPLETE
    if isinstance(directions, str):
        source = directions
        if source == "random":
            generator = torch.Generator().manual_seed(seed)
            vectors = torch.stack([_gaussian(objective, generator) for _ in range(count)])
        elif source == "hessian":
            normalize, zero_1d = "none", False  # scaled tensor by tensor they would not be eigenvectors any more
            by = blocks(objective.layout, objective.row_dims, normalize)
            vectors, status = _eigenvectors(objective, count, seed)
        else:
            raise ValueError(f"directions must be one of {', '.join(SOURCES)} or {_wanted(count)}, got {source!r}")
    else:
        vectors = _given(objective, getattr(directions, "directions", directions), count)
    if source == "given" and normalize == "none":
        zero_1d = False  # the user's vectors as they are
    if zero_1d:
        vectors = vectors * _has_rows(objective)
    if source == "random":
        vectors = orthogonalized(vectors, by)
    if normalize != "none":
        vectors = scaled(vectors, objective.weights().double().cpu(), by)
    vectors = vectors.to(objective.dtype)
    _check(vectors, normalize, zero_1d=zero_1d)
    pairs = list(combinations(vectors, 2))
    between = max((cosine(a, b) for a, b in pairs), key=abs, default=math.nan)
    share = max((single_share(a, b, by, count) for a, b in pairs), default=math.nan)
    return Directions(vectors.to(objective.device), source, normalize, zero_1d, between, share, status)


def _gaussian(objective: Objective, generator: torch.Generator) -> Tensor:
    return torch.randn(objective.num_parameters, generator=generator, dtype=torch.float64)


def _eigenvectors(objective: Objective, count: int, seed: int) -> tuple[Tensor, Status]:
    pairs = hessian_eigenvalues(objective, k=count, seed=seed)
    return pairs.vectors.double(), Status.COMPLETE if pairs.status in (
        Status.CONVERGED,
        Status.BREAKDOWN,
    ) else pairs.status


def _given(objective: Objective, directions: Any, count: int) -> Tensor:
    is_one = count == 1 and (
        isinstance(directions, Mapping) or (isinstance(directions, Tensor) and directions.ndim == 1)
    )
    rows = [directions] if is_one else list(directions)
    if len(rows) != count or not all(isinstance(row, (Tensor, Mapping)) for row in rows):
        raise ValueError(f"directions must be {' or '.join(map(repr, SOURCES))}, or {_wanted(count)}, got {len(rows)}")
    return torch.stack([_flat(objective, row, f"direction {i + 1}").double().cpu() for i, row in enumerate(rows)])


def _flat(objective: Objective, row: Vector, what: str) -> Tensor:
    if isinstance(row, Tensor):
        return objective.layout.checked(row, what)
    shapes = dict(zip(objective.names, objective.layout.shapes, strict=True))
    wrong = [f"{name!r} {tuple(shape)} is missing" for name, shape in shapes.items() if name not in row]
    wrong += [
        f"{name!r} is {tuple(row[name].shape)}, not {tuple(shape)}"
        for name, shape in shapes.items()
        if name in row and row[name].shape != shape
    ]
    wrong += [f"{name!r} is no measured parameter" for name in row if name not in shapes]
    if wrong:
        raise ValueError(
            f"{what} must hold a tensor for each measured parameter and nothing else: {'; '.join(wrong[:3])}"
            f"{f'; and {len(wrong) - 3} more' if len(wrong) > 3 else ''}; see objective.names"
        )
    return objective.layout.join(row)


def _wanted(count: int) -> str:
    return {1: "one vector [D]", 2: "two vectors [D]", 3: "three vectors [D]"}[count]


def _has_rows(objective: Objective) -> Tensor:
    """Return 1 for weights of tensors with rows, 0 for biases and norm parameters, [D], float64."""
    layout = objective.layout
    return torch.cat([
        torch.full((size,), float(bool(objective.row_dims[name])), dtype=torch.float64)
        for name, size in zip(layout.names, layout.sizes, strict=True)
    ])


def _check(vectors: Tensor, normalize: str, *, zero_1d: bool) -> None:
    for number, vector in enumerate(vectors, start=1):
        if not bool(vector.isfinite().all()):
            raise ValueError(f"direction {number} holds NaN or infinity; check it, and that the weights are finite")
        if not bool(vector.any()):
            raise ValueError(
                f"direction {number} is zero everywhere after normalize={normalize!r} and zero_1d={zero_1d}, so that "
                "nothing would move; zero_1d=False keeps biases and norm parameters"
            )
