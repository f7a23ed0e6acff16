"""What callbacks of all trainers share: a probe that is made when training starts, and told what the trainer tells.

A trainer moves the network to its device and builds the optimizer after the callback was made, so the callback gets a
function that makes the objective. Right when both callbacks record what a direct measurement gives
(`tests/landscape/callbacks`). Cost: none of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from torch import nn

from analysis import Objective, Probe, ProbeRecord

MakeObjective = Callable[[Any], Objective]


class Watcher:
    """A probe to come.

    Args:
        objective: Called with the network, on its device, when training starts.
        path: Result file.
        **options: Further arguments of `analysis.Probe`: schedule, budget, quantities and so on.

    Raises:
        TypeError: An option that the callback sets itself.
    """

    def __init__(self, objective: MakeObjective, path: str | os.PathLike[str], **options: Any) -> None:
        taken = sorted({"optimizer", "start"} & options.keys())
        if taken:
            raise TypeError(f"{taken[0]} comes from the trainer; leave it out")
        self._make, self._path, self._options = objective, path, options
        self._probe: Probe | None = None
        self._rates: list[float] | None = None
        self._last = 0

    @property
    def record(self) -> ProbeRecord:
        """What was measured so far.

        Raises:
            RuntimeError: Training has not started.
        """
        if self._probe is None:
            raise RuntimeError("there is no record before training starts; it is made then")
        return self._probe.record

    def begin(self, network: nn.Module, optimizer: Any, start: int) -> None:
        """Make the probe.

        Args:
            network: Given to the function that makes the objective.
            optimizer: Read for learning rate and momentum; None is none.
            start: Steps done before, where the training goes on.
        """
        self._probe = Probe(self._make(network), self._path, optimizer=optimizer, start=start, **self._options)
        self._last = start

    def note_rates(self, optimizer: Any) -> None:
        """Keep the learning rates of the step that is about to be taken; trainers change them right after it.

        Args:
            optimizer: About to step.
        """
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]

    def step(self, step: int, epoch: float) -> None:
        """Tell the probe how many steps are done; a number it knows already is no step.

        Args:
            step: Optimizer steps.
            epoch: Epochs done, also in part.
        """
        if self._probe is not None and step > self._last:
            self._last = step
            self._probe.step(self._rates, step=step, epoch=epoch)

    def end_epoch(self, epoch: int) -> None:
        """Tell the probe that an epoch has ended.

        Args:
            epoch: Epochs done.
        """
        if self._probe is not None:
            self._probe.end_epoch(epoch, self._rates)

    def close(self) -> None:
        """Write what was left out since the last measurement."""
        if self._probe is not None:
            self._probe.close()
