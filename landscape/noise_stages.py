"""The measurements of `landscape noise` beside the noise itself: each a stage, with what is said about it.

Right when each is stored under its name with its settings (`tests/landscape/test_noise_command.py`). Costs: those of
the measuring functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from landscape.stages import Progress, Stage

if TYPE_CHECKING:
    from analysis import Objective, Result


def minibatch(batch_sizes: Sequence[int], *, seed: int = 0) -> Stage:
    """Return the stage for the agreement of mini-batches.

    Args:
        batch_sizes: Of the batches that are compared.
        seed: Of batches and directions.
    """

    def compute(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import minibatch_noise

        return minibatch_noise(objective, batch_sizes, seed=seed, progress=progress)

    settings = {"batch_sizes": list(batch_sizes), "seed": seed}
    return Stage("noise", "minibatch", "agreement of batches", settings, compute)


def tails(*, seed: int = 0) -> Stage:
    """Return the stage for the tails of the noise.

    Args:
        seed: Of directions and resampling.
    """

    def compute(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import gradient_tails

        return gradient_tails(objective, seed=seed, progress=progress)

    return Stage("noise", "tails", "tails of the noise", {"seed": seed}, compute)


def weights(*, seed: int = 0) -> Stage:
    """Return the stage for the signal-to-noise ratio of every weight's gradient.

    Args:
        seed: Of the control's directions.
    """

    def compute(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import gradient_snr

        return gradient_snr(objective, seed=seed, progress=progress)

    return Stage("noise", "snr", "signal-to-noise ratio of every weight", {"seed": seed}, compute)


def spectrum(*, seed: int = 0) -> Stage:
    """Return the stage for the largest eigenvalues of Sigma and its alignment with the Hessian.

    Args:
        seed: Of starts, probes and samples.
    """

    def compute(objective: Objective, _: Any, progress: Progress) -> Result:
        from analysis import noise_covariance

        return noise_covariance(objective, seed=seed, progress=progress)

    return Stage("noise", "covariance", "noise beside curvature", {"seed": seed}, compute)
