"""How smooth a training was: spikes of the loss, and how much a curve goes up and down on its way.

Neither number changes when the loss is multiplied by a positive number or shifted, so that runs at different depths can
be compared. Right when curves with a known number of spikes and turns give it
(`tests/analysis/claims/test_smoothness.py`). Costs a sort per step of a window of the losses; needs no torch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

# Steps that a loss is compared with. Our choice: enough for a median and a deviation that a few outliers do not move,
# and short beside a training, so that the fall of the loss does not pass for its spread.
WINDOW = 50
# Robust standard deviations above the median from which on a loss is a spike. Our choice: Davies and Gather take 3,
# which skewed batch losses exceed every few hundred steps; a normal number exceeds 5 once in three million.
DEVIATIONS = 5.0
# Of a normal distribution: standard deviation over median absolute deviation.
NORMAL = 1.4826


def loss_spikes(losses: Array, *, window: int = WINDOW, deviations: float = DEVIATIONS) -> float:
    """Return the share of steps whose loss stands out above those before it.

    A step counts if its loss exceeds the median of the `window` steps before it by more than `deviations` times their
    median absolute deviation, brought to the scale of a standard deviation: the Hampel identifier, upper side only, on
    a trailing window. A share and not a count, because runs that are compared may differ in steps.

    Args:
        losses: Of each step [step], in order.
        window: Steps before the one that is judged, at least 2.
        deviations: > 0.

    Returns:
        In [0, 1], over the steps that have a whole window before them; NaN where there is none, or a loss is not
        finite.

    Raises:
        ValueError: window or deviations out of range.

    Example:
        >>> quiet = np.tile([1.0, 1.1], 50)
        >>> spiked = quiet.copy()
        >>> spiked[60] = 3.0
        >>> loss_spikes(quiet), loss_spikes(spiked)
        (0.0, 0.02)

    References:
        Hampel, J. Am. Stat. Assoc. 69 (1974); Davies and Gather, J. Am. Stat. Assoc. 88 (1993).
    """
    if not isinstance(window, int) or window < 2:
        raise ValueError(f"window must be a whole number >= 2, got {window!r}; {WINDOW} is the usual one")
    if not 0 < deviations < math.inf:
        raise ValueError(f"deviations must be a finite number > 0, got {deviations!r}; {DEVIATIONS:g} is the usual one")
    if len(losses) <= window or not np.isfinite(losses).all():
        return math.nan
    before = np.lib.stride_tricks.sliding_window_view(losses, window)[:-1]  # [step, window]
    median = np.median(before, axis=1)
    spread = NORMAL * np.median(np.abs(before - median[:, None]), axis=1)
    return float((losses[window:] > median + deviations * spread).mean())


def curve_roughness(curve: Array) -> float:
    """Return the way a curve goes, up and down, over its range: its total variation, free of scale.

    A curve that only falls, or only rises, has 1, however steep; each detour adds twice its height. A curve that falls
    and then rises again, as a validation loss that overfits, has up to 2 without any noise.

    Args:
        curve: Values in order [point], such as the validation loss of each epoch.

    Returns:
        At least 1; NaN for fewer than three values, a constant curve, or a value that is not finite.

    Example:
        >>> curve_roughness(np.array([4.0, 2.0, 1.0])), curve_roughness(np.array([4.0, 2.0, 3.0, 1.0]))
        (1.0, 1.6666666666666667)
    """
    if len(curve) < 3 or not np.isfinite(curve).all() or np.ptp(curve) == 0:
        return math.nan
    return float(np.abs(np.diff(curve)).sum() / np.ptp(curve))
