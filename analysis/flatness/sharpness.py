"""Sharpness: how much the loss rises in a ball around the weights, at worst, or on average under Gaussian noise.

Proved right by: the closed forms for a quadratic, worst-case (trust-region maximum) and average (rho^2 tr(H) / 2);
adaptive measures that do not change when a ReLU network is rescaled; laws of order in rho, m and restarts
(`tests/analysis/flatness/test_sharpness.py`).
Cost: stated at `sharpness`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.flatness.average import average_rises, meets, standard_error
from analysis.flatness.settings import check_average_tol, check_settings
from analysis.flatness.subsets import num_samples, parts_of
from analysis.flatness.worst import Search, worst_rise
from analysis.objective import Objective

MODERN = "Andriushchenko et al. (2023), arXiv 2302.07011"
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Sharpness(Result):
    """How much the loss rises around the weights. Files of earlier versions have no `norm`: theirs is l2."""

    group: ClassVar[str] = "sharpness"
    value: float = measured(units="loss", description="Rise of the loss, at worst or on average", source=MODERN)
    standard_error: float = measured(units="loss", description="Of the value, over samples; NaN for a single one")
    rho: float = measured(units="weight", description="Radius of the ball, or deviation of the noise; of u if adaptive")
    kind: str = measured(description="worst or average")
    adaptive: bool = measured(description="Whether the perturbation is |w| * u instead of u")
    base_loss: float = measured(units="loss", description="Mean loss at the weights")
    residual: float = measured(units="1", description="Distance of the worst point from stationary, the largest of all")
    samples: Tensor = measured("sample", units="loss", description="Rise of each pair of perturbations, or subset")
    num_gradients: int = measured(units="1", description="Gradients computed, each over all data or one subset")
    num_losses: int = measured(units="1", description="Losses computed, each over all data or one subset")
    seed: int = measured(units="1", description="Of perturbations, random starts and subsets")
    m: int = measured(units="1", description="Samples over which a worst case is taken, all where none was asked for")
    status: Status = measured(description="How the measurement ended")
    norm: str = measured(description="Of the ball of a worst case: l2 or linf", default="l2")


def sharpness(
    objective: Objective,
    rho: float = 0.05,
    kind: str = "worst",
    adaptive: bool = False,
    *,
    norm: str = "l2",
    steps: int = 20,
    restarts: int = 1,
    tol: float = 1e-2,
    samples: int = 100,
    average_tol: float | None = None,
    m: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sharpness:
    """Measure how much the mean loss rises when the weights w are perturbed by delta = c * u, entry by entry.

    kind "worst": max of L(w + delta) - L(w) over ||u|| <= rho in the given norm. "average": its mean over u ~ N(0,
    rho^2 I). The scale c is 1, or |w| if `adaptive`, for all measured weights, biases included. There is no offset such
    as the 0.01 of ASAM: a weight of 0 stays 0, and the adaptive measures do not change when the weights of a ReLU
    network are rescaled without changing its function (Kwon et al. 2021). The plain ones do.

    The two kinds are not comparable at one rho: Gaussian noise has norm about rho * sqrt(D), far outside the ball.

    Args:
        objective: Whose loss, around its model's present weights.
        rho: > 0. 0.05, the default of SAM (Foret et al. 2021).
        kind: "worst" or "average".
        adaptive: Whether perturbations are relative to |w|.
        norm: Worst: of u, "l2", or "linf", max |u_i| <= rho: a box, in which every weight can move by rho whatever the
            others do, so that its rises are larger by far at one rho (radii compare as rho * sqrt(D)).
        steps: Worst: gradients in one ascent, at most. 20 is our choice: on trained networks the value gains less than
            1 % beyond it.
        restarts: Worst: ascents from random points beside the first, which starts from SAM's one-step perturbation. The
            best counts, so that more never lower the value. 1 is our choice.
        tol: Worst: residual at which an ascent ends. The value's relative error is of its square: 1e-2 leaves about
            1e-4 to 1e-2 on quadratics.
        samples: Average: pairs of perturbations (u, -u), >= 2. 100 is our choice: a standard error of a few percent.
        average_tol: Average: stop, after 10 pairs or more, once the standard error is at most average_tol * |value|, as
            `hessian_trace` does; `samples` then is the most that are drawn. None, the default, draws them all, so that
            every measurement has as many. 0.05 is reached with 10 pairs on networks of many millions of weights.
        m: Worst: the data are cut at random into ceil(N / m) equal subsets of at most m samples, the worst case is
            taken for each, and averaged: the m-sharpness of Foret et al. None takes all data at once.
        seed: Of perturbations, random starts and subsets, drawn on the CPU: two checkpoints of one architecture see
            the same ones, so that their difference has a small error.
        progress: Called as progress(done, total) after each ascent or pair.

    Returns:
        Sharpness (frozen). value: loss, >= 0 for "worst" since delta = 0 counts.
        standard_error: over pairs, or over subsets as a sample of all possible ones. NaN for "worst" with one subset: a
        single maximum, nothing is sampled.
        residual: NaN for "average". At the worst point, the largest over subsets; on the sphere the norm of the
        tangential gradient over that of the gradient (by u), so 0 is stationary; in a box the gradient by the
        coordinates that no face holds takes the place of the tangential one.
        status: CONVERGED (residual <= tol); MAX_STEPS: steps ran out, or none rose any more, and the value is a lower
        bound; COMPLETE for "average", with average_tol CONVERGED or MAX_SAMPLES; NOT_FINITE where a loss or gradient
        was NaN or inf, and the value with it.

    Raises:
        ValueError: An argument out of range; m with "average", whose mean over subsets is the same for every m.

    Cost: worst, per subset, each gradient and loss over the subset alone: at most 1 + (1 + restarts) * steps
    gradients (default 41, together over all data whatever m) and 1 + about 1.3 times as many losses. Average:
    1 + 2 * samples losses (default 201), with average_tol at most. Memory: the data, up to 2 GiB (with m, always), and
    a few vectors [D].

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2 on the data below
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> found = sharpness(objective, rho=0.1)  # lambda_1 rho^2 / 2
        >>> f"{found.value:.4f} {found.status.name}"
        '0.0200 CONVERGED'

    References:
        Foret et al., Sharpness-aware minimization, arXiv 2010.01412. Kwon et al., ASAM, arXiv 2102.11600.
        Andriushchenko et al., A modern look at the relationship between sharpness and generalization, arXiv 2302.07011.
        We differ: no offset in the adaptive scale, step lengths of Barzilai and Borwein, a residual beside the value.
    """
    if not (math.isfinite(rho) and rho > 0):
        raise ValueError(f"rho must be a finite number > 0, got {rho!r}; 0.05 is the usual start")
    check_settings(kind, m, samples, steps, restarts, tol, norm)
    check_average_tol(kind, average_tol)
    with torch.inference_mode(False):  # whatever the caller's mode, gradients are needed
        if kind == "average":
            return _average(objective, float(rho), adaptive, samples, average_tol, seed, progress)
        return _worst(objective, Search(float(rho), adaptive, steps, restarts, tol, seed, norm), m, progress)


def _average(
    objective: Objective,
    rho: float,
    adaptive: bool,
    samples: int,
    tol: float | None,
    seed: int,
    progress: Progress | None,
) -> Sharpness:
    base_loss = objective.loss()
    scale = rho * objective.weights().abs() if adaptive else rho
    rises = average_rises(objective, scale, samples, seed, base_loss, progress, tol)
    ended = Status.COMPLETE
    if tol is not None:
        ended = Status.CONVERGED if meets(rises, tol) else Status.MAX_SAMPLES
    return Sharpness(
        value=float(rises.mean()),
        standard_error=standard_error(rises),
        rho=rho,
        kind="average",
        adaptive=adaptive,
        base_loss=base_loss,
        residual=math.nan,
        samples=rises,
        num_gradients=0,
        num_losses=1 + 2 * len(rises),
        seed=seed,
        m=num_samples(objective),
        status=ended if bool(rises.isfinite().all()) else Status.NOT_FINITE,
    )


def _worst(objective: Objective, search: Search, m: int | None, progress: Progress | None) -> Sharpness:
    parts = parts_of(objective, m, search.seed)
    total = len(parts) * (1 + search.restarts)
    ended = itertools.count(1)

    def on_start() -> None:
        if progress is not None:
            progress(next(ended), total)

    found = [worst_rise(part, search, on_start) for part, _ in parts]
    shares = torch.tensor([size for _, size in parts], dtype=torch.float64)
    shares = shares / shares.sum()
    rises, base_losses, residuals = (
        torch.tensor([getattr(worst, field) for worst in found], dtype=torch.float64)
        for field in ("rise", "base_loss", "residual")
    )
    residual = float(residuals.max())
    is_finite = bool(rises.isfinite().all())
    ended_well = Status.CONVERGED if residual <= search.tol else Status.MAX_STEPS
    return Sharpness(
        value=float(rises @ shares),
        standard_error=standard_error(rises),
        rho=search.rho,
        kind="worst",
        adaptive=search.adaptive,
        base_loss=float(base_losses @ shares),
        residual=residual,
        samples=rises,
        num_gradients=sum(worst.num_gradients for worst in found),
        num_losses=sum(worst.num_losses for worst in found),
        seed=search.seed,
        norm=search.norm,
        m=parts[0][1] if m is None else m,
        status=ended_well if is_finite else Status.NOT_FINITE,
    )
