"""When to measure during training: sets of optimizer steps, or of ends of epochs, as pure functions of their number.

Step 0 is the weights before training. The regular sets (`every`, `log_spaced`, `every_epoch`) hold it, because it is
the one measurement that cannot be made up for later; `at_steps` holds what it is given.

Right when each set is the one its docstring states, and a text gives back an equal set
(`tests/analysis/probe/test_schedule.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from analysis.checks import check_whole


@dataclass(frozen=True)
class Schedule:
    """A set of steps, and a set of epochs after which to measure.

    Args:
        text: Names it, in the form `from_text` reads; two schedules are equal when their texts are.
        at_step: Whether to measure after so many optimizer steps; 0 is before the first one.
        at_epoch: Whether to measure after so many whole epochs.
    """

    text: str
    at_step: Callable[[int], bool] = field(compare=False)
    at_epoch: Callable[[int], bool] = field(compare=False)


def every(steps: int) -> Schedule:
    """Return the set of 0, steps, 2 * steps, 3 * steps, ... optimizer steps.

    Args:
        steps: From one measurement to the next, >= 1.

    Raises:
        ValueError: It is no such number.

    Example:
        >>> [step for step in range(8) if every(3).at_step(step)]
        [0, 3, 6]
    """
    check_whole("steps", steps, 1, "1 measures after every step")
    return Schedule(f"every:{steps}", lambda step: step % steps == 0, _never)


def every_epoch(epochs: int = 1) -> Schedule:
    """Return the set of step 0, before training, and the ends of epoch epochs, 2 * epochs, 3 * epochs, ...

    Args:
        epochs: From one measurement to the next, >= 1.

    Raises:
        ValueError: It is no such number.

    Example:
        >>> [epoch for epoch in range(1, 7) if every_epoch(2).at_epoch(epoch)]
        [2, 4, 6]
    """
    check_whole("epochs", epochs, 1, "1 measures after every epoch")
    return Schedule(f"epochs:{epochs}", lambda step: step == 0, lambda epoch: epoch > 0 and epoch % epochs == 0)


def log_spaced(per_decade: int = 5) -> Schedule:
    """Return the set of step 0 and of every 10^(k / per_decade), k = 0, 1, 2, ..., rounded to the nearest step.

    Args:
        per_decade: Steps measured from one power of 10 up to the next, >= 1. 5 is our choice: 1, 2, 3, 4, 6, 10. Where
            they lie closer than 1 apart, near the beginning, they fall together.

    Raises:
        ValueError: It is no such number.

    Example:
        >>> [step for step in range(101) if log_spaced(5).at_step(step)]
        [0, 1, 2, 3, 4, 6, 10, 16, 25, 40, 63, 100]
    """
    check_whole("per_decade", per_decade, 1, "1 measures at the powers of 10")

    def at_step(step: int) -> bool:
        if step < 1:
            return step == 0
        k = 0
        while (reached := round(10 ** (k / per_decade))) < step:
            k += 1
        return reached == step

    return Schedule(f"log:{per_decade}", at_step, _never)


def at_steps(steps: Iterable[int]) -> Schedule:
    """Return the set of the given steps; 0, before training, only if it is among them.

    Args:
        steps: Whole numbers >= 0, at least one, in any order.

    Raises:
        ValueError: There are none, or one is no such number.

    Example:
        >>> [step for step in range(8) if at_steps([5, 2]).at_step(step)]
        [2, 5]
    """
    given = list(steps)
    for step in given:
        check_whole("every one of steps", step, 0, "0 is before training")
    if not given:
        raise ValueError("steps must hold at least one step, got none; every(100) measures regularly")
    chosen = frozenset(given)
    return Schedule("at:" + ",".join(map(str, sorted(chosen))), chosen.__contains__, _never)


def from_text(text: str) -> Schedule:
    """Return the schedule of a text, as a command line gives it and a record keeps it.

    Args:
        text: "every:N", "epochs:N", "log:N", or "at:N,N,...".

    Raises:
        ValueError: It is none of these.

    Example:
        >>> from_text("every:50") == every(50)
        True
    """
    kind, _, numbers = text.partition(":")
    parts = numbers.split(",")
    if kind in _KINDS and all(part.strip().isdecimal() for part in parts):
        values = [int(part) for part in parts]
        if kind == "at":
            return at_steps(values)
        if len(values) == 1:
            return _KINDS[kind](values[0])
    raise ValueError(
        f"a schedule must be every:N or log:N in steps, epochs:N, or at:N,N,..., got {text!r}; every:100 is usual"
    )


_KINDS: dict[str, Callable[..., Schedule]] = {
    "every": every,
    "epochs": every_epoch,
    "log": log_spaced,
    "at": at_steps,
}


def _never(number: int) -> bool:  # noqa: ARG001
    return False
