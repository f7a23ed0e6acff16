"""The covariance of per-sample gradients as an operator, by the fastest way that is right for the model at hand.

`GradientCovariance` takes a product in about one and a third gradients, but needs a loss that is computed from one
output of the model, with the samples along its first axis. Any other loss that is a sum over samples goes through the
per-sample gradients again for each product.

Proved right by dense matrices of explicit gradients, for losses of both kinds (`tests/analysis/noise/test_sampled.py`).
Cost: one product to choose; then that of `GradientCovariance`, or 1.3 to 3 gradients for each product by vmap.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from analysis.noise.deviations import Deviations
from analysis.operators.products import GradientCovariance

# How far v^T Sigma v may be from what the deviations themselves say. Generous, our choice: rounding is a hundredth of
# it in float32, a loss of which another part belongs to each output is further off.
AGREEMENT = 1e-2


class SampledCovariance:
    """Sigma from the deviations of `Deviations`, at the weights of that time.

    Args:
        deviations: Whose covariance.
    """

    method = "per_sample_gradients"

    def __init__(self, deviations: Deviations) -> None:
        self._deviations = deviations
        self.objective = deviations.objective
        self.num_parameters = self.objective.num_parameters
        self.device, self.dtype = self.objective.device, self.objective.dtype

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D].

        Args:
            vector: [D].
        """
        return self._deviations.product(vector)

    def release(self) -> None:
        """Do nothing: no graph is kept."""


def covariance_operator(deviations: Deviations, probe: Tensor) -> Any:
    """Return `GradientCovariance` where it does what the deviations say it should, else `SampledCovariance`.

    Args:
        deviations: Whose covariance, made with the same probe.
        probe: v, [D], random.
    """
    fast = GradientCovariance(deviations.objective)
    expected = float(deviations.along.square().sum()) / (deviations.num_samples - 1)
    try:
        found = float((probe * fast.hvp(probe)).sum(dtype=torch.float64))
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError):  # what the loss or the model lack for it; the other way needs neither
        found = torch.nan
    if abs(found - expected) <= AGREEMENT * expected:
        return fast
    fast.release()
    return SampledCovariance(deviations)
