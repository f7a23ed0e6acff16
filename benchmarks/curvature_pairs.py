"""Eigenpairs beside other libraries until every true residual is small, and our products beside the ideal Krylov count.

Right when counts and residuals are those of chosen spectra (`tests/benchmarks/test_curvature.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from analysis import hessian_eigenvalues
from benchmarks.curvature_peers import GaveUp, Problem
from benchmarks.curvature_solvers import Attempt, solvers
from benchmarks.curvature_subject import SEED, TOL, Scale, start_vector, true_residuals
from benchmarks.timing import now, paired, ratio_of

__all__ = ["count", "ideal_counts", "table", "try_once"]

ONCE_BEYOND = 200  # contestants with more products than this run once only


def table(problem: Problem, scale: Scale, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each contestant, with every attempt, and one with the ratios of those that run in rounds.

    Args:
        problem: Of what.
        scale: Sizes.
        rounds: Of the contestants that need few products, by turns, after the attempts; 0 for none.
    """
    judge = problem.objective(dtype=torch.float64)
    start = start_vector(judge.num_parameters, torch.float32, judge.device)
    successes: dict[str, Attempt] = {}
    for name, attempts in solvers(problem, scale.k, TOL, start, scale.limit).items():
        made = []
        for attempt in attempts:
            made.append(try_once(attempt, judge.hvp, judge.device))
            judge.release()  # its graphs would be in the way of the next
            if made[-1]["meets"]:
                if made[-1]["products"] <= ONCE_BEYOND:
                    successes[name] = attempt
                break
            if "gave_up" in made[-1]:
                break  # stricter settings take more still
        final = made[-1]
        yield {
            "part": "table",
            "contestant": name,
            **final,
            "seconds_of_all_attempts": sum(attempt["seconds"] for attempt in made),
            "products_of_all_attempts": sum(attempt["products"] for attempt in made),
            "attempts": made,
        }
    if rounds:
        seconds = paired(
            {name: timed(attempt, judge.device) for name, attempt in successes.items()}, rounds, warm_ups=0
        )
        first = next(iter(seconds))
        ratios = [
            {"ours": first, "theirs": name, **ratio_of(seconds[first], found)._asdict()}
            for name, found in seconds.items()
            if name != first
        ]
        yield {"part": "table", "ratios": ratios, "seconds": seconds}


def try_once(attempt: Attempt, hvp: Callable[[Tensor], Tensor], device: torch.device) -> dict[str, Any]:
    """Run an attempt once, and judge it afterwards.

    Args:
        attempt: What.
        hvp: The judge's products.
        device: Whose clock.

    Returns:
        Seconds, products, and either values and true residuals or why it gave up.
    """
    run, counted = attempt.prepare()
    begin = now(device)
    try:
        found = run()
    except GaveUp as reason:
        seconds = now(device) - begin
        report = {"gave_up": str(reason), "meets": False}
    else:
        seconds = now(device) - begin
        residuals = true_residuals(hvp, found.values, found.vectors.to(device))
        report = {
            "values": found.values.tolist(),
            "true_residuals": residuals,
            "meets": all(residual <= TOL for residual in residuals),
        }
    return {"settings": attempt.settings, "seconds": seconds, "products": counted.calls, **report}


def timed(attempt: Attempt, device: torch.device) -> Callable[[], float]:
    """Return a function that runs an attempt and returns its seconds."""

    def once() -> float:
        run, _ = attempt.prepare()
        begin = now(device)
        run()
        return now(device) - begin

    return once


def ideal_counts(
    hvp: Callable[[Tensor], Tensor], start: Tensor, pairs: Sequence[int], tol: float, max_steps: int
) -> dict[int, int | None]:
    """Return for each k the first Krylov step where the top k Ritz pairs have true residuals within tol.

    Plain Lanczos: every vector against all earlier ones, Rayleigh-Ritz on the whole projected matrix. The products with
    the basis are kept, so that the residual of a Ritz pair is taken as it stands, H y - value y, with no bound between.

    Args:
        hvp: Product with H.
        start: [D], in float64.
        pairs: Values of k.
        tol: Relative to the eigenvalue.
        max_steps: Stop here.

    Returns:
        k to the step; None where it was not reached.
    """
    found: dict[int, int | None] = dict.fromkeys(pairs)
    basis = torch.zeros(max_steps, len(start), dtype=start.dtype, device=start.device)
    images = torch.zeros_like(basis)
    vector = start / torch.linalg.vector_norm(start)
    for step in range(1, max_steps + 1):
        basis[step - 1], images[step - 1] = vector, hvp(vector)
        q, hq = basis[:step], images[:step]
        projected = q @ hq.T
        values, rotation = torch.linalg.eigh((projected + projected.T) / 2)
        largest = values.argsort(descending=True)[: max(pairs)]
        ritz = rotation[:, largest].T  # [K, M]
        rest = torch.linalg.vector_norm(ritz @ hq - values[largest, None] * (ritz @ q), dim=1)
        good = (rest <= tol * values[largest].abs()).tolist()
        for k in pairs:
            if found[k] is None and step >= k and all(good[:k]):
                found[k] = step
        if all(count is not None for count in found.values()):
            break
        vector = hq[-1] - q.T @ (q @ hq[-1])
        vector = vector - q.T @ (q @ vector)
        length = float(torch.linalg.vector_norm(vector))
        if length == 0:
            break
        vector = vector / length
    return found


def count(problem: Problem, scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield one row for each k and size of basis: our products in float32, the ideal ones in float64."""
    judge = problem.objective(dtype=torch.float64)
    start = start_vector(judge.num_parameters, torch.float32, judge.device).double()
    ideal = ideal_counts(judge.hvp, start, scale.pairs, TOL, scale.ideal_steps)
    judge.release()
    objective = problem.objective()
    for k in scale.pairs:
        for max_basis in (None, 2 * k + 10):
            found = hessian_eigenvalues(objective, k, tol=TOL, seed=SEED, max_basis=max_basis)
            objective.release()  # graphs of both at once would take three times as much
            residuals = true_residuals(judge.hvp, found.values, found.vectors.to(judge.device))
            judge.release()
            best = ideal[k]
            yield {
                "part": "count",
                "k": k,
                "max_basis": max_basis,
                "products": found.num_hvps,
                "ideal": best,
                "ratio": None if best is None else found.num_hvps / best,
                "status": found.status.name,
                "true_residuals": residuals,
            }
