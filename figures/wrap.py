"""Room for many methods: from `MANY` on panels stand in several rows, figures are wide, and a legend has several lines.

Up to four methods, those of a study without controls, stay in one row. Right when with ten methods no text lies over
another and none leaves the figure (`tests/figures/test_wrap.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from figures.style import sizes

MOST_IN_ROW = 5  # panels; a sixth would be narrower than its title
MANY = MOST_IN_ROW + 1  # methods, from which on a figure of one panel is wide


def grid_shape(count: int, most: int = MOST_IN_ROW) -> tuple[int, int]:
    """Return the number of rows and columns for panels, as even as can be: six are 2 x 3, not five and one.

    Args:
        count: Of panels, at least 1.
        most: In a row.

    Example:
        >>> grid_shape(4), grid_shape(6), grid_shape(10)
        ((1, 4), (2, 3), (2, 5))
    """
    rows = -(-count // most)
    return rows, -(-count // rows)


def parts_of(figure: Figure, down: int) -> list[Any]:
    """Return what blocks of panels below one another are drawn in; the first is higher, by the legend it has.

    Args:
        figure: Empty.
        down: Number of blocks; a single one is the figure itself.
    """
    if down == 1:
        return [figure]
    return list(figure.subfigures(down, 1, squeeze=False, height_ratios=[1.1] + (down - 1) * [1])[:, 0])


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return into how many columns a legend fits, its lines as even as can be.

    Args:
        labels: Of the entries, at least one.
        width: Of the figure, in inches.
    """
    text = sizes().small
    # handle, space behind it, and space between columns, as matplotlib lays them out
    widths = [TextPath((0, 0), label, size=text).get_extents().width + (2.0 + 0.8 + 2.0) * text for label in labels]
    for columns in range(len(labels), 1, -1):
        # entries run down the columns
        needed = sum(float(part.max()) for part in np.array_split(np.array(widths), columns))
        if needed <= 72 * width:
            return grid_shape(len(labels), columns)[1]
    return 1
