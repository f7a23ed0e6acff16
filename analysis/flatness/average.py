"""Average-case sharpness: the mean rise of the loss under Gaussian perturbations of the weights.

Right when a quadratic gives rho^2 tr(H) / 2 within its standard error, and that standard error is right over many
seeds (`tests/analysis/flatness/test_average.py`). Cost: two losses for each sample and rho.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from analysis.flatness.perturbation import Perturbation
from analysis.objective import Objective
from analysis.surface.evaluate import repeated_loss

MIN_PAIRS = 10  # our choice, as for `hessian_trace`: a standard error of fewer is itself a guess


def average_rises(
    objective: Objective,
    move: Perturbation,
    rhos: Sequence[float],
    samples: int,
    seed: int,
    base_loss: float,
    progress: Callable[[int, int], None] | None = None,
    tol: float | None = None,
) -> Tensor:
    """Return samples whose mean is E L(w + rho A z) - L(w), z standard normal, for each rho, [rho, samples], float64.

    A sample is the mean over the pair z, -z: what is odd in z, the gradient above all, cancels in each pair. Pairs are
    independent of each other, so the standard error over pairs is honest. They are drawn one after the other on the
    CPU, the same at every rho: two checkpoints of one architecture see the same z, and more samples begin with the
    same ones.

    Args:
        objective: Whose loss.
        move: A, from z to the perturbation at rho = 1.
        rhos: What that is multiplied by.
        samples: Number of pairs.
        seed: Of the perturbations.
        base_loss: L(w).
        progress: Called as progress(done, total).
        tol: Stop once every mean has a standard error of at most tol * |mean|, after no fewer than `MIN_PAIRS` pairs;
            None draws them all.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = objective.weights()
    rises: list[list[float]] = [[] for _ in rhos]
    with repeated_loss(objective) as loss:
        for done in range(1, samples + 1):
            # drawn in float32 whatever the dtype, so that a float64 objective sees the same perturbations
            unit = move.of(torch.randn(objective.num_parameters, generator=generator).to(weights))
            for rho, row in zip(rhos, rises, strict=True):
                pair = loss(weights + rho * unit) + loss(weights - rho * unit)
                row.append(pair / 2 - base_loss)
            if progress is not None:
                progress(done, samples)
            if (
                tol is not None
                and done >= MIN_PAIRS
                and all(meets(torch.tensor(row, dtype=torch.float64), tol) for row in rises)
            ):
                break
    return torch.tensor(rises, dtype=torch.float64)


def standard_error(samples: Tensor) -> float:
    """Return the standard error of the mean of independent samples [n]; NaN for a single one.

    Args:
        samples: [n].
    """
    return float(samples.std() / math.sqrt(len(samples))) if len(samples) > 1 else math.nan


def meets(samples: Tensor, tol: float) -> bool:
    """Return whether the standard error of the mean of samples [n] is at most tol * |mean|.

    Args:
        samples: [n], n >= 2.
        tol: Relative.
    """
    return standard_error(samples) <= tol * abs(float(samples.mean()))
