"""The maximum of a quadratic over a ball from its eigenvalues and the secular equation, in float64.

Shares nothing with `analysis`: no gradients, no iteration over points. Blind to the hard case (a gradient orthogonal to
the top eigenvector), which it refuses.
"""

from __future__ import annotations

import torch
from torch import Tensor


def maximum(hessian: Tensor, gradient: Tensor, radius: float) -> tuple[float, Tensor]:
    """Return the largest g.u + u.H.u / 2 over ||u|| <= radius, and the u where it is reached.

    The maximum solves (mu I - H) u = g with mu >= max(lambda_1, 0); mu = 0 means inside the ball, else ||u|| = radius.
    """
    eigenvalues, basis = torch.linalg.eigh(hessian)
    coefficients = basis.T @ gradient
    lowest = max(float(eigenvalues[-1]), 0.0)

    def length(multiplier: float) -> float:
        return float((coefficients / (multiplier - eigenvalues)).norm())

    if lowest == 0.0 and float(eigenvalues[-1]) < 0 and length(0.0) <= radius:
        multiplier = 0.0
    else:
        below, above = lowest, lowest + float(gradient.norm()) / radius  # length(above) <= radius
        for _ in range(200):  # bisection to the last bit
            middle = (below + above) / 2
            below, above = (middle, above) if length(middle) > radius else (below, middle)
        multiplier = above
        assert abs(length(multiplier) / radius - 1) < 1e-6, "the hard case"
    u = basis @ (coefficients / (multiplier - eigenvalues))
    return float(gradient @ u + u @ hessian @ u / 2), u
