"""Eigenpairs of the Hessian, each with the residual that proves it.

Proved right by: chosen spectra (repeated, negative, tiny and zero values), a dense float64 Hessian of a trained
network, a residual recomputed with one more product, and a count of products near the ideal one
(`tests/analysis/curvature/test_hessian.py`). Cost: one Hessian product per Lanczos step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.lanczos import Lanczos, Operator, gaussian
from analysis.evidence import Result, Status, measured

WHICH = ("largest", "smallest", "both", "magnitude")


@dataclass(frozen=True, eq=False)
class Eigenpairs(Result):
    """Eigenpairs of the Hessian, the requested end first. "both" holds the k largest, then the k smallest."""

    group: ClassVar[str] = "curvature"

    values: Tensor = measured("pair", units="loss per squared weight", description="eigenvalues of the Hessian")
    vectors: Tensor = measured("pair", "parameter", units="1", description="eigenvectors, rows of norm 1")
    residuals: Tensor = measured(
        "pair",
        units="loss per squared weight",
        description="norm of Hv - value * v: some eigenvalue lies within this distance of the value",
        source="Parlett 1998, ch. 4.5",
    )
    status: Status = measured(description="how the iteration ended")
    num_hvps: int = measured(units="Hessian products", description="cost")
    which: str = measured(description="end of the spectrum: " + ", ".join(WHICH))
    tol: float = measured(units="1", description="wanted residual, relative to |value|")
    seed: int = measured(description="of the Gaussian start vector")
    names: tuple[str, ...] = measured("tensor", description="parameters that make up the vectors, in order")


def hessian_eigenvalues(
    objective: Any,
    k: int = 5,
    which: str = "largest",
    tol: float = 1e-2,
    seed: int = 0,
    *,
    max_hvps: int = 200,
    progress: Callable[[int, int], None] | None = None,
) -> Eigenpairs:
    """Find k eigenvalues of the Hessian at one end of its spectrum, with vectors and residuals.

    Lanczos on the second derivative of the mean loss, at the model's present weights. Within residuals[i] of
    values[i] lies an eigenvalue: that is proved. That none between them was missed is likely, not proved; and of
    eigenvalues that are equal to all digits one is found, unless the Krylov space closes, after which the search
    starts again beside it. Typically 11 to 20 products for the top 5 of a network. Memory: num_hvps * D numbers.

    Args:
        objective: An `Objective`, or any operator with `hvp`, `num_parameters`, `device`, `dtype`.
        k: Pairs wanted, 1 <= k <= D (2k <= D for "both"). 5 gives lambda_1 / lambda_5 (Foret et al. 2021).
        which: "largest" and "smallest" are algebraic, most positive or most negative first; "magnitude" is by
            absolute value; "both" is k of the largest and k of the smallest from one run.
        tol: Stop once residual <= tol * |value| for every pair, 0 < tol < 1. 1e-2 is our choice, because two digits
            tell training runs apart, and each further digit costs products.
        seed: Of the start vectors, in their own generator; the global one is not touched.
        max_hvps: Budget of products, at least the number of pairs. 200 is our choice: ten times the usual need.
        progress: Called as progress(products done, max_hvps).

    Returns:
        The pairs. Residuals are the Lanczos bound plus the rounding of the products. Status `MAX_HVPS` if the budget
        ran out; `NOT_FINITE`, with NaN values, if a product was not finite.

    Raises:
        ValueError: k, which, tol or max_hvps out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Example:
        >>> from analysis import Objective
        >>> x, y = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.zeros(3, 1)
        >>> model = torch.nn.Linear(3, 1, bias=False)  # H = (2/N) X^T X = diag(6, 8/3, 2/3)
        >>> found = hessian_eigenvalues(Objective(model, torch.nn.MSELoss(), [(x[:2], y[:2]), (x[2:], y[2:])]), k=2)
        >>> found.values, found.status.name, found.num_hvps
        (tensor([6.0000, 2.6667]), 'CONVERGED', 3)

    References:
        Parlett, The Symmetric Eigenvalue Problem (1998), ch. 13. Products: Pearlmutter (1994). We differ: (1) every
        vector is orthogonalized twice against all earlier ones; (2) where the Krylov space closes the search goes on
        orthogonally to it, and ends only when a new start changes none of the wanted values.
    """
    _check(objective.num_parameters, k, which, tol, max_hvps)
    generator = torch.Generator().manual_seed(seed)
    process = Lanczos(objective)
    process.start(gaussian(objective, generator))
    status = Status.MAX_HVPS
    while process.num_hvps < max_hvps:
        process.step()
        if progress is not None:
            progress(process.num_hvps, max_hvps)
        if not process.is_finite:
            status = Status.NOT_FINITE
            break
        if _is_converged(process, k, which, tol):
            status = Status.CONVERGED
            break
        if process.is_closed and process.num_hvps < max_hvps:
            process.start(gaussian(objective, generator))
    values, vectors, residuals = _pairs(process, k, which, is_finite=status is not Status.NOT_FINITE)
    return Eigenpairs(
        values=values,
        vectors=vectors,
        residuals=residuals,
        status=status,
        num_hvps=process.num_hvps,
        which=which,
        tol=tol,
        seed=seed,
        names=tuple(getattr(objective, "names", ())),
    )


def _check(size: int, k: int, which: str, tol: float, max_hvps: int) -> None:
    if which not in WHICH:
        raise ValueError(f"which must be one of {', '.join(WHICH)}, got {which!r}")
    pairs = 2 * k if which == "both" else k
    if k < 1 or pairs > size:
        needed = "2k <= D" if which == "both" else "k <= D"
        raise ValueError(f"k must be from 1 on with {needed} = {size}, the number of measured weights, got {k}")
    if not 0 < tol < 1:
        raise ValueError(
            f"tol must be between 0 and 1, the residual relative to the eigenvalue, got {tol}; 1e-2 is usual"
        )
    if max_hvps < pairs:
        raise ValueError(f"max_hvps must be at least {pairs}, one Hessian product for each pair, got {max_hvps}")


def _wanted(values: np.ndarray[Any, Any], k: int, which: str) -> np.ndarray[Any, Any]:
    """Return indices into ascending values, the requested end first; too few values give fewer indices."""
    ascending = np.arange(len(values))
    if which == "largest":
        return ascending[::-1][:k]
    if which == "smallest":
        return ascending[:k]
    if which == "magnitude":
        return np.argsort(-np.abs(values), kind="stable")[:k]
    return np.concatenate([ascending[::-1][:k], ascending[:k]]) if len(values) >= 2 * k else ascending


def _is_converged(process: Lanczos, k: int, which: str, tol: float) -> bool:
    pairs = 2 * k if which == "both" else k
    if process.num_hvps < pairs:
        return False
    values, vectors = process.ritz()
    chosen = _wanted(values, k, which)
    allowed = np.maximum(tol * np.abs(values[chosen]), process.rounding)
    if np.any(process.betas[-1] * np.abs(vectors[-1, chosen]) > allowed):
        return False
    if process.is_complete:
        return True
    if len(process.starts) == 1:
        return not process.is_closed  # a closed space says nothing of further copies beside it
    # A new start is trusted to have looked around once its own extreme values stand, and they changed nothing.
    first = process.starts[-1]
    if first < pairs:
        return False
    own_values, own_vectors = process.ritz(first)
    extremes = _wanted(own_values, 1, which)
    own_bounds = process.betas[-1] * np.abs(own_vectors[-1, extremes])
    before = process.ritz(0, first)[0]
    unchanged = np.abs(before[_wanted(before, k, which)] - values[chosen]) <= allowed
    return bool(
        np.all(unchanged) and np.all(own_bounds <= np.maximum(tol * np.abs(own_values[extremes]), process.rounding))
    )


def _pairs(process: Lanczos, k: int, which: str, *, is_finite: bool) -> tuple[Tensor, Tensor, Tensor]:
    operator: Operator = process.operator
    if not is_finite:
        pairs = 2 * k if which == "both" else k
        nothing = torch.full((pairs, operator.num_parameters), math.nan, dtype=operator.dtype)
        return nothing[:, 0].clone(), nothing, nothing[:, 0].clone()
    values, vectors = process.ritz()
    chosen = _wanted(values, k, which)
    bounds = process.betas[-1] * np.abs(vectors[-1, chosen])
    eigenvectors = process.basis.combine(vectors[:, chosen].T)  # [K, M] @ [M, D] -> [K, D]
    eigenvectors = eigenvectors / torch.linalg.vector_norm(eigenvectors, dim=1, keepdim=True)
    residuals = np.hypot(bounds, process.rounding)
    return (
        torch.from_numpy(values[chosen]).to(operator.dtype),
        eigenvectors.cpu(),
        torch.from_numpy(residuals).to(operator.dtype),
    )
