"""Where the loss is evaluated: exact coordinates, the order of the cells, and filling them.

Coordinates are the floats nearest to the exact decimals, so that a symmetric axis is symmetric and its middle is 0 and
not 1e-17. Cells are taken coarse to fine and shared among processes. Right when a quadratic comes back exactly in every
cell, and a stopped scan goes on where it was (`tests/analysis/surface/test_grid.py`, `test_scan.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import product
from numbers import Integral, Real
from typing import Any

from analysis.store import Cells
from analysis.surface.ranks import Ranks

Index = tuple[int, ...]
Progress = Callable[[int, int], None]
Extent = float | Sequence[Any]


def axes(extent: Extent, points: int | Sequence[int], count: int) -> list[list[float]]:
    """Return the coordinates along each direction.

    Args:
        extent: r > 0 for [-r, r], (low, high), or one such pair for each direction.
        points: At least 2, for all directions or for each.
        count: Number of directions.

    Returns:
        One increasing list for each direction, both ends included.

    Raises:
        ValueError: Not of these forms.

    Example:
        >>> axes(0.3, 3, 1), axes(((0, 1), (-1, 1)), (2, 4), 2)[0]
        ([[-0.3, 0.0, 0.3]], [0.0, 1.0])
    """
    pairs, counts = _intervals(extent, count), _counts(points, count)
    return [_axis(low, high, number) for (low, high), number in zip(pairs, counts, strict=True)]


def coarse_to_fine(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Return all cells, each sub-grid of stride 2^k before those between: a stopped scan can already be drawn.

    Args:
        shape: Number of points along each direction.

    Example:
        >>> [index for (index,) in coarse_to_fine((9,))]
        [0, 8, 4, 2, 6, 1, 3, 5, 7]
    """

    def stride(index: tuple[int, ...]) -> int:
        return min((i & -i) or 2**62 for i in index)  # the lowest set bit: the coarsest grid on which i lies

    return sorted(product(*(range(number) for number in shape)), key=stride, reverse=True)


def fill(
    shape: Sequence[int],
    cells: Cells,
    compute: Callable[[Sequence[Index]], Sequence[Mapping[str, Any]]],
    ranks: Ranks,
    progress: Progress | None = None,
    together: int = 1,
) -> None:
    """Compute every cell that is not done; cells are finished, NaN and inf too, before the next begin.

    Args:
        shape: Points along each direction.
        cells: Arrays to fill and the mask; on every process, of which the first one's are the file's.
        compute: From cells to the values of each by the names of the arrays.
        ranks: The processes that share the work.
        progress: Called as progress(done, total) after each round.
        together: Cells given to `compute` at once.
    """
    missing = [index for index in coarse_to_fine(shape) if not cells.done[index]]
    total = math.prod(shape)
    done = total - len(missing)
    for start in range(0, len(missing), together * ranks.size):
        turn = missing[start : start + together * ranks.size]
        mine = turn[ranks.rank * together : (ranks.rank + 1) * together]
        rows = [row for part in ranks.gathered(compute(mine) if mine else []) for row in part]
        for index, values in zip(turn, rows, strict=True):
            cells.finish(index, **values)
            done += 1
            if progress is not None:
                progress(done, total)


def _axis(low: float, high: float, points: int) -> list[float]:
    start, end = Fraction(repr(low)), Fraction(repr(high))
    return [float(start + (end - start) * Fraction(i, points - 1)) for i in range(points)]


def _intervals(extent: Extent, count: int) -> list[tuple[float, float]]:
    pairs: list[Any] = []
    if _is_number(extent):
        pairs = [(-float(extent), float(extent))] * count  # type: ignore[arg-type]
    elif _is_interval(extent):
        pairs = [extent] * count
    elif isinstance(extent, (tuple, list)) and len(extent) == count:
        pairs = list(extent)
    if pairs and all(_is_interval(pair) and -math.inf < pair[0] < pair[1] < math.inf for pair in pairs):
        return [(float(low), float(high)) for low, high in pairs]
    raise ValueError(
        f"extent must be a finite number > 0 or (low, high) with low < high"
        f"{', or a pair (low, high) for each of the two directions' if count == 2 else ''}, got {extent!r}; "
        "1.0 is the usual start with filter normalization"
    )


def _counts(points: int | Sequence[int], count: int) -> list[int]:
    found: list[Any] = list(points) if isinstance(points, (tuple, list)) else [points] * count
    if len(found) == count and all(_is_number(number, Integral) and number >= 2 for number in found):
        return [int(number) for number in found]
    raise ValueError(
        f"points must be a whole number >= 2{' or a pair of them' if count == 2 else ''}, got {points!r}; "
        "an odd number puts the origin on the grid"
    )


def _is_number(value: Any, kind: type = Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_interval(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_number, value))
