"""Watch a run of `landscape train` with a probe, on a fixed choice of its training images, in a file beside the run.

Right when a run ends in the same bits with and without it, and a stopped run goes on with its record
(`tests/landscape/measuring/test_probing.py`). Cost: that of `analysis.Probe`, within the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch

from analysis import Objective, Probe, Schedule
from analysis.checks import check_whole
from analysis.probe.budget import check_share
from analysis.probe.quantities import QUANTITIES, check_quantities
from analysis.probe.schedule import from_text
from gcsam.training import Moment, Split
from landscape.network.opening import BATCH_NUMBERS, MAX_BATCH


@dataclass(frozen=True)
class ProbeWish:
    """What the command line says about a probe, checked.

    Args:
        schedule: When to measure.
        budget: Largest share of the training time.
        samples: Training images to measure on.
        of: What to measure beside the loss, some of `QUANTITIES`.
    """

    schedule: Schedule
    budget: float
    samples: int
    of: tuple[str, ...] = tuple(QUANTITIES)


def wish(schedule: str, budget: float, samples: int, of: Sequence[str] = tuple(QUANTITIES)) -> ProbeWish:
    """Check what was given.

    Args:
        schedule: As `analysis.probe.schedule.from_text` reads it.
        budget: As for `ProbeWish`.
        samples: As for `ProbeWish`.
        of: As for `ProbeWish`.

    Returns:
        The wish.

    Raises:
        ValueError: One of them is out of range.
    """
    check_whole("--probe-samples", samples, 2, "the noise is a scatter over samples")
    return ProbeWish(from_text(schedule), check_share(budget), samples, check_quantities(of))


class Watching:
    """An observer of a training: a probe that begins, or goes on, with the first step it sees.

    Args:
        wanted: What to do.
        train: The training images, on any device.
        path: Where to write.
    """

    def __init__(self, wanted: ProbeWish, train: Split, path: Path) -> None:
        self._wanted, self._train, self._path = wanted, train, path
        self._probe: Probe | None = None

    def __call__(self, moment: Moment) -> None:
        """Measure, if it is time.

        Args:
            moment: The training between two steps.
        """
        if self._probe is None:
            self._probe = self._begin(moment)
            return
        self._probe.step(epoch=moment.epoch)
        if moment.ends_epoch:
            self._probe.end_epoch(moment.epoch)

    def __enter__(self) -> Watching:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._probe is not None:
            self._probe.close()

    def _begin(self, moment: Moment) -> Probe:
        device = next(moment.model.parameters()).device
        batch_size = min(max(BATCH_NUMBERS // self._train.images[0].numel(), 1), MAX_BATCH)
        batches = self._train.to(device).all_batches(batch_size, self._wanted.samples)
        return Probe(
            Objective(moment.model, torch.nn.CrossEntropyLoss(), batches),
            self._path,
            optimizer=moment.optimizer,
            quantities=self._wanted.of,
            schedule=self._wanted.schedule,
            budget=self._wanted.budget,
            start=moment.step,
        )
