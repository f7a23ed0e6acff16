"""Hessian products by central differences of the gradient, with a step that is chosen and an error that is estimated.

For models with an operation that cannot be differentiated twice. The step is relative to the norm of the weights, and
is the best of a ladder: along it truncation falls with its square while rounding rises with its inverse, so neighbors
agree best near the optimum, and what they still differ by is the error.

Proved right by: products of float64 double backward, for vectors of norm 1 and sqrt(D) and for a network near
convergence with next to no curvature; the estimated error is never far below the true one
(`tests/analysis/test_difference.py`). Cost: 2 gradients per product, 10 more for the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

# In units of |w| * eps^(1/3), where both errors are equal for a function of unit scales; networks have other scales.
LADDER = (8.0, 2.0, 0.5, 0.125, 0.03125)


class CentralDifference:
    """Products with the derivative of a gradient at fixed weights.

    Args:
        gradient: From weights [D] to gradient [D].
        weights: [D], where the derivative is taken.

    Attributes:
        weights: As given.
        step: Length of the step in weight space, once the first product has chosen it.
        error: Estimated norm of the error of a product with a vector of norm 1; NaN before the first product.
    """

    def __init__(self, gradient: Callable[[Tensor], Tensor], weights: Tensor) -> None:
        self._gradient, self.weights = gradient, weights
        self.step, self.error = math.nan, math.nan

    def product(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D].

        Args:
            vector: [D]; the zero vector gives zeros.
        """
        norm = float(torch.linalg.vector_norm(vector))
        if norm == 0:
            return torch.zeros_like(vector)
        direction = vector / norm
        if math.isnan(self.step):
            return self._choose(direction) * norm
        return self._slope(direction, self.step) * norm

    def _slope(self, direction: Tensor, step: float) -> Tensor:
        ahead, behind = (self._gradient(self.weights + sign * step * direction) for sign in (1, -1))
        return (ahead - behind) / (2 * step)

    def _choose(self, direction: Tensor) -> Tensor:
        scale = float(torch.linalg.vector_norm(self.weights)) or 1.0
        base = scale * torch.finfo(self.weights.dtype).eps ** (1 / 3)
        steps = [base * rung for rung in LADDER]
        coarse = self._slope(direction, steps[0])
        best = coarse
        for wide, narrow in pairwise(steps):
            fine = self._slope(direction, narrow)
            change = float(torch.linalg.vector_norm(coarse - fine))
            if not change >= self.error:  # also the first, and NaN
                # the wider of two that agree: its rounding is the smaller, and its truncation is within the change
                best, self.step, self.error = coarse, wide, change
            coarse = fine
        return best
