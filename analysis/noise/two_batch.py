"""The noise scale from squared gradient norms of two batch sizes, which training has at hand for nothing.

Where several processes or micro-batches make up one step, the gradient of a part and that of the whole step are both
there. Their squared norms differ by noise alone: E||g_B||^2 = ||G||^2 + tr(Sigma) / B. Two sizes, two unknowns.

Proved right by equality with `gradient_noise` where the parts are all samples one by one; by 2,000 resampled runs, for
values and standard errors; by two processes under DDP (`tests/analysis/noise/test_two_batch.py`). Cost: none.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.noise.results import MCCANDLISH, SQUARED

STEPS = "jackknife over steps"


@dataclasses.dataclass(frozen=True, eq=False)
class TwoBatchNoise(Result):
    """Noise and signal over the steps of a training, from batches of two sizes."""

    group: ClassVar[str] = "noise"
    trace: float = measured(units=SQUARED, description="tr(Sigma), unbiased", source=MCCANDLISH)
    trace_standard_error: float = measured(units=SQUARED, description="Of trace", source=STEPS)
    signal: float = measured(units=SQUARED, description="||G||^2, unbiased", source=MCCANDLISH)
    signal_standard_error: float = measured(units=SQUARED, description="Of signal", source=STEPS)
    noise_scale: float = measured(
        units="1", description="trace / signal; inf where signal <= 0, else 0 where trace <= 0", source=MCCANDLISH
    )
    noise_scale_standard_error: float = measured(units="1", description="Of noise_scale", source=STEPS)
    small_size: float = measured(units="1", description="Samples in a part of a step")
    big_size: float = measured(units="1", description="Samples in a whole step")
    num_steps: int = measured(units="1", description="Steps")
    status: Status = measured(description="How the measurement ended")


def two_batch_noise(small: Any, big: Any, small_size: float, big_size: float) -> TwoBatchNoise:
    """Estimate the noise scale from squared gradient norms of batches of two sizes, step by step.

    For each step trace = (small - big) / (1 / small_size - 1 / big_size) and signal = (big_size * big - small_size *
    small) / (big_size - small_size) are unbiased, whether or not the small batch is part of the big one. They are
    averaged over steps and then divided: the mean of the steps' ratios would be biased without limit.

    Both sizes are of mean gradients, and at the same weights. Under DDP with `from torch.distributed.algorithms.
    ddp_comm_hooks.default_hooks import allreduce_hook`, a rank's own norm is met before the ranks are averaged:

        def hook(group, bucket):
            local.append(bucket.buffer().square().sum())  # make `local` empty before each step
            return allreduce_hook(group, bucket)

    after `ddp.register_comm_hook(None, hook)`; when backward is done small is `sum(local)`, big is
    `sum(p.grad.square().sum() for p in ddp.parameters())`. Under gradient accumulation over k micro-batches, each loss
    divided by k, after the first and after the last backward:

        small.append(k**2 * sum(p.grad.square().sum() for p in model.parameters()))
        big.append(sum(p.grad.square().sum() for p in model.parameters()))

    Args:
        small: Squared norms [steps], or [steps, parts] where several parts of each step are known, which are averaged.
        big: Squared norms [steps] of the whole steps. Leave out steps that a GradScaler skipped.
        small_size: Samples (or tokens) in a part, > 0.
        big_size: Samples in a whole step, > small_size.

    Returns:
        TwoBatchNoise (frozen). trace, signal: means over steps; either can come out negative. noise_scale: their ratio,
        inf where signal <= 0, never negative. Standard errors take the steps as independent: a trend of the weights
        counts as scatter; NaN for a single step, and for the ratio where leaving out one step makes the signal <= 0.
        status: ZERO_SIGNAL where signal <= 0, NOT_FINITE where a norm is not, else COMPLETE.

    Raises:
        ValueError: No steps, arrays of different lengths, norms that are negative, or sizes that are not two.

    Example:
        >>> found = two_batch_noise([6.0, 4.0], [3.0, 2.0], 8, 32)  # 2.5 / (1/8 - 1/32), (32 * 2.5 - 8 * 5) / 24
        >>> f"{found.trace:.3f} {found.signal:.3f} {found.noise_scale:.1f}"
        '26.667 1.667 16.0'

    References:
        McCandlish et al., An empirical model of large-batch training, arXiv 1812.06162, appendix A.1. We differ:
        standard errors.
    """
    _check_sizes(small_size, big_size)
    parts, whole = _norms(small, "small"), _norms(big, "big")
    if whole.ndim != 1 or parts.ndim not in {1, 2} or len(parts) != len(whole) or parts.numel() == 0:
        raise ValueError(
            "small must be squared norms [steps] or [steps, parts] and big [steps], of the same steps, at least one, "
            f"got shapes {tuple(parts.shape)} and {tuple(whole.shape)}"
        )
    traces, signals = _moments(parts.reshape(len(parts), -1).mean(1), whole, small_size, big_size)
    trace, signal = float(traces.mean()), float(signals.mean())
    is_finite = math.isfinite(trace) and math.isfinite(signal)
    open_or_not = Status.ZERO_SIGNAL if signal <= 0 else Status.COMPLETE
    return TwoBatchNoise(
        trace=trace,
        trace_standard_error=_jackknife(_without_each(traces)),
        signal=signal,
        signal_standard_error=_jackknife(_without_each(signals)),
        noise_scale=_ratio(trace, signal),
        noise_scale_standard_error=_ratio_error(traces, signals),
        small_size=float(small_size),
        big_size=float(big_size),
        num_steps=len(whole),
        status=open_or_not if is_finite else Status.NOT_FINITE,
    )


class TwoBatchAverage:
    """The same while training goes on: exponential moving averages of trace and signal, and their ratio.

    Args:
        small_size: As for `two_batch_noise`.
        big_size: As for `two_batch_noise`.
        decay: Of the averages in a step, in [0, 1). 0.99 is our choice: a memory of 100 steps, because single steps
            scatter by several times their mean.

    Attributes:
        trace: tr(Sigma), averaged; NaN before the first step.
        signal: ||G||^2, averaged; NaN before the first step.
        num_steps: Steps that counted.

    Raises:
        ValueError: As `two_batch_noise`, or a decay out of range.

    Example:
        >>> average = TwoBatchAverage(8, 32, decay=0.5)
        >>> round(average.update(6.0, 3.0), 3), round(average.update(4.0, 2.0), 3)
        (16.0, 16.0)
    """

    def __init__(self, small_size: float, big_size: float, *, decay: float = 0.99) -> None:
        _check_sizes(small_size, big_size)
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be a number in [0, 1), got {decay!r}; 0.99 remembers about 100 steps")
        self._sizes, self._decay = (small_size, big_size), decay
        self.trace, self.signal = math.nan, math.nan
        self.num_steps = 0

    def update(self, small: float | Tensor, big: float | Tensor) -> float:
        """Take a step into account; one whose norms are not finite, as a GradScaler skips it, is left out.

        Args:
            small: Squared norm of a part of the step, or the mean over parts.
            big: Squared norm of the whole step.

        Returns:
            The noise scale, as from the property. Waits for the device where tensors are given.
        """
        trace, signal = _moments(float(small), float(big), *self._sizes)
        if math.isfinite(trace) and math.isfinite(signal):
            self.num_steps += 1
            # the weight of the first step in a mean whose weights sum to one: no start at zero to be corrected
            share = (1 - self._decay) / (1 - self._decay**self.num_steps)
            first = self.num_steps == 1
            self.trace = trace if first else self.trace + share * (trace - self.trace)
            self.signal = signal if first else self.signal + share * (signal - self.signal)
        return self.noise_scale

    @property
    def noise_scale(self) -> float:
        """The ratio trace / signal: inf where signal <= 0, 0 where trace <= 0, NaN before the first step."""
        return _ratio(self.trace, self.signal)


def _moments(small: Any, big: Any, small_size: float, big_size: float) -> tuple[Any, Any]:
    trace = (small - big) / (1 / small_size - 1 / big_size)
    signal = (big_size * big - small_size * small) / (big_size - small_size)
    return trace, signal


def _ratio(trace: float, signal: float) -> float:
    if signal <= 0:
        return math.inf
    return trace / signal if not trace <= 0 else 0.0


def _without_each(values: Tensor) -> Tensor:
    """Return the means that leave out one step each, [steps]; NaN for a single step."""
    return (values.sum() - values) / (len(values) - 1)


def _jackknife(means: Tensor) -> float:
    return math.sqrt((len(means) - 1) * float(means.var(correction=0)))


def _ratio_error(traces: Tensor, signals: Tensor) -> float:
    without = _without_each(signals)
    if not bool((without > 0).all()) or float(signals.mean()) <= 0:
        return math.nan
    return _jackknife(_without_each(traces) / without)


def _norms(values: Any, what: str) -> Tensor:
    norms = torch.as_tensor(values, dtype=torch.float64, device="cpu").detach()
    if bool((norms < 0).any()):
        raise ValueError(f"{what} must be squared norms, >= 0, got {float(norms.min()):g}; take no logarithms")
    return norms


def _check_sizes(small_size: float, big_size: float) -> None:
    if not (math.isfinite(big_size) and 0 < small_size < big_size):
        raise ValueError(
            f"small_size must be above 0 and below big_size, got {small_size!r} and {big_size!r}; with one micro-batch "
            "or one process in a step there is nothing to compare: use gradient_noise"
        )
