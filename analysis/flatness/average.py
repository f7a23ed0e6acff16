"""Average-case sharpness: the mean rise of the loss under Gaussian perturbations of the weights.

Right when a quadratic gives rho^2 tr(H) / 2 within its standard error, and that standard error is right over many
seeds (`tests/analysis/flatness/test_average.py`). Cost: two losses for each sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from analysis.objective import Objective
from analysis.surface.evaluate import repeated_loss


def average_rises(
    objective: Objective,
    scale: Tensor | float,
    samples: int,
    seed: int,
    base_loss: float,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return independent samples whose mean is E L(w + scale z) - L(w), z standard normal, [samples], float64.

    A sample is the mean over the pair z, -z: what is odd in z, the gradient above all, cancels in each pair. Pairs are
    independent of each other, so the standard error over pairs is honest. They are drawn one after the other on the
    CPU: two checkpoints of one architecture see the same z, and more samples begin with the same ones.

    Args:
        objective: Whose loss.
        scale: Of each weight's perturbation: a number or [D], on the objective's device.
        samples: Number of pairs.
        seed: Of the perturbations.
        base_loss: L(w).
        progress: Called as progress(done, total).
    """
    generator = torch.Generator().manual_seed(seed)
    weights = objective.weights()
    rises = []
    with repeated_loss(objective) as loss:
        for done in range(1, samples + 1):
            # drawn in float32 whatever the dtype, so that a float64 objective sees the same perturbations
            perturbation = torch.randn(objective.num_parameters, generator=generator).to(weights) * scale
            pair = loss(weights + perturbation) + loss(weights - perturbation)
            rises.append(pair / 2 - base_loss)
            if progress is not None:
                progress(done, samples)
    return torch.tensor(rises, dtype=torch.float64)
