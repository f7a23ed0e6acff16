"""How a point u of the ball, or of Gaussian noise, becomes a perturbation of the weights: by scale, or in a subspace.

Right when filters have the norm that a loop over the outputs of every layer finds, what is measured with each scale
changes under rescaling as `tests/analysis/flatness/test_invariance.py` says, and in the centralized subspace a
quadratic has the closed forms of its restriction (`tests/analysis/flatness/test_perturbation.py`, `test_subspace.py`).
Cost: a pass or two over the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from analysis.objective import Objective
from analysis.operators.restricted import Centralized

SCALES = ("none", "weights", "filters")
SUBSPACES = ("all", "centralized")


class Scaled:
    """A result that says what its perturbations are relative to.

    Files of earlier versions have no `scale`: theirs follows from `adaptive`.

    Attributes:
        adaptive: Whether perturbations are relative to the weights in any way.
        scale: One of `SCALES`.
    """

    adaptive: bool
    scale: str

    def __post_init__(self) -> None:
        """Fill in the scale of an earlier version."""
        if not self.scale:
            object.__setattr__(self, "scale", "weights" if self.adaptive else "none")


class Perturbation(Protocol):
    """A symmetric linear map A from u to the perturbation of the weights; the loss has gradient A g by u."""

    def of(self, u: Tensor) -> Tensor:
        """Return A u, [D].

        Args:
            u: [D].
        """

    def moving(self, u: Tensor) -> Tensor:
        """Return what of u moves the weights: u without its part in the null space of A.

        Args:
            u: [D].
        """


@dataclass(frozen=True)
class Scaling:
    """c * u, entry by entry.

    Args:
        scale: c, [D].
    """

    scale: Tensor

    def of(self, u: Tensor) -> Tensor:
        """Return c * u."""
        return self.scale * u

    def moving(self, u: Tensor) -> Tensor:
        """Return u with zeros where c is zero."""
        return u * (self.scale != 0)


@dataclass(frozen=True)
class Centralizing:
    """P u, with the projection P of gradient centralization.

    Args:
        operator: Whose P.
    """

    operator: Centralized

    def of(self, u: Tensor) -> Tensor:
        """Return P u."""
        return self.operator.project(u)

    def moving(self, u: Tensor) -> Tensor:
        """Return P u."""
        return self.operator.project(u)


def perturbation(objective: Objective, scale: str, subspace: str = "all") -> Perturbation:
    """Return how u becomes a perturbation of the weights.

    Args:
        objective: Whose weights.
        scale: One of `SCALES`; "none" in a subspace.
        subspace: One of `SUBSPACES`.
    """
    if subspace == "centralized":
        return Centralizing(Centralized(objective))
    return Scaling(weight_scale(objective, scale))


def scale_named(adaptive: bool | str) -> str:
    """Return the name of the scale that an argument `adaptive` asks for.

    Args:
        adaptive: False, True for "weights", or the name.

    Raises:
        ValueError: Anything else.

    Example:
        >>> scale_named(False), scale_named(True), scale_named("filters")
        ('none', 'weights', 'filters')
    """
    if isinstance(adaptive, str) and adaptive in SCALES[1:]:
        return adaptive
    if isinstance(adaptive, bool):
        return SCALES[int(adaptive)]
    raise ValueError(f"adaptive must be False, True (for 'weights'), 'weights' or 'filters', got {adaptive!r}")


def weight_scale(objective: Objective, scale: str) -> Tensor:
    """Return c of the perturbation c * u, [D].

    Args:
        objective: Whose weights, on its device and in its dtype.
        scale: "none": 1. "weights": |w|. "filters": for each weight of a filter f the norm ||f||, filters being those
            of filter normalization (`Objective.row_dims`: all weights that feed one output, whatever its axis); |w|
            where a tensor has none, that is for biases and the parameters of norm layers.
    """
    weights = objective.weights()
    if scale == "none":
        return torch.ones_like(weights)
    if scale == "weights":
        return weights.abs()
    found = []
    for name, piece in objective.layout.split(weights).items():
        dims = objective.row_dims[name]
        size = torch.linalg.vector_norm(piece, dim=dims, keepdim=True).expand(piece.shape) if dims else piece.abs()
        found.append(size.reshape(-1))
    return torch.cat(found)
