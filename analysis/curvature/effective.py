"""Effective dimension: how many directions of the weights the data determine, out of a spectral density.

Proved right by: dense spectra, where it is sum lambda / (lambda + z); a standard error that is the spread over many
draws; values that only fall with more Lanczos steps (`tests/analysis/curvature/test_effective.py`).
Cost: none beside that of the density.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from analysis.curvature.density import SpectralDensity
from analysis.evidence import Result, Status, measured

ROUNDING = 1e-6  # of the largest |node|: nearer to zero an eigenvalue of a float32 network has no sign


@dataclass(frozen=True, eq=False)
class EffectiveDimension(Result):
    """Effective dimension of the Hessian at one z."""

    group: ClassVar[str] = "curvature"

    value: float = measured(
        units="1",
        description="sum of lambda / (lambda + z) over the positive eigenvalues",
        source="Maddox et al. (2020), arXiv 2003.02139; MacKay (1992)",
    )
    standard_error: float = measured(units="1", description="of the value, over probes; NaN for a single one")
    z: float = measured(units="loss per squared weight", description="eigenvalues far above it count 1, far below 0")
    negative_share: float = measured(units="1", description="share of eigenvalues below zero, counted as 0")
    negative_share_standard_error: float = measured(units="1", description="of that share, over probes")
    num_parameters: int = measured(description="D, which the value cannot exceed")
    num_hvps: int = measured(units="Hessian products", description="cost of the density")
    status: Status = measured(description="how the density ended")


def effective_dimension(density: SpectralDensity, z: float) -> EffectiveDimension:
    """Return sum_i lambda_i / (lambda_i + z) from a spectral density.

    Small where few eigenvalues stand above z: the number of directions that the data determine, against a prior, or a
    weight decay, of curvature z.

    Negative eigenvalues count as 0, for z is not above all of them, and at lambda = -z the sum has a pole. Their share
    is told beside it: where it is large, the number is about part of the spectrum, and `GaussNewton`, which has none,
    the better matrix. What lies within 1e-6 of the largest |eigenvalue| from zero counts as not negative.

    The standard error is that of the probes. The quadrature has an error of its own: without negative eigenvalues it
    makes each value too large, by less with every Lanczos step, and none is left once the steps are D. It is large
    where z lies deep in the bulk; take twice the steps and compare.

    Args:
        density: As returned by `spectral_density`, of the Hessian or another matrix.
        z: > 0, in units of the eigenvalues. With the mean loss over N samples and a Gaussian prior of precision alpha,
            alpha / N (MacKay's number of well-determined parameters); with weight decay its coefficient. It has no
            default, for the value is about one z.

    Returns:
        EffectiveDimension (frozen). value in [0, D]; negative_share in [0, 1]; each with its standard error, NaN for a
        single probe. status: as of the density; NaN where it is NOT_FINITE.

    Raises:
        ValueError: z is not a finite number > 0.

    Side effects: none.

    Example:
        >>> from analysis import Objective, spectral_density
        >>> x, y = torch.diag(torch.tensor([3.0, 3.0, 3.0])), torch.zeros(3, 1)
        >>> objective = Objective(torch.nn.Linear(3, 1, bias=False), torch.nn.MSELoss(), (x, y))  # H = 6 I
        >>> round(effective_dimension(spectral_density(objective), z=2.0).value, 4)  # 3 * 6 / (6 + 2)
        2.25

    References:
        MacKay, Bayesian interpolation, Neural Computation 4 (1992). Maddox, Benton, Wilson, Rethinking parameter
        counting in deep models, arXiv 2003.02139; we differ: all eigenvalues by quadrature, not the largest ones.
    """
    if not (math.isfinite(z) and z > 0):
        raise ValueError(
            f"z must be a finite number > 0, in units of the eigenvalues, got {z!r}; with weight decay its coefficient"
        )
    nodes, size = density.nodes, density.num_parameters
    positive = nodes.clamp_min(0.0)
    counts = (density.weights * positive / (positive + z)).sum(1)  # [R]; NaN stays NaN
    is_negative = nodes < -ROUNDING * nodes.abs().max()
    shares = (density.weights * is_negative).sum(1)
    value, error = _mean(size * counts)
    share, share_error = _mean(shares)
    return EffectiveDimension(
        value=value,
        standard_error=error,
        z=float(z),
        negative_share=share,
        negative_share_standard_error=share_error,
        num_parameters=size,
        num_hvps=density.num_hvps,
        status=density.status,
    )


def _mean(samples: torch.Tensor) -> tuple[float, float]:
    error = float(samples.std() / math.sqrt(len(samples))) if len(samples) > 1 else math.nan
    return float(samples.mean()), error
