"""The axis of relative effects: factors on a logarithmic scale, on which every effect can be seen.

Right when each effect lies between the ends (`tests/figures/test_claims.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

USUAL = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FARTHEST = 3  # powers of ten; an effect beyond is an arrow at the edge


def factor_ticks(effects: Iterable[float]) -> tuple[float, ...]:
    """Return the ticks of an axis of factors; the first and the last are its ends.

    An axis reaches from 0.1 to 10: beyond, an interval says no more than that it is wide. Where an effect itself lies
    beyond, the axis goes on to the next power of ten, and has its ticks at these.

    Args:
        effects: Factors; those of 0 or less have no place on the axis.

    Example:
        >>> factor_ticks([0.5, 3.0])
        (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
        >>> factor_ticks([0.04, 3.0])
        (0.01, 0.1, 1.0, 10.0)
    """
    powers = [math.log10(effect) for effect in effects if effect > 0]
    low = max(min([-1, *map(math.floor, powers)]), -FARTHEST)
    high = min(max([1, *map(math.ceil, powers)]), FARTHEST)
    return USUAL if (low, high) == (-1, 1) else tuple(10.0**power for power in range(low, high + 1))
