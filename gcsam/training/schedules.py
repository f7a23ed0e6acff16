"""The learning rate of every step, as a function of the step: nothing to store, nothing to resume.

Right when each schedule has its closed form, and one-cycle is that of torch (`tests/gcsam/training/test_schedules.py`).
Cost: none.
"""

from __future__ import annotations

import math

__all__ = ["SCHEDULES", "learning_rate"]

SCHEDULES = ("constant", "cosine", "onecycle")

# Of torch.optim.lr_scheduler.OneCycleLR: share of the steps that rise, lr / first rate, first rate / last rate.
_RISING, _START, _END = 0.3, 25.0, 1e4


def learning_rate(schedule: str, lr: float, step: int, total_steps: int) -> float:
    """Return the learning rate of one step.

    Args:
        schedule: "constant"; "cosine", lr * (1 + cos(pi * step / total_steps)) / 2, above 0 at every step (Loshchilov
            and Hutter, arXiv 1608.03983); "onecycle", from lr / 25 up to lr in the first 30% of the steps and down to
            lr / 250,000 in the others, along half waves of a cosine (Smith and Topin, arXiv 1708.07120, with the
            defaults of torch; the momentum stays).
        lr: The largest rate.
        step: From 0.
        total_steps: Of the whole run.

    Returns:
        The rate.

    Example:
        >>> [round(learning_rate("cosine", 1.0, step, 4), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    if schedule == "constant":
        return lr
    if schedule == "cosine":
        return _half_wave(lr, 0.0, step / total_steps)
    top, last = _RISING * total_steps - 1, total_steps - 1
    if step <= top:
        return _half_wave(lr / _START, lr, step / top)
    return _half_wave(lr, lr / _START / _END, (step - top) / (last - top))


def _half_wave(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
