"""One colour scale for several surfaces: linear or logarithmic, where it is cut, and how its colour bar is labelled.

Right when losses over many decades, within a per mille, below zero or all the same give a bar that can be read, and a
cut is said (`tests/figures/test_scale.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import (
    FixedLocator,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    ScalarFormatter,
    StrMethodFormatter,
)

from figures.reading import Array

CLIP_QUANTILE = 0.95  # one steep corner must not flatten everything else; the figure says where it is cut
# On a logarithmic scale a few cells near a minimum must not take most of the colours: those more than a decade below
# this share of all cells are drawn as one.
FLOOR_QUANTILE = 0.02
NUM_LEVELS = 24


@dataclass(frozen=True)
class Scale:
    """One colour scale for all planes: values outside `bottom` and `top` are drawn in the colours of the ends."""

    norm: Normalize
    levels: Array
    bottom: float
    top: float
    is_clipped: bool
    is_floored: bool = False

    @property
    def is_log(self) -> bool:
        """Whether the scale is logarithmic."""
        return isinstance(self.norm, LogNorm)

    @property
    def extend(self) -> str:
        """Which ends of the colour bar are open, as matplotlib names them."""
        return {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
            (self.is_floored, self.is_clipped), "neither"
        )


def common_scale(losses: Sequence[Array]) -> Scale:
    """Return a scale that shows all losses, cut at a high quantile of them all.

    Logarithmic if none is negative and the positive ones span more than a factor of 10 up to the cut; a loss of 0 is
    then below the bottom.

    Args:
        losses: Surfaces, NaN where there is no value.
    """
    values = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    low, high = float(values.min()), float(values.max())
    top = float(np.quantile(values, CLIP_QUANTILE))
    if not top > low:
        top = high if high > low else low + max(abs(low), 1.0) * 1e-6
    positive = values[values > 0]
    if low >= 0 and len(positive):
        bottom = max(float(positive.min()), float(np.quantile(positive, FLOOR_QUANTILE)) / 10)
        if top > 10 * bottom:
            levels = np.geomspace(bottom, top, NUM_LEVELS)
            return Scale(LogNorm(bottom, top), levels, bottom, top, high > top, low < bottom)
    return Scale(Normalize(low, top), np.linspace(low, top, NUM_LEVELS), low, top, high > top)


def within(values: Array, scale: Scale) -> Array:
    """Return values with those below the bottom raised to it, which a logarithm of 0 would make holes.

    Args:
        values: NaN stays NaN.
        scale: Of the picture.
    """
    return np.asarray(np.maximum(values, scale.bottom))


def scale_label(scale: Scale, quantity: str = "loss") -> str:
    """Return the label of the colour bar, which says where the scale is cut.

    Args:
        scale: Of the picture.
        quantity: What is drawn.
    """
    digits = 3
    if scale.top > scale.bottom and not scale.is_log:  # so many that the cut differs from the bottom
        digits = max(3, 2 + math.ceil(math.log10(max(abs(scale.top), abs(scale.bottom)) / (scale.top - scale.bottom))))
    cuts = [scale.bottom] * scale.is_floored + [scale.top] * scale.is_clipped
    texts = [_number(cut, digits) for cut in cuts]
    if not texts:
        return quantity
    return (
        f"{quantity}{' ' if len(texts) == 1 else chr(10)}(cut at {' and '.join(texts)})"  # two need a line of their own
    )


def label_bar(bar: Any, scale: Scale) -> None:
    """Put ticks on a colour bar at round numbers: decades, 1, 2 and 5 of each where they are few, or whole values.

    Args:
        bar: The colour bar.
        scale: Of the picture.
    """
    if scale.is_log:
        is_short = scale.top < 100 * scale.bottom
        bar.locator = LogLocator(subs=(1, 2, 5) if is_short else (1,))
        is_plain = is_short and scale.bottom >= 1e-3 and scale.top < 1e4
        bar.formatter = StrMethodFormatter("{x:g}") if is_plain else LogFormatterSciNotation(minor_thresholds=(9, 9))
    else:
        is_constant = scale.top - scale.bottom <= 2e-6 * max(abs(scale.bottom), 1.0) and not scale.is_clipped
        ticks = [scale.bottom] if is_constant else MaxNLocator(5).tick_values(scale.bottom, scale.top)
        bar.locator = FixedLocator([tick for tick in ticks if scale.bottom <= tick <= scale.top])
        bar.formatter = ScalarFormatter(useOffset=False)  # a sum over the bar is overlooked
    bar.minorticks_off()
    bar.update_ticks()


def _number(value: float, digits: int) -> str:
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return np.format_float_positional(float(f"{value:.{digits}g}"), trim="-")
