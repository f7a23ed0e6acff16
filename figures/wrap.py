"""Room for many methods: from `MANY` on panels stand in several rows, figures are wide, and a legend has several lines.

Up to four methods, those of a study without controls, stay in one row. Right when with ten methods no text lies over
another and none leaves the figure (`tests/figures/test_wrap.py`). Cost: a millisecond for each text that is measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from figures.style import sizes

MOST_IN_ROW = 5  # panels; a sixth would be narrower than its title
MANY = MOST_IN_ROW + 1  # methods, from which on a figure of one panel is wide
LEGEND_LINE = 0.2  # inches


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


def broken(text: str, inches: float, size: float | None = None) -> str:
    r"""Return a text in as few lines as fit a width, broken at its spaces into lines as even as can be.

    Args:
        text: Without line breaks; no formula in it has a space.
        inches: That a line may take; a longer word keeps its length.
        size: Of the text in points; None is that of titles and labels.

    Example:
        >>> broken("multiple of the direction", 1.0)
        'multiple of\nthe direction'
    """
    words = text.split(" ")
    for count in range(1, len(words) + 1):
        ways = [
            [" ".join(words[start:end]) for start, end in itertools.pairwise((0, *cuts, len(words)))]
            for cuts in itertools.combinations(range(1, len(words)), count - 1)
        ]
        width, lines = min((max(_inches(line, size or sizes().text) for line in lines), lines) for lines in ways)
        if width <= inches:
            break
    return "\n".join(lines)


def legend_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend above all panels; each further line of it makes the figure higher, so that no panel pays for it.

    Args:
        figure: As high as it is with one line.
        handles: Of the entries.
        labels: Their texts.
    """
    width, height = figure.get_size_inches()
    columns = legend_columns(labels, width)
    figure.set_figheight(height + LEGEND_LINE * (-(-len(labels) // columns) - 1))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def share_rows(blocks: Sequence[Any]) -> None:
    """Give the panels of a row one vertical axis in all blocks, told at the left of each; before anything is drawn.

    Args:
        blocks: Panels [row, column] of each, as many rows in all; none of them shares a vertical axis yet.
    """
    for row in zip(*blocks, strict=True):
        panels = [ax for block in row for ax in block]
        for ax in panels[1:]:
            ax.sharey(panels[0])
    for block in blocks:
        for ax in block[:, 1:].ravel():
            ax.tick_params(labelleft=False)
            ax.yaxis.offsetText.set_visible(False)


def hide_empty(blocks: Sequence[Any]) -> None:
    """Hide the panels in which nothing was drawn, as at the end of a last block that is not full.

    Args:
        blocks: Panels of each, in any shape.
    """
    for ax in (ax for block in blocks for ax in block.ravel() if not ax.has_data()):
        ax.set_axis_off()


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return into how many columns a legend fits, its lines as even as can be.

    Args:
        labels: Of the entries, at least one.
        width: Of the figure, in inches.
    """
    text = sizes().small
    # handle, space behind it, and space between columns, as matplotlib lays them out
    widths = [_inches(label, text) + (2.0 + 0.8 + 2.0) * text / 72 for label in labels]
    for columns in range(len(labels), 1, -1):
        # entries run down the columns
        needed = sum(float(part.max()) for part in np.array_split(np.array(widths), columns))
        if needed <= width:
            return grid_shape(len(labels), columns)[1]
    return 1


def _inches(text: str, size: float) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), "$" in text)
    return float(width) / 72
