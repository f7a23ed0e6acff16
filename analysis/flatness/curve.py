"""Sharpness over a range of rho with the same random numbers at every rho: a curve that is smooth, and comparable.

Proved right by: at every rho the bits of `sharpness` for the average, and at least its value for the worst case; the
closed forms of a quadratic; laws of order in rho (`tests/analysis/flatness/test_curve.py`).
Cost: stated at `sharpness_curve`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.flatness.average import average_rises, standard_error
from analysis.flatness.perturbation import Scaled, perturbation, scale_named
from analysis.flatness.settings import check_settings
from analysis.flatness.sharpness import MODERN, Progress
from analysis.flatness.subsets import num_samples, parts_of
from analysis.flatness.worst import Search, Worst, worst_rise
from analysis.objective import Objective


@dataclasses.dataclass(frozen=True, eq=False)
class SharpnessCurve(Scaled, Result):
    """How much the loss rises around the weights, for several radii or deviations."""

    group: ClassVar[str] = "sharpness"
    rho: Tensor = measured("rho", units="weight", description="Radii of the ball, or deviations; of u if adaptive")
    value: Tensor = measured("rho", units="loss", description="Rise of the loss, at worst or on average", source=MODERN)
    standard_error: Tensor = measured("rho", units="loss", description="Of the value, over samples; NaN for one")
    residual: Tensor = measured("rho", units="1", description="Distance of the worst point from stationary")
    statuses: tuple[str, ...] = measured("rho", description="How the measurement ended at each rho")
    samples: Tensor = measured("rho", "sample", units="loss", description="Rise of each pair, or subset, the same ones")
    kind: str = measured(description="worst or average")
    adaptive: bool = measured(description="Whether perturbations are relative to the weights")
    base_loss: float = measured(units="loss", description="Mean loss at the weights")
    num_gradients: int = measured(units="1", description="Gradients computed, each over all data or one subset")
    num_losses: int = measured(units="1", description="Losses computed, each over all data or one subset")
    seed: int = measured(units="1", description="Of perturbations, random starts and subsets")
    m: int = measured(units="1", description="Samples over which a worst case is taken, all where none was asked for")
    status: Status = measured(description="The least good of the statuses")
    norm: str = measured(description="Of the ball of a worst case: l2 or linf", default="l2")
    scale: str = measured(description="c of the perturbation c * u: none (1), weights (|w|) or filters", default="")
    subspace: str = measured(description="Of the perturbations: all, or centralized", default="all")


def sharpness_curve(
    objective: Objective,
    rhos: Sequence[float],
    kind: str = "worst",
    adaptive: bool | str = False,
    *,
    norm: str = "l2",
    subspace: str = "all",
    steps: int = 20,
    restarts: int = 1,
    tol: float = 1e-2,
    samples: int = 100,
    m: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> SharpnessCurve:
    """Measure `sharpness` at several rho with common random numbers.

    Every rho sees the same perturbations ("average"), random starts and subsets ("worst"), so that the curve is as
    smooth as the loss, and so do other checkpoints of one architecture: `sharpness_difference` tells two of them apart
    with the standard error of paired samples. The standard errors along one curve are not independent.

    "worst" with steps never falls with rho: the worst point of a smaller ball lies in the larger one, and counts there
    where the ascents of the larger one end lower.

    Args:
        objective: Whose loss, around its model's present weights.
        rhos: One or more, > 0, rising.
        kind: "worst" or "average".
        adaptive: As for `sharpness`, like all that follow.
        norm: Of the ball of a worst case.
        subspace: Of the perturbations.
        steps: Worst: gradients in one ascent.
        restarts: Worst: ascents from random points beside the first.
        tol: Worst: residual at which an ascent ends.
        samples: Average: pairs of perturbations.
        m: Worst: samples of a subset.
        seed: Of perturbations, random starts and subsets.
        progress: Called as progress(done, total) after each ascent or pair.

    Returns:
        SharpnessCurve (frozen). rho, value, standard_error, residual and statuses, each [rho], as in `Sharpness`; if
        the point of a smaller ball counts, residual is NaN and status MAX_STEPS. samples [rho, sample], float64.

    Raises:
        ValueError: An argument out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: worst: at each rho that of `sharpness`. Average: 1 + 2 * samples * len(rhos) losses.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2 on the data below
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> found = sharpness_curve(objective, [0.1, 0.2])  # lambda_1 rho^2 / 2
        >>> [f"{value:.4f}" for value in found.value]
        ['0.0200', '0.0800']

    References:
        As of `sharpness`.
    """
    found = [float(rho) for rho in rhos]
    if (
        not found
        or not all(math.isfinite(rho) for rho in found)
        or any(b <= a for a, b in itertools.pairwise([0.0, *found]))
    ):
        raise ValueError(f"rhos must be one or more finite numbers > 0 in rising order, got {found}")
    scale = scale_named(adaptive)
    check_settings(kind, m, samples, steps, restarts, tol, norm, scale, subspace)
    with torch.inference_mode(False):  # whatever the caller's mode, gradients are needed
        if kind == "average":
            return _average(objective, found, scale, subspace, samples, seed, progress)
        searches = [Search(rho, scale, steps, restarts, tol, seed, norm, subspace) for rho in found]
        return _worst(objective, searches, m, progress)


def _average(
    objective: Objective,
    rhos: list[float],
    scale: str,
    subspace: str,
    samples: int,
    seed: int,
    progress: Progress | None,
) -> SharpnessCurve:
    base_loss = objective.loss()
    move = perturbation(objective, scale, subspace)
    rises = average_rises(objective, move, rhos, samples, seed, base_loss, progress)
    statuses = [Status.COMPLETE if bool(row.isfinite().all()) else Status.NOT_FINITE for row in rises]
    return SharpnessCurve(
        rho=torch.tensor(rhos, dtype=torch.float64),
        value=torch.stack([row.mean() for row in rises]),
        standard_error=_standard_errors(rises),
        residual=torch.full((len(rhos),), math.nan, dtype=torch.float64),
        statuses=tuple(status.name for status in statuses),
        samples=rises,
        kind="average",
        adaptive=scale != "none",
        scale=scale,
        subspace=subspace,
        base_loss=base_loss,
        num_gradients=0,
        num_losses=1 + 2 * samples * len(rhos),
        seed=seed,
        m=num_samples(objective),
        status=_least_good(statuses),
    )


def _worst(objective: Objective, searches: list[Search], m: int | None, progress: Progress | None) -> SharpnessCurve:
    first = searches[0]
    parts = parts_of(objective, m, first.seed)
    total = len(parts) * len(searches) * first.num_starts
    ended = itertools.count(1)

    def on_start() -> None:
        if progress is not None:
            progress(next(ended), total)

    found = [[worst_rise(part, search, on_start) for search in searches] for part, _ in parts]
    columns = [_carried(along) if first.steps else along for along in found]  # SAM's perturbation is as it is
    shares = torch.tensor([size for _, size in parts], dtype=torch.float64)
    shares = shares / shares.sum()
    rises, base_losses, residuals = (
        torch.tensor([[getattr(worst, field) for worst in along] for along in columns], dtype=torch.float64).T
        for field in ("rise", "base_loss", "residual")
    )
    residual = residuals.max(1).values  # NaN where one is
    statuses = [
        first.status(float(left)) if bool(row.isfinite().all()) else Status.NOT_FINITE
        for row, left in zip(rises, residual, strict=True)
    ]
    every = [worst for along in found for worst in along]
    return SharpnessCurve(
        rho=torch.tensor([search.rho for search in searches], dtype=torch.float64),
        value=torch.stack([row @ shares for row in rises]),
        standard_error=_standard_errors(rises),
        residual=residual,
        statuses=tuple(status.name for status in statuses),
        samples=rises.contiguous(),
        kind="worst",
        adaptive=first.scale != "none",
        scale=first.scale,
        subspace=first.subspace,
        base_loss=float(base_losses[0] @ shares),
        num_gradients=sum(worst.num_gradients for worst in every),
        num_losses=sum(worst.num_losses for worst in every),
        seed=first.seed,
        norm=first.norm,
        m=parts[0][1] if m is None else m,
        status=_least_good(statuses),
    )


def _carried(found: list[Worst]) -> list[Worst]:
    """Return the worst points of rising balls, those of smaller ones where no larger one has a worse."""
    kept: list[Worst] = []
    for worst in found:
        is_lower = (
            bool(kept) and math.isfinite(worst.rise) and math.isfinite(kept[-1].rise) and worst.rise < kept[-1].rise
        )
        kept.append(dataclasses.replace(kept[-1], residual=math.nan) if is_lower else worst)
    return kept


def _standard_errors(rises: Tensor) -> Tensor:
    return torch.tensor([standard_error(row) for row in rises], dtype=torch.float64)


def _least_good(statuses: list[Status]) -> Status:
    order = (Status.NOT_FINITE, Status.MAX_STEPS, Status.CONVERGED, Status.COMPLETE)
    return min(statuses, key=order.index)
