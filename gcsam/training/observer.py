"""What a training shows to whoever watches it: a plain function called before the first step and after every one.

The training knows nothing of what is watched or how: an observer gets the network and the optimizer as they are, and
must leave them so. Right when it is called once for every step, in order, also after a stop, and never between the two
passes of a step (`tests/gcsam/training/test_observer.py`). Cost: that of the function; its time is no part of the
history's seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from gcsam.optimizer import GCSAM

__all__ = ["Moment", "Observer"]


@dataclass(frozen=True, eq=False)
class Moment:
    """A training between two steps.

    Args:
        step: Optimizer steps done since the beginning; 0 before the first.
        epoch: Whole epochs done.
        ends_epoch: Whether this step was the last of its epoch.
        model: The network, in train mode, with the gradients of the last pass.
        optimizer: With the learning rate of the step that was done, or of the first one that is to come.
    """

    step: int
    epoch: int
    ends_epoch: bool
    model: nn.Module
    optimizer: GCSAM


Observer = Callable[[Moment], None]
