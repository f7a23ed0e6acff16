"""Linear regression, whose loss is a quadratic: L(w + u) - L(w) = g.u + u.H.u / 2 exactly, H = (2 / N) X'X."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from analysis import Objective

DIMENSION = 6


def problem(n: int = 24, slope: float = 1.0, seed: int = 0) -> tuple[Objective, Tensor, Tensor]:
    """Return the objective over uneven batches, H and g in float64; a slope of 0 puts the weights at the minimum."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.linspace(0.3, 2.0, DIMENSION, dtype=torch.float64)
    x = torch.randn(n, DIMENSION, generator=generator, dtype=torch.float64) * scales
    y = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    model = nn.Linear(DIMENSION, 1, bias=False).double()
    best = torch.linalg.lstsq(x, y).solution[:, 0]
    shift = torch.randn(DIMENSION, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_((best + slope * shift)[None])
    hessian = 2 / n * x.T @ x
    cuts = [n // 3, n - n // 3]
    objective = Objective(model, nn.MSELoss(), list(zip(x.split(cuts), y.split(cuts), strict=True)))
    return objective, hessian, hessian @ (slope * shift)
