"""Ways to the top eigenpairs, by this package and by other libraries, each with the settings to try in order.

Settings are those under which each library does best, after its own default: reorthogonalization in
hessian-eigenthings, tolerances of ARPACK and of the power iteration of PyHessian tightened until residuals are small.
PyHessian wants eigenvalues of largest magnitude; the others the most positive.
Right when all of them find the eigenvalues of a dense Hessian (`tests/peers/test_curvature_peers.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from analysis import Objective, hessian_eigenvalues
from benchmarks.curvature_peers import (
    Counted,
    Found,
    GaveUp,
    Problem,
    curvlinops_operator,
    eigenthings_operator,
    library,
    math_attention,
    versions,
)

__all__ = ["Attempt", "solvers"]

EIGENTHINGS_STEPS = (*range(11, 16), 17, 20, 25, 30, 40, 50, 70, 100, 150)  # after its default, 2k
ARPACK_TOLERANCES = (1e-2, 1e-3, 1e-4)  # of its bounds on the residuals; true ones may be a little larger
PYHESSIAN_SETTINGS = ((100, 1e-3), (1000, 1e-4), (1000, 1e-5), (1000, 1e-6))  # its default first


class Attempt(NamedTuple):
    """One way to call a contestant: `prepare` is not timed, what it returns is; `product` counts."""

    settings: dict[str, Any]
    prepare: Callable[[], tuple[Callable[[], Found], Counted]]


def solvers(problem: Problem, k: int, tol: float, start: Tensor, limit: int) -> dict[str, Sequence[Attempt]]:
    """Return name to the attempts at the top k eigenpairs, to be made in order until the residuals are small enough.

    Args:
        problem: Of what.
        k: Pairs.
        tol: Wanted residual, relative to the eigenvalue.
        start: Start vector [D], for those that take one. hessian-eigenthings draws its own from seed 0, by the same
            call as ours; PyHessian from torch's global state.
        limit: Products after which an attempt is given up.
    """
    found: dict[str, Sequence[Attempt]] = {
        "ours, graphs kept": [_ours(problem, k, tol, limit, None)],
        "ours, recomputed": [_ours(problem, k, tol, limit, 0)],
    }
    present = versions()
    if present["hessian_eigenthings"]:
        size = start.numel()
        steps = [2 * k, *(m for m in EIGENTHINGS_STEPS if 2 * k < m <= min(size, limit))]
        found["hessian_eigenthings"] = [_eigenthings(problem, k, tol, m, is_default=m == 2 * k) for m in steps]
    if present["curvlinops"]:
        found["curvlinops, ARPACK"] = [_arpack(problem, k, t, start, limit) for t in ARPACK_TOLERANCES]
    if present["pyhessian"]:
        found["pyhessian"] = [_pyhessian(problem, k, *setting, limit) for setting in PYHESSIAN_SETTINGS]
    return found


def _ours(problem: Problem, k: int, tol: float, limit: int, budget: int | None) -> Attempt:
    def prepare() -> tuple[Callable[[], Found], Counted]:
        operator = _CountedObjective(problem.objective(memory_budget=budget))
        operator.warm_up()

        def run() -> Found:
            found = hessian_eigenvalues(operator, k, tol=tol, max_hvps=limit)
            return Found(found.values, found.vectors)

        return run, operator.hvp

    return Attempt({"memory_budget": budget, "tol": tol}, prepare)


class _CountedObjective:
    """Our objective with its products counted."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.hvp = objective, Counted(objective.hvp)
        self.num_parameters, self.device, self.dtype = objective.num_parameters, objective.device, objective.dtype

    def warm_up(self) -> None:
        """Take one product, and forget its graphs."""
        self.objective.hvp(torch.ones(self.num_parameters, device=self.device, dtype=self.dtype))
        self.objective.release()


def _eigenthings(problem: Problem, k: int, tol: float, steps: int, *, is_default: bool) -> Attempt:
    def prepare() -> tuple[Callable[[], Found], Counted]:
        operator = eigenthings_operator(problem)
        with math_attention():
            operator.matvec(torch.ones(operator.size, device=operator.device, dtype=operator.dtype))
        operator.matvec = counted = Counted(operator.matvec)
        lanczos = library("hessian_eigenthings.algorithms.lanczos").lanczos

        def run() -> Found:
            with math_attention():
                found = lanczos(operator, k=k, max_iter=steps, tol=tol, reorthogonalize=True, which="LA", seed=0)
            return Found(found.eigenvalues, found.eigenvectors)

        return run, counted

    return Attempt({"max_iter": steps, "reorthogonalize": True, "is_default": is_default}, prepare)


def _arpack(problem: Problem, k: int, tol: float, start: Tensor, limit: int) -> Attempt:
    def prepare() -> tuple[Callable[[], Found], Counted]:
        operator = curvlinops_operator("HessianLinearOperator", problem)
        first = start.cpu().numpy()
        scipy_operator = operator.to_scipy(dtype=first.dtype)  # else ARPACK works in float64
        with math_attention():
            scipy_operator @ first
        counted = Counted(scipy_operator.matvec, limit)
        wrapped = LinearOperator(scipy_operator.shape, matvec=counted, dtype=scipy_operator.dtype)

        def run() -> Found:
            with math_attention():
                try:
                    values, vectors = eigsh(wrapped, k=k, which="LA", tol=tol, v0=first)
                except ArpackNoConvergence as error:
                    raise GaveUp(str(error)) from error
            order = np.argsort(-values)
            return Found(torch.from_numpy(values[order]), torch.from_numpy(vectors.T[order].copy()))

        return run, counted

    return Attempt({"tol": tol}, prepare)


def _pyhessian(problem: Problem, k: int, max_iterations: int, tol: float, limit: int) -> Attempt:
    def prepare() -> tuple[Callable[[], Found], Counted]:
        is_cuda = problem.batches[0][0].is_cuda
        solver = library("pyhessian").hessian(
            problem.copied(), problem.loss_fn, dataloader=problem.batches, cuda=is_cuda
        )
        ones = [torch.ones_like(parameter) for parameter in solver.params]
        with math_attention(), _create_graph_warning_ignored():
            solver.dataloader_hv_product(ones)
        solver.dataloader_hv_product = counted = Counted(solver.dataloader_hv_product, limit)

        def run() -> Found:
            with torch.random.fork_rng(), math_attention(), _create_graph_warning_ignored():
                torch.manual_seed(0)
                values, vectors = solver.eigenvalues(maxIter=max_iterations, tol=tol, top_n=k)
            return Found(torch.tensor(values), torch.stack([torch.cat([v.flatten() for v in row]) for row in vectors]))

        return run, counted

    return Attempt({"maxIter": max_iterations, "tol": tol, "is_default": tol == PYHESSIAN_SETTINGS[0][1]}, prepare)


@contextmanager
def _create_graph_warning_ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        # it calls backward(create_graph=True) and clears the gradients afterwards, as the warning asks
        warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
        yield
