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

from analysis.curvature.lanczos import Operator, gaussian
from analysis.curvature.search import WHICH, Wish, search
from analysis.evidence import Result, Status, measured
from analysis.memory import PeakMemory, free_memory


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
    method: str = measured(default="double_backward", description="how products were made, or of which operator")
    has_copies: bool = measured(
        default=False, description="whether eigenvalues are counted as often as they occur; else perhaps once"
    )
    peak_memory: int = measured(
        default=0,
        units="byte",
        description="most memory taken during the measurement, above what there was before",
        compare=False,
    )

    def ratio(self, k: int = 5) -> tuple[float, float]:
        """Return the first value over the k-th, and how far from it the ratio of the two eigenvalues can lie.

        With lambda_1 largest and k = 5 it is the lambda_1 / lambda_5 of Foret et al. (2021). The bound takes both
        eigenvalues anywhere within their residuals; it is inf where the k-th may be zero. NaN, with a bound of inf,
        where the k-th value is zero.

        Args:
            k: From 1 on; 5 as published.

        Raises:
            ValueError: There is no k-th pair.
        """
        if not (isinstance(k, int) and 1 <= k <= len(self.values)):
            raise ValueError(
                f"k must be a whole number from 1 to {len(self.values)}, the pairs that were found, got {k!r}"
            )
        first, last, first_reach, last_reach = (
            float(each[i]) for each in (self.values, self.residuals) for i in (0, k - 1)
        )
        if last == 0:
            return math.nan, math.inf
        value = first / last
        if k == 1:
            return value, 0.0  # one eigenvalue over itself
        if abs(last) <= last_reach:
            return value, math.inf
        ends = [(first + a * first_reach) / (last + b * last_reach) for a in (-1, 1) for b in (-1, 1)]
        return value, max(abs(end - value) for end in ends)


def hessian_eigenvalues(
    objective: Any,
    k: int = 5,
    which: str = "largest",
    tol: float = 1e-2,
    seed: int = 0,
    *,
    max_hvps: int = 200,
    max_basis: int | None = None,
    basis_device: str | torch.device | None = None,
    start: Tensor | None = None,
    copies: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Eigenpairs:
    """Find k eigenvalues of the Hessian at one end of its spectrum, with vectors and residuals.

    Lanczos on the second derivative of the mean loss, at the model's present weights. Within residuals[i] of
    values[i] lies an eigenvalue: that is proved. That none between them was missed is likely, not proved; and of
    eigenvalues that are equal to all digits one is found, unless `copies` are asked for or the Krylov space closes.
    Typically 11 to 20 products for the top 5 of a network.

    Args:
        objective: An `Objective`, or any operator with `hvp`, `num_parameters`, `device`, `dtype`.
        k: Pairs wanted, 1 <= k <= D (2k <= D for "both"). 5 gives lambda_1 / lambda_5 (Foret et al. 2021).
        which: "largest" and "smallest" are algebraic, most positive or most negative first; "magnitude" is by
            absolute value; "both" is k of the largest and k of the smallest from one run.
        tol: Stop once residual <= tol * |value| for every pair, 0 < tol < 1. 1e-2 is our choice, because two digits
            tell training runs apart, and each further digit costs products.
        seed: Of the start vectors, in their own generator; the global one is not touched.
        max_hvps: Budget of products, at least the number of pairs. 200 is our choice: ten times the usual need.
        max_basis: Most vectors kept, [D] each, at least two more than there are pairs; at that number the process
            restarts with the best of them (Wu and Simon 2000). None is what fits into a quarter of free memory, our
            choice, and 2 * pairs + 10 at least. That least number costs the large end of a
            network no product more, the small negative end up to four times as many.
        basis_device: Where they are kept: "cpu" takes them off a GPU, at the price of a transfer for each product.
        start: [D], or earlier eigenvectors [K, D], for example of the checkpoint before: near the solution fewer
            products do. A hundredth of noise is added, so that a vector orthogonal to all of them is found too.
        copies: Whether to go on until equal eigenvalues are found as often as they occur. About one run more for each
            copy and one for the certainty; residuals of the pairs are kept smaller so that they meet tol together.
        progress: Called as progress(products done, max_hvps).

    Returns:
        The pairs. Residuals are the Lanczos bound plus the rounding of the products, and the estimated error of
        products by differences. Status `MAX_HVPS` if the budget ran out; `BREAKDOWN` if the Krylov space closed, after
        which the search started again beside it; `NOT_FINITE`, with NaN values, if a product was not finite.

    Raises:
        ValueError: k, which, tol, max_hvps, max_basis or start out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found. An `Objective` keeps
    graphs for further products until its `release()`.

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
    storage = torch.device(objective.device if basis_device is None else basis_device)
    pairs = 2 * k if which == "both" else k
    wish = Wish(k, which, tol, max_hvps, _rows(objective, pairs, max_basis, storage), storage, copies)
    generator = torch.Generator().manual_seed(seed)
    peak = PeakMemory(objective.device)

    def tick(num_hvps: int) -> None:
        peak.sample()
        if progress is not None:
            progress(num_hvps, max_hvps)

    noise = gaussian(objective, generator)
    found = search(objective, wish, noise if start is None else _warm(objective, start, noise), generator, tick)
    residuals = np.hypot(found.residuals, getattr(objective, "product_error", 0.0))
    return Eigenpairs(
        values=torch.from_numpy(found.values).to(objective.dtype),
        vectors=found.vectors.cpu(),
        residuals=torch.from_numpy(residuals).to(objective.dtype),
        status=found.status,
        num_hvps=found.num_hvps,
        which=which,
        tol=tol,
        seed=seed,
        names=tuple(getattr(objective, "names", ())),
        method=getattr(objective, "method", "given"),
        has_copies=found.status is Status.BREAKDOWN or (found.status is Status.CONVERGED and copies),
        peak_memory=peak.bytes(),
    )


def _rows(operator: Operator, pairs: int, max_basis: int | None, storage: torch.device) -> int:
    size = operator.num_parameters
    if max_basis is None:
        row = size * torch.finfo(operator.dtype).bits // 8
        return min(size, max(2 * pairs + 10, free_memory(storage) // (4 * row)))
    if not (isinstance(max_basis, int) and not isinstance(max_basis, bool) and max_basis >= min(pairs + 2, size)):
        raise ValueError(
            f"max_basis must be a whole number of vectors >= {min(pairs + 2, size)}, two more than the pairs wanted, "
            f"got {max_basis!r}; 2 * pairs + 10 = {2 * pairs + 10} costs few products more"
        )
    return min(size, max_basis)


def _warm(operator: Operator, start: Tensor, noise: Tensor) -> Tensor:
    rows = start[None] if start.ndim == 1 else start
    if rows.ndim != 2 or rows.shape[1] != operator.num_parameters or not bool(rows.isfinite().all()):
        raise ValueError(
            f"start must be finite and of shape ({operator.num_parameters},) or (K, {operator.num_parameters}), "
            f"got {tuple(rows.shape) if start.ndim > 1 else tuple(start.shape)}; give the vectors of an earlier result"
        )
    total = rows.sum(0).to(noise)
    norm = torch.linalg.vector_norm(total)
    return total + 0.01 * norm * noise / torch.linalg.vector_norm(noise) if float(norm) > 0 else noise


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
