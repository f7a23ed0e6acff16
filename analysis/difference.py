"""Hessian products by central differences of the gradient, with a step that is chosen and an error that is estimated.

For models with an operation that cannot be differentiated twice. The step is relative to the norm of the weights, and
is the best of a ladder: along it truncation falls with its square while rounding rises with its inverse, so neighbors
agree best near the optimum, and what they still differ by is the error. It is looked at for every vector: a step that
is small along a random direction leaves the valley along the sharpest one.

Proved right by: products of float64 double backward, for vectors of norm 1 and sqrt(D), for a network near convergence
with next to no curvature, and for its top eigenvector; the estimated error is never far below the true one
(`tests/analysis/test_difference.py`). Cost: 4 gradients per product, 18 where the step has to be chosen anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# In units of |w| * eps^(1/3), where both errors are equal for a function of unit scales; networks have other scales.
LADDER: tuple[float, ...] = (8.0, 2.0, 0.5, 2**-3, 2**-5, 2**-7, 2**-9, 2**-11, 2**-13)
GOOD = 0.01  # a change of a product between neighbors, relative to it, with which no other step is tried


class CentralDifference:
    """Products with the derivative of a gradient at fixed weights.

    Args:
        gradient: From weights [D] to gradient [D].
        weights: [D], where the derivative is taken.

    Attributes:
        weights: As given.
        rung: Of the ladder, the step of the last product.
        error: Estimated norm of the error of a product with a vector of norm 1, the largest so far; NaN before.
    """

    def __init__(self, gradient: Callable[[Tensor], Tensor], weights: Tensor) -> None:
        self._gradient, self.weights = gradient, weights
        scale = float(torch.linalg.vector_norm(weights)) or 1.0
        self._base: float = scale * torch.finfo(weights.dtype).eps ** (1 / 3)
        self.rung, self.error = -1, math.nan

    @property
    def step(self) -> float:
        """Length of the last step in weight space."""
        return self._base * LADDER[self.rung]

    def product(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D].

        Args:
            vector: [D]; the zero vector gives zeros.
        """
        norm = float(torch.linalg.vector_norm(vector))
        if norm == 0:
            return torch.zeros_like(vector)
        direction = vector / norm
        if self.rung >= 0:
            coarse, fine = (self._slope(direction, self.rung + more) for more in (0, 1))
            change = _distance(coarse, fine)
        if self.rung < 0 or change > GOOD * float(torch.linalg.vector_norm(coarse)):
            coarse, change = self._best(direction)
        self.error = change if math.isnan(self.error) else max(self.error, change)
        return coarse * norm

    def _slope(self, direction: Tensor, rung: int) -> Tensor:
        step = self._base * LADDER[rung]
        ahead = self._gradient(self.weights + step * direction)
        behind = self._gradient(self.weights - step * direction)
        return (ahead - behind) / (2 * step)

    def _best(self, direction: Tensor) -> tuple[Tensor, float]:
        coarse = best = self._slope(direction, 0)
        least = math.nan
        for rung in range(len(LADDER) - 1):
            fine = self._slope(direction, rung + 1)
            change = _distance(coarse, fine)
            if not change >= least:  # also the first, and NaN
                # the wider of two that agree: its rounding is the smaller, and its truncation is within the change
                best, least, self.rung = coarse, change, rung
            coarse = fine
        return best, least


def _distance(a: Tensor, b: Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b))
