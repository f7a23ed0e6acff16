"""The measurements of `landscape noise` beside the noise itself: each a stage, with what is said about it.

Right when each is stored under its name with its settings (`tests/landscape/commands/test_noise.py`). Costs: those of
the measuring functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from landscape.measuring.stages import Progress, Stage

if TYPE_CHECKING:
    from analysis import Objective, Result


def minibatch(batch_sizes: Sequence[int], *, seed: int = 0) -> Stage:
    """Return the stage for the agreement of mini-batches.

    Args:
        batch_sizes: Of the batches that are compared.
        seed: Of batches and directions.
    """
    return _stage("minibatch", "agreement of batches", "minibatch_noise", seed, batch_sizes=list(batch_sizes))


def tails(*, seed: int = 0) -> Stage:
    """Return the stage for the tails of the noise.

    Args:
        seed: Of directions and resampling.
    """
    return _stage("tails", "tails of the noise", "gradient_tails", seed)


def weights(*, seed: int = 0) -> Stage:
    """Return the stage for the signal-to-noise ratio of every weight's gradient.

    Args:
        seed: Of the control's directions.
    """
    return _stage("snr", "signal-to-noise ratio of every weight", "gradient_snr", seed)


def spectrum(*, seed: int = 0) -> Stage:
    """Return the stage for the largest eigenvalues of Sigma and its alignment with the Hessian.

    Args:
        seed: Of starts, probes and samples.
    """
    return _stage("covariance", "noise beside curvature", "noise_covariance", seed)


def _stage(name: str, title: str, function: str, seed: int, **settings: Any) -> Stage:
    """Return the stage that calls a public function of `analysis`, which is loaded when it runs."""

    def compute(objective: Objective, _: Any, progress: Progress) -> Result:
        import analysis

        found: Result = getattr(analysis, function)(objective, **settings, seed=seed, progress=progress)
        return found

    return Stage("noise", name, title, {**settings, "seed": seed}, compute)
