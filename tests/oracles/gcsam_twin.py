"""The slow twin of GCSAM: the formulas of the papers, one tensor and one line at a time, nothing shared with `gcsam`.

"matched" and Friendly-SAM are written as in the docstring of GCSAM, m step by step. P is applied as the matrix I - uu^T
to every row, u = 1/sqrt(n) or a given unit vector, norms are sums of squares in float64, and the step is taken by the
base optimizer's plain loop (foreach=False). Blind to a mistake in the formulas themselves, which the closed forms and
invariances of the other tests cover.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def project(tensor: Tensor, axes: Sequence[int], units: Tensor | None = None) -> Tensor:
    """Multiply every row, the elements along `axes`, by I - uu^T; u is the same row of `units`, or 1/sqrt(n)."""
    if not axes:
        return tensor
    others = [axis for axis in range(tensor.ndim) if axis not in axes]
    front = tensor.permute(*others, *axes)
    rows = front.reshape(-1, math.prod(tensor.shape[axis] for axis in axes))
    n = rows.shape[1]
    u = torch.full_like(rows, n**-0.5) if units is None else units.permute(*others, *axes).reshape(-1, n).to(rows)
    matrices = torch.eye(n, dtype=rows.dtype) - u[:, :, None] * u[:, None, :]
    kept = (matrices @ rows[:, :, None])[:, :, 0]
    inverse = [[*others, *axes].index(axis) for axis in range(tensor.ndim)]
    return kept.reshape(front.shape).permute(*inverse)


def norm(tensors: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all tensors together, summed in float64."""
    return math.sqrt(math.fsum(float(tensor.double().square().sum()) for tensor in tensors))


def epsilon_of(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    axes: Sequence[Sequence[int]],
    rhos: Sequence[float],
    *,
    adaptive: bool = False,
    eta: float = 0.01,
    radius: str = "exact",
    units: Sequence[Tensor | None] | None = None,
    projects: bool = True,
) -> list[Tensor]:
    """Return epsilon for every tensor, by the formulas in the docstring of GCSAM; d = T g unless it projects."""
    scales = [w.abs() + eta if adaptive and w.ndim >= 2 else torch.ones_like(w) for w in weights]
    scaled = [t * g for t, g in zip(scales, gradients, strict=True)]
    units = [None] * len(axes) if units is None else units
    projected = [project(g, a, u) for g, a, u in zip(scaled, axes, units, strict=True)]
    directions = projected if projects else scaled
    if norm(directions) == 0:
        return [torch.zeros_like(w) for w in weights]
    q = norm(projected) / norm(scaled)
    shares = {"exact": 1.0, "published": norm(directions) / norm(scaled), "matched": q}
    length = shares[radius] / norm(directions)
    return [rho * length * t * d for rho, t, d in zip(rhos, scales, directions, strict=True)]


def step(
    parameters: Sequence[nn.Parameter],
    backward: Callable[[], Any],
    base: torch.optim.Optimizer,
    axes: Sequence[Sequence[int]],
    rhos: Sequence[float],
    *,
    centralize_ascent: bool = True,
    centralize_descent: bool = False,
    units: Sequence[Tensor | None] | None = None,
    averages: list[Tensor] | None = None,
    friendly: float = 0.0,
    friendly_decay: float = 0.9,
    **options: Any,
) -> None:
    """Take one step of GCSAM with any base optimizer of the same parameters; `averages` holds m and is written on."""
    weights = [parameter.detach().clone() for parameter in parameters]
    gradients = _gradients(parameters, backward)
    units = [None] * len(axes) if units is None else units
    if averages is not None:
        averages[:] = [friendly_decay * m + (1 - friendly_decay) * g for m, g in zip(averages, gradients, strict=True)]
        gradients = [g - friendly * m for m, g in zip(averages, gradients, strict=True)]
    moves = epsilon_of(weights, gradients, axes, rhos, units=units, projects=centralize_ascent, **options)
    for parameter, w, epsilon in zip(parameters, weights, moves, strict=True):
        parameter.data = w + epsilon
    gradients = _gradients(parameters, backward)
    for parameter, w, gradient, a, u in zip(parameters, weights, gradients, axes, units, strict=True):
        parameter.data = w
        parameter.grad = project(gradient, a, u).contiguous() if centralize_descent else gradient
    base.step()


def _gradients(parameters: Sequence[nn.Parameter], backward: Callable[[], Any]) -> list[Tensor]:
    for parameter in parameters:
        parameter.grad = None
    backward()
    return [parameter.grad.detach().clone() for parameter in parameters if parameter.grad is not None]
