"""How points are evaluated: samples in a batch, order of memory, points together; chosen by a short measured trial.

None of it changes a number beyond rounding; which is fastest depends on network, data and machine (a ResNet-20 on
CIFAR-10 images takes 1.7 times as long in one batch of 512 as in eight of 64 on a CPU: `benchmarks/surface.py`).
Right when a made-up clock leads to its fastest plan, and data that cannot be cut or a loss that is no sum over samples
keep their batches (`tests/analysis/surface/test_plan.py`). Cost: at most 2 percent of the time the scan would take
without, and the candidate being tried when that is spent; nothing where the whole scan is a matter of seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from analysis.batches import tensors_of
from analysis.cutting import batch_length, cut, rebuilt

AUTO, GIVEN = "auto", "given"
# Seconds a scan must promise to take before a trial begins: below, the time saved is not worth other last digits.
WORTH_A_TRIAL = 10.0
BUDGET = 0.02  # of the time the scan would take as the data were given
FASTER = 0.97  # a candidate must take at most this part of the best so far, or noise would decide
PROBE = 1024  # samples timed, our choice: more than the best batch of any network at hand
SMALLEST, MOST_STACKED = 8, 64


@dataclass(frozen=True)
class Plan:
    """How points are evaluated.

    Args:
        batch_size: Samples in a batch, the last one shorter; 0 leaves the batches as they were given.
        channels_last: Whether images [B, C, H, W] and the weights of their convolutions lie with channels last.
        stacked: Points evaluated together, by `torch.vmap` over their weights.

    Raises:
        ValueError: A number out of range.
    """

    batch_size: int = 0
    channels_last: bool = False
    stacked: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 0 or self.stacked < 1:
            raise ValueError(
                f"a plan needs batch_size >= 0 (0: as given) and stacked >= 1, got {self.batch_size} and {self.stacked}"
            )

    def arranged(self, batches: Sequence[Any]) -> list[Any]:
        """Return batches cut and laid out as the plan says; views where nothing had to move.

        Args:
            batches: All of the data.

        Raises:
            ValueError: A batch size, for batches that cannot be put together and cut along their samples.
        """
        arranged = list(batches) if self.batch_size == 0 else _cut_anew(batches, self.batch_size)
        return [_channels_last(batch) for batch in arranged] if self.channels_last else arranged


# From a plan and how many of the first samples, to seconds for each point and the sum of the losses.
Timer = Callable[[Plan, int], tuple[float, float]]


def checked(plan: Plan | str) -> Plan | str:
    """Return the plan asked for.

    Args:
        plan: A plan, "auto" or "given".

    Raises:
        ValueError: Anything else.
    """
    if isinstance(plan, Plan) or plan in (AUTO, GIVEN):
        return plan
    raise ValueError(f"plan must be 'auto', 'given' or an analysis.Plan, got {plan!r}; 'given' repeats to the last bit")


def fastest(batches: Sequence[Any], num_points: int, tolerance: float, timed: Timer, worth: float = 0.0) -> Plan:
    """Try the order of memory, batch sizes, then points together, and return the fastest plan that agrees.

    Args:
        batches: All of the data.
        num_points: There are to evaluate.
        tolerance: Relative difference to the loss as given that is rounding; a candidate beyond it is dropped.
        timed: Runs the first samples under a plan.
        worth: Seconds that all points must take, or the data stay as given; the first pass of a process alone is no
            guide to that.

    Returns:
        The plan.
    """
    try:
        lengths = [batch_length(batch, "a batch size") for batch in batches]
    except ValueError:
        return Plan()
    whole = sum(lengths)
    samples = min(whole, max(PROBE, lengths[0]))
    timed(Plan(), samples)  # what is slow only once
    seconds, loss = timed(Plan(), samples)
    expected = seconds * num_points * whole / samples
    if expected < worth:
        return Plan()
    trial = _Trial(timed, Plan(), seconds, loss, samples, tolerance, BUDGET * expected)
    trial.improves(channels_last=True)  # first: which size is best depends on it
    for factor in (0.5, 2.0):
        size, misses = _power_of_two(lengths[0]), 0
        while misses < 2 and SMALLEST <= (size := int(size * factor)) <= samples:
            misses = 0 if trial.improves(batch_size=size) else misses + 1
        if trial.best.batch_size:
            break  # smaller ones are faster, so larger ones are not
    trial.improves(channels_last=not trial.best.channels_last)
    trial.narrow(trial.best.batch_size or lengths[0])
    stacked = 1
    while (stacked := 2 * stacked) <= min(MOST_STACKED, num_points) and trial.improves(stacked=stacked):
        pass
    return trial.best


class _Trial:
    """The best plan so far, and the time that is left to look for a better one."""

    def __init__(
        self, timed: Timer, best: Plan, seconds: float, loss: float, samples: int, tolerance: float, budget: float
    ) -> None:
        self._timed, self._samples, self._tolerance, self._left = timed, samples, tolerance, budget
        self.best, self._seconds, self._loss = best, seconds, loss

    def improves(self, **change: Any) -> bool:
        """Try a change of the best plan, keep it if it is faster, and say so."""
        if self._left <= 0:
            return False
        plan = replace(self.best, **change)
        seconds = self._run(plan)
        if seconds < 1.1 * self._seconds:  # the first run paid for what is slow only once
            seconds = min(seconds, self._run(plan))
        if not seconds < FASTER * self._seconds:
            return False
        self.best, self._seconds = plan, seconds
        return True

    def narrow(self, samples: int) -> None:
        """Go on with fewer samples: one batch says enough, and points together may be slow."""
        self._samples = min(samples, self._samples)
        self._seconds, self._loss = self._timed(self.best, self._samples)
        self._left -= self._seconds

    def _run(self, plan: Plan) -> float:
        try:
            seconds, loss = self._timed(plan, self._samples)
        except (RuntimeError, ValueError, TypeError, NotImplementedError):  # vmap, memory, batches that do not fit
            return math.inf
        self._left -= seconds * plan.stacked
        agrees = loss == self._loss or abs(loss - self._loss) <= self._tolerance * abs(self._loss)
        return seconds if agrees else math.inf


def first_samples(batches: Sequence[Any], number: int) -> list[Any]:
    """Return the first batches that hold a number of samples, the last one cut.

    Args:
        batches: All of the data.
        number: Of samples; fewer where there are fewer.
    """
    found: list[Any] = []
    for batch in batches:
        length = batch_length(batch, "a trial")
        found.append(batch if length <= number else cut(batch, 0, number))
        number -= length
        if number <= 0:
            break
    return found


def _cut_anew(batches: Sequence[Any], size: int) -> list[Any]:
    lengths = [batch_length(batch, "a batch size") for batch in batches]
    columns = list(zip(*(tuple(tensors_of(batch)) for batch in batches), strict=True))
    if any(len({tensor.shape[1:] for tensor in column}) > 1 for column in columns):
        raise ValueError("batches of samples of different shapes cannot be put together; leave them as given")
    whole = rebuilt(batches[0], iter([torch.cat(column) for column in columns]))
    return [cut(whole, start, start + size) for start in range(0, sum(lengths), size)]


def _channels_last(batch: Any) -> Any:
    return rebuilt(batch, iter([channels_last(tensor) for tensor in tensors_of(batch)]))


def channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor [B, C, H, W] of floats with its channels last in memory; any other as it is.

    Args:
        tensor: Images, or the weights of a convolution.
    """
    if tensor.ndim != 4 or not tensor.is_floating_point():
        return tensor
    found = tensor.contiguous(memory_format=torch.channels_last)
    # of one channel or one pixel the memory is the same in both orders, and `contiguous` leaves the strides that
    # convolutions choose their kernel by: 2.5 times as long for a network of gray images on a CPU
    _, channels, height, width = found.shape
    return found.as_strided(found.shape, (channels * height * width, 1, width * channels, channels))


def _power_of_two(length: int) -> int:
    return 1 << (length - 1).bit_length()
