"""What a perturbation of each weight is relative to: nothing, the weight itself, or the norm of its filter.

Right when filters have the norm that a loop over the outputs of every layer finds, and what is measured with each scale
changes under rescaling as `tests/analysis/flatness/test_invariance.py` says (`tests/analysis/flatness/test_scales.py`).
Cost: one pass over the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from analysis.objective import Objective

SCALES = ("none", "weights", "filters")


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
    """Return c, by which a perturbation u of the ball becomes the perturbation c * u of the weights, [D].

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
    pieces = [
        torch.linalg.vector_norm(piece, dim=dims, keepdim=True).expand(piece.shape) if dims else piece.abs()
        for piece, dims in (
            (piece, objective.row_dims[name]) for name, piece in objective.layout.split(weights).items()
        )
    ]
    return torch.cat([piece.reshape(-1) for piece in pieces])
