"""Trace and Frobenius norm of the Hessian by Hutchinson's estimator or XTrace, stopped by the trace's standard error.

Proved right by: the known variance 2 (||H||_F^2 - sum H_ii^2) per probe, intervals that cover the truth in 90 to 99 %
of 200 seeds, and equal treatment of a Hessian and its negation (`tests/analysis/curvature/test_trace.py`; for XTrace
`test_xtrace.py`).
Cost: one Hessian product per probe and memory of two vectors, however many probes; XTrace takes two products per
probe and memory of two vectors per probe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.lanczos import Operator
from analysis.curvature.xtrace import Probing, standard_error, xtrace
from analysis.evidence import Result, Status, measured

METHODS = ("hutchinson", "xtrace")


@dataclass(frozen=True, eq=False)
class TraceEstimate(Result):
    """Trace and Frobenius norm of the Hessian with standard errors; the mean of `samples`, one per probe, is the value.

    Files of earlier versions have no `method` and no Frobenius norm: they load as "hutchinson" and NaN.
    """

    group: ClassVar[str] = "curvature"

    value: float = measured(
        units="loss per squared weight",
        description="estimated trace of the Hessian",
        source="Hutchinson 1989; Epperly, Tropp, Webber 2024",
    )
    standard_error: float = measured(units="loss per squared weight", description="of the value, over the probes")
    samples: Tensor = measured(
        "probe",
        units="loss per squared weight",
        description="each probe's estimate: v^T H v, or XTrace's leave-one-out",
    )
    status: Status = measured(description="how the estimation ended")
    num_hvps: int = measured(units="Hessian products", description="cost: one per probe, two for XTrace")
    tol: float = measured(units="1", description="wanted standard error, relative to |value|")
    seed: int = measured(description="of the random vectors")
    method: str = measured(description="hutchinson or xtrace", default="hutchinson")
    frobenius: float = measured(
        units="loss per squared weight",
        description="estimated Frobenius norm of the Hessian: root of the mean of ||H v||^2; NaN if not known",
        source="E ||H v||^2 = ||H||_F^2 where E v v^T = I",
        default=math.nan,
    )
    frobenius_standard_error: float = measured(
        units="loss per squared weight",
        description="of the Frobenius norm, over the probes: that of the mean square / (2 frobenius)",
        default=math.nan,
    )


def hessian_trace(
    objective: Any,
    *,
    method: str = "hutchinson",
    tol: float = 0.05,
    min_probes: int = 10,
    max_hvps: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> TraceEstimate:
    """Estimate the trace of the Hessian at the present weights, and with the same products its Frobenius norm.

    "hutchinson": the mean of v^T H v over vectors v of random signs, which is unbiased. The standard error falls like
    1 / sqrt(products), whatever the Hessian. Memory of two vectors.

    "xtrace": the trace is exact on the space that the products span and estimated on the rest, each probe left out
    once, which is unbiased too. Choose it where a few large eigenvalues carry the trace, as those of most networks do:
    once there are more probes than such eigenvalues, the error is that of the rest alone (eigenvalues 1/j^2, 50
    products: 1/99 of Hutchinson's). With a flat spectrum it is worse by about sqrt(2), for a probe takes two products.
    Memory of 2 * probes * D numbers, which is max_hvps * D at most; choose "hutchinson" where that is too much.
    Its standard error is the jackknife's, which is on the safe side: with 5 or more probes two to three times the error
    made where the spectrum falls off, and right where it is flat (five spectra, 120 seeds each).

    Probing stops once the standard error is at most tol * |value|, and not before min_probes, because a standard error
    of a few samples is itself a guess. XTrace looks at it whenever the number of probes has doubled.

    Args:
        objective: An `Objective`, or any operator with `hvp`, `num_parameters`, `device`, `dtype`.
        method: "hutchinson" or "xtrace". "hutchinson" by default, because it needs no memory.
        tol: Wanted relative standard error, > 0. 0.05 is our choice, because training methods differ by more.
        min_probes: At least 2. 10 is our choice: the standard error then is right within about 25 %. XTrace starts
            with min_probes // 2 probes, at least 2: the same number of products.
        max_hvps: Budget, at least min_probes, and at least 4 for XTrace. 100 is our choice.
        seed: Of the random vectors, in their own generator; the global one is not touched.
        progress: Called as progress(products done, max_hvps).

    Returns:
        The estimate. Status `MAX_HVPS` if the budget ran out first; `NOT_FINITE` if a product was not finite, value
        and Frobenius norm then are NaN.

    Raises:
        ValueError: An argument out of range.

    Side effects: none.

    Example:
        >>> from analysis import Objective
        >>> x, y = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.zeros(3, 1)
        >>> objective = Objective(torch.nn.Linear(3, 1, bias=False), torch.nn.MSELoss(), (x, y))
        >>> found = hessian_trace(objective)  # H is diagonal: random signs give its trace, 28/3, without error
        >>> round(found.value, 4), round(found.standard_error, 4)
        (9.3333, 0.0)

    References:
        Hutchinson, A stochastic estimator of the trace of the influence matrix (1989).
        Epperly, Tropp, Webber, XTrace: making the most of every sample in stochastic trace estimation (2024).
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not (math.isfinite(tol) and tol > 0):
        raise ValueError(f"tol must be a finite number > 0, the standard error relative to the trace, got {tol}")
    if min_probes < 2 or max_hvps < min_probes:
        raise ValueError(f"2 <= min_probes <= max_hvps must hold, got min_probes={min_probes}, max_hvps={max_hvps}")
    if method == "hutchinson":
        found = _hutchinson(objective, tol, min_probes, max_hvps, seed, progress)
    elif max_hvps < 4:
        raise ValueError(f"xtrace takes two products for each of at least 2 probes: max_hvps >= 4, got {max_hvps}")
    else:
        found = xtrace(
            objective, tol=tol, min_probes=max(2, min_probes // 2), max_hvps=max_hvps, seed=seed, progress=progress
        )
    norm, error = _root(found.squares)
    return TraceEstimate(
        value=found.value,
        standard_error=found.standard_error,
        samples=torch.tensor(found.samples, dtype=torch.float64),
        status=found.status,
        num_hvps=found.num_hvps,
        tol=tol,
        seed=seed,
        method=method,
        frobenius=norm,
        frobenius_standard_error=error,
    )


def _root(squares: list[float]) -> tuple[float, float]:
    """Return the root of the mean of squares with its standard error by the delta method; NaN if one is not finite."""
    if not all(math.isfinite(square) for square in squares):
        return math.nan, math.nan
    root = math.sqrt(np.mean(squares))
    return root, standard_error(squares) / (2 * root) if root > 0 else 0.0


def _hutchinson(
    operator: Operator,
    tol: float,
    min_probes: int,
    max_hvps: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Probing:
    generator = torch.Generator().manual_seed(seed)
    samples: list[float] = []
    squares: list[float] = []
    status = Status.MAX_HVPS
    value = error = math.nan
    while len(samples) < max_hvps:
        signs = torch.randint(2, (operator.num_parameters,), generator=generator, dtype=torch.int8)
        probe = (2 * signs - 1).to(operator.device, operator.dtype)
        product = operator.hvp(probe)
        samples.append(float((probe * product).sum(dtype=torch.float64)))
        squares.append(float(torch.linalg.vector_norm(product, dtype=torch.float64)) ** 2)
        if progress is not None:
            progress(len(samples), max_hvps)
        if not math.isfinite(samples[-1]):
            status, value, error = Status.NOT_FINITE, math.nan, math.nan
            break
        value = float(np.mean(samples))
        if len(samples) >= min_probes:
            error = standard_error(samples)
            if error <= tol * abs(value):
                status = Status.CONVERGED
                break
    return Probing(value, error, samples, squares, status, len(samples))
