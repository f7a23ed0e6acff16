"""How much a report may cost, in gradients over all data or in seconds, and how much of it is left.

A budget in gradients is counted, so that the same is measured on every machine; one in seconds goes by the clock.

Right when what is left of either is what a moved clock and counted costs leave
(`tests/analysis/report/test_budget.py`). Cost: of the pace, four gradients.
"""

from __future__ import annotations

import math
import re
import statistics
import time
from dataclasses import dataclass

import torch

from analysis.objective import Objective

SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
NUM_TIMED = 3
# A gradient before those that are timed: the first one allocates, and checks that the loss repeats.
NUM_PACE = 1 + NUM_TIMED


@dataclass(frozen=True)
class Limit:
    """What may be spent.

    Attributes:
        gradients: Over all data; inf where the limit is none or one of time.
        seconds: inf where the limit is none or one of gradients.
    """

    gradients: float = math.inf
    seconds: float = math.inf


def parse(budget: float | str | None) -> Limit:
    """Return a budget as given by the user.

    Args:
        budget: None for no limit; a number of gradients over all data; or a time, "30 s", "5 min", "2 h".

    Raises:
        ValueError: It is none of these.

    Example:
        >>> parse("5 min")
        Limit(gradients=inf, seconds=300.0)
    """
    if budget is None:
        return Limit()
    if isinstance(budget, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|sec|min|h)\s*", budget)
        if found and float(found[1]) > 0:
            return Limit(seconds=float(found[1]) * SECONDS[found[2]])
    elif isinstance(budget, (int, float)) and not isinstance(budget, bool) and budget > 0:  # not NaN either
        return Limit(gradients=float(budget))
    raise ValueError(
        f"budget must be a time such as '30 s', '5 min' or '2 h', or a number > 0 of gradients over all data, "
        f"got {budget!r}; None sets no limit"
    )


def seconds_of_a_gradient(objective: Objective) -> float:
    """Time a gradient over all data, three times after one that is not timed.

    Args:
        objective: At its model's present weights.

    Returns:
        The median.
    """
    taken = []
    for _ in range(NUM_PACE):
        begun = now(objective)
        objective.gradient()
        taken.append(now(objective) - begun)
    return statistics.median(taken[-NUM_TIMED:])


def now(objective: Objective) -> float:
    """Return seconds of a clock, when all that was asked of the objective's device is done.

    Args:
        objective: Whose device.
    """
    if objective.device.type == "cuda":
        torch.cuda.synchronize(objective.device)
    return time.perf_counter()


class Purse:
    """What is left of a limit while it is spent.

    Args:
        limit: What may be spent in all.
        objective: Whose device the clock waits for.
    """

    def __init__(self, limit: Limit, objective: Objective) -> None:
        self._limit, self._objective = limit, objective
        self._begun = now(objective)
        self._spent = 0.0

    def spend(self, gradients: float) -> None:
        """Count a cost.

        Args:
            gradients: Over all data.
        """
        self._spent += gradients

    def left(self, pace: float) -> float:
        """Return what is left, in gradients; inf without a limit.

        Args:
            pace: Seconds that a gradient takes.
        """
        if math.isfinite(self._limit.seconds):
            return (self._limit.seconds - (now(self._objective) - self._begun)) / max(pace, 1e-9)
        return self._limit.gradients - self._spent
