"""The measurements the command line makes, as data: where each is stored, its settings, and how to compute it.

One value per measurement, so that `measure`, `surface`, `noise` and `study` share one list and one rule for what is
finished. Right when a stored measurement with the same settings is found finished, and one with others is refused by
name (`tests/landscape/measuring/test_stages.py`). Costs: those of the measuring functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.store import list_measurements, read

if TYPE_CHECKING:
    from analysis import Objective, Result

Progress = Callable[[int, int], None]
Compute = Callable[["Objective", "str | os.PathLike[str] | None", Progress], "Result"]

# Eigenvalues asked for: lambda_1 / lambda_5 is what Foret et al. (2021) report.
TOP = 5
# Hessian products that eigenvalues usually take; the budget is ten times that, and a poor guide to the time left.
USUAL_HVPS = 20
# Of the spectral density, the defaults there.
PROBES, STEPS = 8, 40
# The status of a grid whose cells are not all computed (`analysis.evidence.Status`).
UNFINISHED = "INTERRUPTED"
GRADIENT_NOISE = "gradient_noise"


class NotAvailable(ValueError):
    """A measurement that cannot be had of this network, which is no reason to stop the others."""


@dataclass(frozen=True)
class Stage:
    """One measurement.

    Args:
        kind: Group of the file it is stored in.
        name: Its name there.
        title: For the reader, while it goes on.
        settings: What the numbers depend on, by the name of the stored variable or dimension.
        compute: Called as compute(objective, path, progress). With a path, a grid writes its cells there itself and
            goes on where it was; the others ignore it.
        is_grid: Whether it is such a grid.
        weight: Its share of the time of a run, in any unit; only the time left that is shown depends on it.
        decides_itself: Whether it depends on what no setting says, other checkpoints for example: it is then always
            called, computes what is missing, and refuses a stored one that is of others.
    """

    kind: str
    name: str
    title: str
    settings: Mapping[str, Any]
    compute: Compute
    is_grid: bool = False
    weight: float = 1.0
    decides_itself: bool = False

    @property
    def key(self) -> str:
        """As the store spells it, "kind/name"."""
        return f"{self.kind}/{self.name}"


def is_finished(stage: Stage, path: str | os.PathLike[str]) -> bool:
    """Return whether a file holds the measurement, made with the same settings and to its end.

    Args:
        stage: Which one.
        path: The result file; it need not exist.

    Raises:
        ValueError: It holds it with other settings; the message names the first that differs.
    """
    if not Path(path).is_file() or stage.key not in list_measurements(path):
        return False
    found = read(path, stage.key)
    for name, wanted in stage.settings.items():
        stored = found.setting(name)
        if stored != wanted:
            raise ValueError(
                f"{os.fspath(path)} holds {stage.key} with {name} {stored}, asked for is {wanted}; give the same, "
                "or --again to replace it"
            )
    return found.attributes.get("status") != UNFINISHED and not stage.decides_itself


def curvature(*, top: int = TOP, seed: int = 0) -> list[Stage]:
    """Return the stages for the largest eigenvalues and the trace of the Hessian.

    Args:
        top: Number of eigenvalues.
        seed: Of start vector and probes.
    """

    def eigenvalues(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import hessian_eigenvalues

        def nearer(done: float, total: float) -> None:
            progress(int(done), int(min(total, max(USUAL_HVPS, 1.25 * done))))

        return hessian_eigenvalues(objective, k=top, seed=seed, progress=nearer)

    def trace(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import hessian_trace

        return hessian_trace(objective, seed=seed, progress=progress)

    settings = {"pair": top, "which": "largest", "seed": seed}
    return [
        Stage("curvature", "eigenvalues", "Hessian eigenvalues", settings, eigenvalues),
        Stage("curvature", "trace", "Hessian trace", {"seed": seed}, trace),
    ]


def centralized_trace(*, seed: int = 0) -> Stage:
    """Return the stage for the trace of P H P: the curvature along centralized directions alone.

    Args:
        seed: Of the probes.
    """

    def compute(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import Centralized, hessian_trace

        return hessian_trace(Centralized(objective), seed=seed, progress=progress)

    return Stage("curvature", "trace_centralized", "centralized Hessian trace", {"seed": seed}, compute)


def density(*, seed: int = 0) -> Stage:
    """Return the stage for the density of all eigenvalues of the Hessian.

    Args:
        seed: Of the probes.
    """

    def compute(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import spectral_density

        return spectral_density(objective, probes=PROBES, steps=STEPS, seed=seed, progress=progress)

    # no steps: they are cut to the number of weights, which is not known here
    settings = {"probe": PROBES, "seed": seed}
    weight = PROBES * STEPS / USUAL_HVPS  # in units of the eigenvalues
    return Stage("curvature", "density", "spectral density", settings, compute, weight=weight)


def sharpness(*, rho: float = 0.05, seed: int = 0) -> list[Stage]:
    """Return the stages for worst-case and average-case sharpness, plain and adaptive.

    Args:
        rho: Radius, or deviation of the noise.
        seed: Of starts and noise.

    Raises:
        ValueError: `rho` is not a finite number above 0.
    """
    if not 0 < rho < float("inf"):
        raise ValueError(f"rho must be a finite number > 0, got {rho}; 0.05 is the usual one")

    def stage(kind: str, *, adaptive: bool) -> Stage:
        def compute(objective: Objective, _: Any, progress: Progress) -> Result:
            from analysis import sharpness

            return sharpness(objective, rho=rho, kind=kind, adaptive=adaptive, seed=seed, progress=progress)

        name, title = (f"{kind}_adaptive", "adaptive ") if adaptive else (kind, "")
        settings = {"rho": rho, "kind": kind, "adaptive": adaptive, "seed": seed}
        return Stage("sharpness", name, f"{title}{kind}-case sharpness", settings, compute)

    return [stage(kind, adaptive=adaptive) for adaptive in (False, True) for kind in ("worst", "average")]


def noise(*, seed: int = 0, checkpoint: Path | None = None) -> Stage:
    """Return the stage for the gradient noise, raw, centralized and with the random-projection control.

    Args:
        seed: Of the control's projection.
        checkpoint: That training kept, to measure at its weights; None for the network's own.
    """

    def compute(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import gradient_noise
        from gcsam.training.checkpoint import load_file

        at = None if checkpoint is None else load_file(checkpoint)["model"]
        return gradient_noise(objective, at, seed=seed, progress=progress)

    if checkpoint is None:
        return Stage("noise", GRADIENT_NOISE, "gradient noise", {"seed": seed}, compute)
    name = f"{GRADIENT_NOISE}_{checkpoint.stem}"
    return Stage("noise", name, f"gradient noise after {place(checkpoint.stem)}", {"seed": seed}, compute)


def place(stem: str) -> str:
    """Return where in training a checkpoint was kept, for the reader.

    Args:
        stem: Of its file.

    Example:
        >>> place("epoch-0003")
        'epoch 3'
    """
    unit, _, number = stem.partition("-")
    return f"{unit} {int(number)}"
