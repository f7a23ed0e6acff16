"""The largest eigenvalue and the trace of one network by this package and by others, in paired rounds, with errors.

Of the eigenvalue every library is called with its default settings first, then with stricter ones until the true
residual is at most 1e-2 (`curvature_pairs.table`); the trace is the mean over ten vectors of random signs everywhere,
so that its time is that of ten products, and its error, the root mean square over rounds of other vectors, that of the
estimator. Errors are relative to float64 references by our own objective: the eigenvalue to a residual of 1e-6, the
trace by XTrace, whose standard error is stated.
Right when every contestant is near the reference (`tests/benchmarks/test_sharpness.py`).
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from analysis import hessian_eigenvalues, hessian_trace
from benchmarks.curvature_pairs import table
from benchmarks.curvature_peers import Problem, curvlinops_operator, library, versions
from benchmarks.curvature_subject import FULL, QUICK, train_problem
from benchmarks.timing import paired, ratio_of

__all__ = ["peers", "traces"]

PROBES = 10
# 16x16 and 64 images: PyHessian then takes a minute, and not ten, for what takes us seconds
SCALE = FULL._replace(
    image_size=16, images=64, batch=32, train_images=1280, train_steps=40, train_batch=64, k=1, limit=200
)


def peers(folder: Path | None, rounds: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for the largest eigenvalue and one for the trace.

    Args:
        folder: Of CIFAR-10, see `load_images`.
        rounds: Measured ones.
        quick: A tiny network.
    """
    scale = QUICK._replace(k=1) if quick else SCALE
    problem, about = train_problem(scale, folder, torch.device("cpu"))
    yield {"part": "peers", "quantity": "lambda_max", "subject": about, **largest(problem, scale, rounds)}
    yield {"part": "peers", "quantity": "trace", "subject": about, **trace(problem, rounds, quick=quick)}


def largest(problem: Problem, scale: Any, rounds: int) -> dict[str, Any]:
    """Return the contestants at the largest eigenvalue, and the ratios of our time to theirs."""
    reference = hessian_eigenvalues(problem.objective(dtype=torch.float64), 1, tol=1e-6)
    exact = float(reference.values)
    *rows, last = table(problem, scale, rounds)
    contestants = [
        {
            "name": row["contestant"],
            "products": row["products"],
            "settings": row["settings"],
            "meets": row["meets"],
            "error": abs(row["values"][0] - exact) / abs(exact) if "values" in row else None,
        }
        for row in rows
    ]
    bound = float(reference.residuals) / abs(exact)
    return {"reference": exact, "reference_error": bound, "contestants": contestants, **_times(last)}


def _times(row: dict[str, Any]) -> dict[str, Any]:
    return {"ratios": row["ratios"], "seconds": row["seconds"]}


def trace(problem: Problem, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Return the contestants at the trace, and the ratios of our time to theirs."""
    products = 20 if quick else 100
    reference = hessian_trace(problem.objective(dtype=torch.float64), method="xtrace", tol=1e-3, max_hvps=products)
    found = paired({name: _clocked(run) for name, run in traces(problem).items()}, rounds)
    seconds = {name: [one for one, _ in made] for name, made in found.items()}
    return {
        "reference": reference.value,
        "reference_error": reference.standard_error / abs(reference.value),
        "contestants": [
            {"name": name, "products": PROBES, "error": _root_mean_square(made, reference.value)}
            for name, made in found.items()
        ],
        "ratios": [
            {"ours": "ours", "theirs": name, **ratio_of(seconds["ours"], theirs)._asdict()}
            for name, theirs in seconds.items()
            if name != "ours"
        ],
        "seconds": seconds,
    }


def traces(problem: Problem) -> dict[str, Callable[[int], float]]:
    """Return name to a function of a seed that estimates the trace from ten products; without libraries not installed.

    Args:
        problem: Of what.
    """

    def ours(seed: int) -> float:
        return hessian_trace(problem.objective(), min_probes=PROBES, max_hvps=PROBES, tol=1e-9, seed=seed).value

    found: dict[str, Callable[[int], float]] = {"ours": ours}
    present = versions()
    if present["curvlinops"]:

        def by_curvlinops(seed: int) -> float:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                operator = curvlinops_operator("HessianLinearOperator", problem)
                return float(library("curvlinops").hutchinson_trace(operator, PROBES, "rademacher"))

        found["curvlinops"] = by_curvlinops
    if present["pyhessian"]:

        def by_pyhessian(seed: int) -> float:
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                # it clears the gradients afterwards, as the warning asks
                warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
                torch.manual_seed(seed)
                solver = library("pyhessian").hessian(
                    problem.copied(), problem.loss_fn, dataloader=problem.batches, cuda=False
                )
                # a tolerance of 0, or it stops where two probes agree by chance
                samples = solver.trace(maxIter=PROBES, tol=0.0)
            return float(sum(samples) / len(samples))

        found["pyhessian"] = by_pyhessian
    return found


def _clocked(run: Callable[[int], float]) -> Callable[[], tuple[float, float]]:
    """Return a function that returns the seconds of a run and its value, each time from another seed."""
    seeds = itertools.count()

    def once() -> tuple[float, float]:
        begin = time.perf_counter()
        value = run(next(seeds))
        return time.perf_counter() - begin, value

    return once


def _root_mean_square(made: list[tuple[float, float]], exact: float) -> float:
    return math.sqrt(sum((value - exact) ** 2 for _, value in made) / len(made)) / abs(exact)
