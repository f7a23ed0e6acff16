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
from analysis.flatness.perturbation import Scaled, perturbation, scale_named
from analysis.flatness.settings import check_average_tol, check_settings
from analysis.flatness.subsets import num_samples, parts_of
from analysis.flatness.worst import Search, worst_rise
from analysis.objective import Objective

MODERN = "Andriushchenko et al. (2023), arXiv 2302.07011"
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Sharpness(Scaled, Result):
    """How much the loss rises around the weights. Files of earlier versions have no `norm`, no `subspace`: l2, all."""

    group: ClassVar[str] = "sharpness"
    value: float = measured(units="loss", description="Rise of the loss, at worst or on average", source=MODERN)
    standard_error: float = measured(units="loss", description="Of the value, over samples; NaN for a single one")
    rho: float = measured(units="weight", description="Radius of the ball, or deviation of the noise; of u if adaptive")
    kind: str = measured(description="worst or average")
    adaptive: bool = measured(description="Whether perturbations are relative to the weights")
    base_loss: float = measured(units="loss", description="Mean loss at the weights")
    residual: float = measured(units="1", description="Distance of the worst point from stationary, the largest of all")
    samples: Tensor = measured("sample", units="loss", description="Rise of each pair of perturbations, or subset")
    num_gradients: int = measured(units="1", description="Gradients computed, each over all data or one subset")
    num_losses: int = measured(units="1", description="Losses computed, each over all data or one subset")
    seed: int = measured(units="1", description="Of perturbations, random starts and subsets")
    m: int = measured(units="1", description="Samples over which a worst case is taken, all where none was asked for")
    status: Status = measured(description="How the measurement ended")
    norm: str = measured(description="Of the ball of a worst case: l2 or linf", default="l2")
    scale: str = measured(description="c of the perturbation c * u: none (1), weights (|w|) or filters", default="")
    subspace: str = measured(description="Of the perturbations: all, or centralized", default="all")


def sharpness(
    objective: Objective,
    rho: float = 0.05,
    kind: str = "worst",
    adaptive: bool | str = False,
    *,
    norm: str = "l2",
    subspace: str = "all",
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
    rho^2 I). The scale c is 1, or if `adaptive` |w|, or the norm of the weight's filter, for all measured weights,
    biases included. There is no offset such as the 0.01 of ASAM: a weight of 0 stays 0 where c is |w|, and the adaptive
    measures do not change when the layers of a ReLU network are rescaled without changing its function (Kwon et al.
    2021). The plain ones do. Where the units of a layer are rescaled by factors of their own, |w| alone is unchanged:
    the norm of a filter of the next layer mixes them.

    The two kinds are not comparable at one rho: Gaussian noise has norm about rho * sqrt(D), far outside the ball.

    Args:
        objective: Whose loss, around its model's present weights.
        rho: > 0. 0.05, the default of SAM (Foret et al. 2021).
        kind: "worst" or "average".
        adaptive: What perturbations are relative to: False, nothing; True or "weights", |w|; "filters", the norm of all
            weights that feed one output, and |w| for biases and norm layers.
        norm: Worst: of u, "l2", or "linf", max |u_i| <= rho: a box, in which every weight can move by rho whatever the
            others do, so that its rises are larger by far at one rho (radii compare as rho * sqrt(D)).
        subspace: "all", or "centralized": perturbations P u, with the projection P of gradient centralization, along
            which GCSAM climbs. In L2 and plain only, for then P u lies in the ball too. With steps=0 it is the rise
            along GCSAM's own perturbation, L(w + rho P g / ||P g||) - L(w); the average is rho^2 tr(P H P) / 2 where
            the loss is a quadratic.
        steps: Worst: gradients in one ascent, at most. 20 is our choice: on trained networks the value gains less than
            1 % beyond it. 0 takes SAM's perturbation as it is, L(w + rho g / ||g||) - L(w), its sign whatever it is,
            for one gradient and two losses.
        restarts: Worst, with steps: ascents from random points beside the first, which starts from SAM's one-step
            perturbation. The best counts, so that more never lower the value. 1 is our choice.
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
        Sharpness (frozen). value: loss, >= 0 for "worst" with steps since delta = 0 counts.
        standard_error: over pairs, or over subsets as a sample of all possible ones. NaN for "worst" with one subset: a
        single maximum, nothing is sampled.
        residual: NaN for "average" and without steps. At the worst point, the largest over subsets; on the sphere the
        norm of the tangential gradient over that of the gradient (by u), so 0 is stationary; in a box the gradient by
        the coordinates that no face holds takes the place of the tangential one.
        status: CONVERGED (residual <= tol); MAX_STEPS: steps ran out, or none rose any more, and the value is a lower
        bound; COMPLETE for "average" and for no steps, with average_tol CONVERGED or MAX_SAMPLES; NOT_FINITE where a
        loss or gradient was NaN or inf, and the value with it.

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
        We differ: no offset in the adaptive scale, rows of linear layers are filters as those of convolutions are (Kwon
        et al. take |w| there), step lengths of Barzilai and Borwein, a residual beside the value.
    """
    if not (math.isfinite(rho) and rho > 0):
        raise ValueError(f"rho must be a finite number > 0, got {rho!r}; 0.05 is the usual start")
    scale = scale_named(adaptive)
    check_settings(kind, m, samples, steps, restarts, tol, norm, scale, subspace)
    check_average_tol(kind, average_tol)
    with torch.inference_mode(False):  # whatever the caller's mode, gradients are needed
        if kind == "average":
            return _average(objective, float(rho), scale, subspace, samples, average_tol, seed, progress)
        return _worst(objective, Search(float(rho), scale, steps, restarts, tol, seed, norm, subspace), m, progress)


def _average(
    objective: Objective,
    rho: float,
    scale: str,
    subspace: str,
    samples: int,
    tol: float | None,
    seed: int,
    progress: Progress | None,
) -> Sharpness:
    base_loss = objective.loss()
    move = perturbation(objective, scale, subspace)
    rises = average_rises(objective, move, [rho], samples, seed, base_loss, progress, tol)[0]
    ended = Status.COMPLETE
    if tol is not None:
        ended = Status.CONVERGED if meets(rises, tol) else Status.MAX_SAMPLES
    return Sharpness(
        value=float(rises.mean()),
        standard_error=standard_error(rises),
        rho=rho,
        kind="average",
        adaptive=scale != "none",
        scale=scale,
        subspace=subspace,
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
    total = len(parts) * search.num_starts
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
    return Sharpness(
        value=float(rises @ shares),
        standard_error=standard_error(rises),
        rho=search.rho,
        kind="worst",
        adaptive=search.scale != "none",
        scale=search.scale,
        subspace=search.subspace,
        base_loss=float(base_losses @ shares),
        residual=residual,
        samples=rises,
        num_gradients=sum(worst.num_gradients for worst in found),
        num_losses=sum(worst.num_losses for worst in found),
        seed=search.seed,
        norm=search.norm,
        m=parts[0][1] if m is None else m,
        status=search.status(residual) if is_finite else Status.NOT_FINITE,
    )
