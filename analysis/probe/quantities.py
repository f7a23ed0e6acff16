"""What a probe measures, each as a function from an objective to the entries of one row, and all of them together.

Settings are chosen for many measurements in a row: the largest eigenvalue starts from the eigenvector of the last time,
and everything random is drawn anew from one seed, so that two rows differ by what training did and not by the draw.

Right when the entries are those of the public functions at the same weights, and what fails leaves NaN and a status
(`tests/analysis/probe/test_probe.py`, `test_failures.py`).
Cost of a measurement, beside one forward pass for the loss: `lambda_max` 2 to 15 Hessian products, `trace` one for each
probe vector, `noise` that of `gradient_noise`, `sharpness` two gradients and two losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from analysis.curvature.hessian import hessian_eigenvalues
from analysis.curvature.trace import hessian_trace
from analysis.flatness.sharpness import sharpness
from analysis.noise.gradient_noise import gradient_noise
from analysis.objective import Objective
from analysis.probe.budget import Budget
from analysis.probe.record import Row

# A standard error below this share of the trace ends nothing early: the number of probe vectors is fixed.
_NO_TOLERANCE = 1e-12
OnError = Callable[[str, Exception], None]
KINDS = ("raw", "centralized", "control")
NOISE = tuple(f"{name}{end}" for name in ("trace", "signal", "noise_scale") for end in ("", "_standard_error"))


@dataclass
class Settings:
    """What the measurements of a probe share.

    Attributes:
        rho: Radius of the sharpness.
        num_probes: Vectors of the trace.
        seed: Of everything random.
        eigenvector: [D], of the last measurement; None before the first.
        layers: Names of the modules, once they are known.
    """

    rho: float
    num_probes: int
    seed: int
    eigenvector: Tensor | None = None
    layers: tuple[str, ...] = ()


def _lambda_max(objective: Objective, settings: Settings) -> Row:
    found = hessian_eigenvalues(objective, k=1, seed=settings.seed, start=settings.eigenvector)
    value, residual = float(found.values[0]), float(found.residuals[0])
    if bool(found.vectors.isfinite().all()):
        settings.eigenvector = found.vectors[0]
    return {
        "lambda_max": value,
        "lambda_max_residual": residual,
        "lambda_max_hvps": found.num_hvps,
        "lambda_max_status": found.status.name,
    }


def _trace(objective: Objective, settings: Settings) -> Row:
    probes = settings.num_probes
    found = hessian_trace(objective, tol=_NO_TOLERANCE, min_probes=probes, max_hvps=probes, seed=settings.seed)
    # all the probe vectors asked for were used: that is no budget that ran out
    status = "NOT_FINITE" if found.status.name == "NOT_FINITE" else "COMPLETE"
    return {"trace": found.value, "trace_standard_error": found.standard_error, "trace_status": status}


def _noise(objective: Objective, settings: Settings) -> Row:
    found = gradient_noise(objective, seed=settings.seed)
    settings.layers = found.layers
    row: Row = {f"{kind}/{name}": getattr(getattr(found, kind).total, name) for kind in KINDS for name in NOISE}
    row |= {"ascent_ratio": found.ascent_ratio.double(), "ascent_ratio_total": found.ascent_ratio_total}
    return {**row, "noise_status": found.status.name}


def _sharpness(objective: Objective, settings: Settings) -> Row:
    found = sharpness(objective, settings.rho, steps=1, restarts=0, seed=settings.seed)
    # one step is what was asked for, so that it ends before any tolerance is no outcome
    status = "COMPLETE" if found.status.name == "MAX_STEPS" else found.status.name
    return {"sharpness": found.value, "sharpness_status": status}


QUANTITIES: dict[str, Callable[[Objective, Settings], Row]] = {
    "lambda_max": _lambda_max,
    "trace": _trace,
    "noise": _noise,
    "sharpness": _sharpness,
}


def check_quantities(quantities: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Args:
        quantities: As given by the user.

    Raises:
        ValueError: One is unknown or there twice, or they are no sequence of names.
    """
    allowed = ", ".join(QUANTITIES)
    if isinstance(quantities, str) or not isinstance(quantities, Sequence):
        raise ValueError(f"quantities must be a sequence of {allowed}, got {quantities!r}; ('trace',) is a single one")
    for name in quantities:
        if name not in QUANTITIES or list(quantities).count(name) > 1:
            raise ValueError(f"quantities must be some of {allowed}, each once, got {name!r} in {tuple(quantities)}")
    return tuple(quantities)


def measure(
    objective: Objective, quantities: Sequence[str], settings: Settings, budget: Budget, on_error: OnError
) -> Row:
    """Measure the loss, and where it is finite the quantities.

    Args:
        objective: At the present weights. Graphs kept for products are freed at the end.
        quantities: Names.
        settings: Of all measurements; what the next one can start from is put there.
        budget: Told the time that each took.
        on_error: Called with a name and what its measurement raised; it may raise that again.

    Returns:
        The entries of the row; what failed has a status and nothing else.
    """
    row: Row = {}

    def take(name: str, of: Callable[[Objective, Settings], Row]) -> None:
        try:
            with budget.spending(name):
                row.update(of(objective, settings))
        except Exception as error:  # whatever it is, whoever trains decides
            on_error(name, error)
            row[f"{name}_status"] = "FAILED"
        row[f"{name}_seconds"] = budget.last(name)

    take("loss", lambda objective, _: {"loss": objective.loss()})
    without = "NOT_FINITE" if "loss" in row else "FAILED"
    for name in quantities:
        if math.isfinite(row.get("loss", math.nan)):
            take(name, QUANTITIES[name])
        else:
            row[f"{name}_status"] = without
    objective.release()
    return row
