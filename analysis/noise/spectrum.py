"""What is known of the covariance Sigma of per-sample gradients, raw or under a projection, beside the Hessian.

Proved right by the tests of `analysis.noise.covariance`, which makes these results. Cost: none.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured

SQUARED = "loss^2/weight^2"
CURVATURE = "loss per squared weight"
HANSEN = "Hansen and Hurwitz (1943): samples drawn in proportion to ||e_i||^2"
BJORCK = "Bjorck and Golub (1973)"


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseSpectrum(Result):
    """Sigma, raw or under one projection: its top eigenpairs and how it lies beside the Hessian H."""

    trace: float = measured(units=SQUARED, description="tr(Sigma), from all samples: exact for these data")
    values: Tensor = measured("pair", units=SQUARED, description="top eigenvalues of Sigma, largest first")
    residuals: Tensor = measured(
        "pair", units=SQUARED, description="norm of Sigma v - value * v", source="Parlett 1998"
    )
    vectors: Tensor = measured("pair", "parameter", units="1", description="eigenvectors of Sigma, rows of norm 1")
    share: float = measured(units="1", description="part of the trace that the values hold")
    effective_rank: float = measured(
        units="1", description="tr(Sigma)^2 / tr(Sigma^2): equal eigenvalues that scatter as much"
    )
    effective_rank_standard_error: float = measured(units="1", description="Of effective_rank, over the probes")
    cosines: Tensor = measured(
        "pair", "hessian_pair", units="1", description="|<u, v>| of eigenvectors u of Sigma and v of H"
    )
    angles: Tensor = measured(
        "pair", units="radian", description="principal angles of the two spaces, smallest first", source=BJORCK
    )
    overlap: float = measured(units="1", description="mean squared cosine of the principal angles, in [0, 1]")
    chance: float = measured(
        units="1", description="mean overlap of a random space, where Sigma can lie, with that of H"
    )
    noise_curvature: float = measured(units="loss^3/weight^4", description="tr(H Sigma)", source=HANSEN)
    noise_curvature_standard_error: float = measured(
        units="loss^3/weight^4", description="Of noise_curvature, over the draws; 0 where every sample was taken"
    )
    alignment: float = measured(
        units="1", description="tr(H Sigma) / (tr(H) tr(Sigma) / D): 1 for noise that is the same in all directions"
    )
    alignment_standard_error: float = measured(units="1", description="Of alignment", source="delta method")
    cosine: float = measured(units="1", description="tr(H Sigma) / (||H||_F ||Sigma||_F)")
    cosine_standard_error: float = measured(units="1", description="Of cosine", source="delta method")


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseCovariance(Result):
    """The covariance Sigma of per-sample gradients beside the Hessian H: raw, centralized, under the control."""

    group: ClassVar[str] = "noise"

    raw: NoiseSpectrum = measured(description="Of the gradients g")
    centralized: NoiseSpectrum = measured(description="Of P g")
    control: NoiseSpectrum = measured(description="Of g without its component along a random direction in each row")
    hessian_values: Tensor = measured("hessian_pair", units=CURVATURE, description="top eigenvalues of H")
    hessian_residuals: Tensor = measured("hessian_pair", units=CURVATURE, description="norm of H v - value * v")
    hessian_trace: float = measured(units=CURVATURE, description="tr(H)", source="Hutchinson 1989")
    hessian_trace_standard_error: float = measured(units=CURVATURE, description="Of hessian_trace")
    num_samples: int = measured(units="1", description="N")
    num_draws: int = measured(
        units="1", description="samples drawn for tr(H Sigma), repeats counted; N if all were taken"
    )
    num_products: int = measured(units="Sigma products", description="cost")
    num_hvps: int = measured(units="Hessian products", description="cost, without those of results that were given")
    tol: float = measured(units="1", description="wanted residual, relative to |value|")
    seed: int = measured(description="of start vectors, probes, draws, and the control's directions")
    names: tuple[str, ...] = measured("tensor", description="parameters that make up the vectors, in order")
    method: str = measured(description="how products with Sigma were made")
    status: Status = measured(description="how the measurement ended")


def unknown(k: int, size: int, dtype: torch.dtype) -> NoiseSpectrum:
    """Return NaN in the place of every number.

    Args:
        k: Pairs.
        size: D.
        dtype: Of the vectors.
    """
    nan = math.nan
    numbers = {field.name: nan for field in dataclasses.fields(NoiseSpectrum) if field.type == "float"}
    pairs = torch.full((k,), nan, dtype=dtype)
    return NoiseSpectrum(
        **numbers,
        values=pairs,
        residuals=pairs,
        vectors=torch.full((k, size), nan, dtype=dtype),
        cosines=torch.full((k, k), nan, dtype=torch.float64),
        angles=torch.full((k,), nan, dtype=torch.float64),
    )


def without_noise(k: int, size: int, dtype: torch.dtype) -> NoiseSpectrum:
    """Return what is known where all gradients are equal: zeros, and NaN for what no direction or quotient has.

    Args:
        k: Pairs.
        size: D.
        dtype: Of the vectors.
    """
    zeros = torch.zeros(k, dtype=dtype)
    nothing = unknown(k, size, dtype)
    return dataclasses.replace(
        nothing, trace=0.0, values=zeros, residuals=zeros, noise_curvature=0.0, noise_curvature_standard_error=0.0
    )
