"""The search for eigenpairs: one Lanczos process, restarted where memory ends, and further ones beside what is found.

A Krylov space holds one vector of each eigenspace. Where it closes early, or where copies are asked for, the search
starts again orthogonally to the pairs it has, and ends when a new start finds nothing better than the last of them.

Proved right by: `tests/analysis/curvature/test_search.py` (restarts, copies, budgets) and the tests of
`hessian_eigenvalues`. Cost: one product per step, for copies one further run of about ten for each copy and one more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.lanczos import Array, Lanczos, Operator, gaussian
from analysis.evidence import Status

WHICH = ("largest", "smallest", "both", "magnitude")


@dataclass(frozen=True)
class Wish:
    """What is searched for.

    Args:
        k: Pairs at each end asked for.
        which: One of `WHICH`.
        tol: Residual allowed, relative to |value|.
        max_hvps: Products in all.
        max_basis: Rows kept at most.
        storage: Where the rows are kept.
        copies: Whether to look for copies of what was found.
    """

    k: int
    which: str
    tol: float
    max_hvps: int
    max_basis: int
    storage: torch.device
    copies: bool

    @property
    def pairs(self) -> int:
        """How many pairs that makes."""
        return 2 * self.k if self.which == "both" else self.k


@dataclass(frozen=True)
class Found:
    """Pairs, the most wanted first: values and residual norms [K] in float64, vectors [K, D]."""

    values: Array
    vectors: Tensor
    residuals: Array
    status: Status
    num_hvps: int
    scale: float


def search(
    operator: Operator, wish: Wish, start: Tensor, generator: torch.Generator, tick: Callable[[int], None]
) -> Found:
    """Find the pairs.

    Args:
        operator: H.
        wish: What is searched for.
        start: [D].
        generator: For the starts of further runs.
        tick: Called with the number of products so far, after each.

    Returns:
        The pairs; fewer than wished for where the budget ended before there were as many.
    """
    # later pairs are coupled to the residuals of those locked before: all together are to stay within tol
    aim = replace(wish, tol=wish.tol / (wish.pairs + 1) ** 0.5) if wish.copies else wish
    found, is_whole = _run(operator, aim, start, None, tick)
    if found.status not in (Status.CONVERGED, Status.BREAKDOWN) or is_whole:
        return found
    while wish.copies or found.status is Status.BREAKDOWN:
        if found.num_hvps >= wish.max_hvps:
            return replace(found, status=Status.MAX_HVPS)
        start = gaussian(operator, generator)
        more, is_whole = _run(operator, aim, start, found, tick)
        if more.status is Status.NOT_FINITE:
            return more
        merged = _merged(found, more, wish)
        is_better = len(merged.values) > len(found.values) or _improves(found, merged, wish)
        ended = Status.BREAKDOWN if Status.BREAKDOWN in (found.status, more.status) else found.status
        found = replace(merged, status=ended, num_hvps=more.num_hvps, scale=more.scale)
        if more.status is Status.MAX_HVPS:
            return replace(found, status=Status.MAX_HVPS)
        if len(found.values) == wish.pairs and (is_whole or not is_better):
            break
    return found


def wanted(values: Array, k: int, which: str) -> Array:
    """Return indices into ascending values, the requested end first; too few values give fewer indices.

    Args:
        values: [M], ascending.
        k: At each end asked for.
        which: One of `WHICH`.
    """
    ascending = np.arange(len(values))
    if which == "largest":
        return ascending[::-1][:k]
    if which == "smallest":
        return ascending[:k]
    if which == "magnitude":
        return np.argsort(-np.abs(values), kind="stable")[:k]
    return np.concatenate([ascending[::-1][:k], ascending[:k]]) if len(values) >= 2 * k else ascending


def _run(
    operator: Operator, wish: Wish, start: Tensor, before: Found | None, tick: Callable[[int], None]
) -> tuple[Found, bool]:
    """Run one process until its pairs stand; beside pairs found before only the most wanted is waited for."""
    if before is None:
        process, spent, k, needed = Lanczos(operator, start, storage=wish.storage), 0, wish.k, wish.pairs
    else:
        process = Lanczos(operator, start, locked=before.vectors, storage=wish.storage, scale=before.scale)
        spent, k, needed = before.num_hvps, 1, 2 if wish.which == "both" else 1
    status = Status.MAX_HVPS
    while spent + process.num_hvps < wish.max_hvps:
        process.step()
        tick(spent + process.num_hvps)
        if not process.is_finite:
            return _nothing(operator, wish, spent + process.num_hvps), True
        if _stand(process, k, needed, wish):
            status = Status.CONVERGED
        if process.is_closed and not process.is_complete:
            status = Status.BREAKDOWN
        if status is not Status.MAX_HVPS or process.is_complete:
            break
        if process.rows >= wish.max_basis:
            process.restart(_kept(process.ritz()[0], k, needed, wish))
    values, vectors = process.ritz()
    is_exact = process.is_closed or process.is_complete
    chosen = wanted(values, wish.k if is_exact else k, wish.which)
    pairs = process.basis.combine(vectors[:, chosen].T)
    found = Found(
        values[chosen],
        pairs / torch.linalg.vector_norm(pairs, dim=1, keepdim=True),
        np.hypot(process.bounds(vectors[:, chosen]), process.rounding),
        Status.CONVERGED if process.is_complete else status,
        spent + process.num_hvps,
        process.scale,
    )
    return found, process.is_complete


def _stand(process: Lanczos, k: int, needed: int, wish: Wish) -> bool:
    if process.rows < needed:
        return False
    values, vectors = process.ritz()
    chosen = wanted(values, k, wish.which)
    outside = process.betas[-1] * np.abs(vectors[-1, chosen])  # what further steps can make smaller
    return bool(np.all(outside <= np.maximum(wish.tol * np.abs(values[chosen]), process.rounding)))


def _kept(values: Array, k: int, needed: int, wish: Wish) -> Array:
    """Choose what a restart keeps: the wanted pairs, the next two, and then what is largest at either end."""
    # The last slows convergence everywhere, also at the other end. Two thirds of the room beside the pairs is our
    # choice: more leaves too few steps between restarts.
    best = wanted(values, k + min(2, wish.max_basis - needed - 1), wish.which)
    rest = [i for i in wanted(values, len(values), "magnitude") if i not in best]
    total = needed + (2 * (wish.max_basis - needed)) // 3
    return np.concatenate([best, np.array(rest[: max(0, total - len(best))], dtype=int)])[: wish.max_basis - 1]


def _improves(found: Found, merged: Found, wish: Wish) -> bool:
    """Whether a pair was replaced by one that differs by more than the tolerance."""
    change = np.abs(merged.values - found.values)
    return bool(np.any(change > np.maximum(wish.tol * np.abs(found.values), merged.residuals)))


def _merged(found: Found, more: Found, wish: Wish) -> Found:
    values = np.concatenate([found.values, more.values])
    vectors = torch.cat([found.vectors, more.vectors])
    residuals = np.concatenate([found.residuals, more.residuals])
    ascending = np.argsort(values, kind="stable")
    best = ascending[wanted(values[ascending], wish.k, wish.which)]
    return replace(found, values=values[best], vectors=vectors[torch.from_numpy(best)], residuals=residuals[best])


def _nothing(operator: Operator, wish: Wish, num_hvps: int) -> Found:
    vectors = torch.full((wish.pairs, operator.num_parameters), torch.nan, dtype=operator.dtype)
    nan = np.full(wish.pairs, np.nan)
    return Found(nan, vectors, nan, Status.NOT_FINITE, num_hvps, np.nan)
