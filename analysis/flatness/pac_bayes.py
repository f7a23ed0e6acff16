"""The largest Gaussian noise on the weights that raises the loss by no more than a threshold on average.

Proved right by: a quadratic, where sigma^2 = 2 rise / tr(H); a standard error that is the spread over seeds
(`tests/analysis/flatness/test_pac_bayes.py`). Cost: stated at `pac_bayes_sigma`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from analysis.checks import check_whole
from analysis.evidence import Result, Status, measured
from analysis.flatness.average import average_rises, standard_error
from analysis.flatness.bracket import crossing
from analysis.flatness.perturbation import Scaled, perturbation, scale_named
from analysis.objective import Objective

JIANG = "Jiang et al. (2020), arXiv 1912.02178"
START = 0.01  # first sigma tried, our choice: a search ends wherever it starts, at the cost of a doubling more
MAX_TRIES = 100  # twice what the search can take: 60 doublings and log2(1 / tol) bisections


@dataclasses.dataclass(frozen=True, eq=False)
class PACBayesSigma(Scaled, Result):
    """The noise a minimum can take: the larger, the flatter; PAC-Bayes bounds grow with 1 / sigma^2."""

    group: ClassVar[str] = "sharpness"
    value: float = measured(units="weight", description="Largest sigma; of w, or relative to it", source=JIANG)
    standard_error: float = measured(units="weight", description="Of the value, over pairs of perturbations")
    low: float = measured(units="weight", description="Largest sigma below it that was seen to keep the threshold")
    high: float = measured(units="weight", description="Smallest sigma that was seen to exceed it; inf for none")
    rise: float = measured(units="loss", description="Allowed mean rise of the loss")
    adaptive: bool = measured(description="Whether noise is relative to the weights")
    base_loss: float = measured(units="loss", description="Mean loss at the weights")
    num_samples: int = measured(units="1", description="Pairs of perturbations, the same at every sigma")
    num_losses: int = measured(units="1", description="Losses computed")
    seed: int = measured(units="1", description="Of the perturbations")
    status: Status = measured(description="How the search ended")
    scale: str = measured(description="c of the noise sigma * c * z: none (1), weights (|w|) or filters", default="")


def pac_bayes_sigma(
    objective: Objective,
    rise: float = 0.1,
    adaptive: bool | str = False,
    *,
    tol: float = 1e-2,
    samples: int = 50,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PACBayesSigma:
    """Search the largest sigma with E L(w + sigma c z) - L(w) <= rise, z standard normal, by bisection.

    c is 1, or if `adaptive` |w|, the magnitude-aware measure, which does not change when a ReLU network is rescaled, or
    the norm of each weight's filter, as for `sharpness`.
    The same perturbations are used at every sigma and for every checkpoint of one architecture, so that the mean rise
    is as smooth as the loss and two checkpoints compare. The search doubles or halves sigma until it brackets the
    threshold.

    Args:
        objective: Whose loss, around its model's present weights.
        rise: Allowed, > 0, in units of the loss. 0.1, after Jiang et al., who allow 0.1 of training error.
        adaptive: What noise is relative to: False, nothing; True or "weights", |w|; "filters", as for `sharpness`.
        tol: Width of the bracket over its upper end at which to stop, in (0, 1); inside it the mean rise is taken as
            straight. 1e-2 is our choice: below the usual standard error.
        samples: Pairs of perturbations (z, -z), >= 2. 50 is our choice: a standard error of a few percent.
        seed: Of the perturbations, drawn on the CPU.
        progress: Called as progress(done, total) within each sigma tried.

    Returns:
        PACBayesSigma (frozen). value: between low and high; standard_error: that of the mean rise over its slope.
        status: CONVERGED; NO_BRACKET where no sigma exceeded the threshold or none kept it, NOT_FINITE where the loss
        at the weights is; value and standard error then are NaN.

    Raises:
        ValueError: An argument out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: 2 * samples losses for each sigma, about 10 to 15 of them.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)  # L = w^2 at w = 0: the rise is sigma^2
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.ones(1, 1), torch.zeros(1, 1)))
        >>> found = pac_bayes_sigma(objective, rise=0.25)
        >>> abs(found.value - 0.5) < 4 * found.standard_error
        True

    References:
        Jiang et al., Fantastic generalization measures and where to find them, arXiv 1912.02178. We differ: a threshold
        on the loss, no offset in the magnitude-aware scale, pairs of perturbations.
    """
    if not (math.isfinite(rise) and rise > 0):
        raise ValueError(f"rise must be a finite number > 0, got {rise!r}; 0.1 is the default")
    if not 0 < tol < 1:
        raise ValueError(f"tol must be a number in (0, 1), got {tol!r}; 0.01 is the default")
    check_whole("samples", samples, 2, "one pair has no standard error")
    scale = scale_named(adaptive)
    base = objective.loss()
    move = perturbation(objective, scale)
    seen: dict[float, Tensor] = {}

    def exceeds(sigma: float) -> bool:
        seen[sigma] = average_rises(objective, move, [sigma], samples, seed, base, progress)[0]
        return not float(seen[sigma].mean()) <= rise  # True for what is not finite

    low, high, tries = crossing(exceeds, START, tol, MAX_TRIES) if math.isfinite(base) else (0.0, math.inf, 0)
    is_bracketed = low > 0 and math.isfinite(high)
    value, error = _between(seen[low], seen[high], low, high, rise) if is_bracketed else (math.nan, math.nan)
    unbracketed = Status.NO_BRACKET if math.isfinite(base) else Status.NOT_FINITE
    return PACBayesSigma(
        value=value,
        standard_error=error,
        low=low,
        high=high,
        rise=float(rise),
        adaptive=scale != "none",
        scale=scale,
        base_loss=base,
        num_samples=samples,
        num_losses=1 + 2 * samples * tries,
        seed=seed,
        status=Status.CONVERGED if is_bracketed else unbracketed,
    )


def _between(lower: Tensor, upper: Tensor, low: float, high: float, rise: float) -> tuple[float, float]:
    """Return where the straight line between two mean rises meets the threshold, and its standard error."""
    below, above = float(lower.mean()), float(upper.mean())
    if not math.isfinite(above):
        return low, math.nan  # the loss leaves the numbers here: no slope
    slope = (above - below) / (high - low)
    share = (rise - below) / (above - below)
    return low + share * (high - low), standard_error(torch.lerp(lower, upper, share)) / slope
