"""The loss along lines: with error bands, the losses and metrics of other splits, a panel below for each metric.

Right when what the artists hold is what the file holds, and lines of one name share their scale
(`tests/figures/test_line.py`). Cost: about a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.curves import Curve, draw_curves, is_log, stored_curves
from figures.panels import Column, Scale, in_rows, panel_grid
from figures.reading import Run
from figures.style import Look, in_order, look

# The split that the loss is measured on, then the others in the order of the file.
SPLITS = (
    Look("measured data", "#0072B2", "", "-"),
    Look("", "#D55E00", "", "--"),
    Look("", "#009E73", "", "-."),
    Look("", "#CC79A7", "", ":"),
)


def draw_line(ax: Axes, curves: Sequence[Curve], *, scale: Scale | None = None) -> None:
    """Draw one quantity along a line, with the trained weights at 0 marked by a thin vertical line.

    Args:
        ax: Where.
        curves: Of one quantity, one per split.
        scale: Of the vertical axis; None decides by the data.
    """
    ax.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    log, floor = scale or (is_log(curves), None)
    draw_curves(ax, curves, log=log, floor=floor)


def figure_lines(runs: Sequence[Run]) -> Figure | None:
    """Return the loss along all lines of one run, or along the lines of one name of every method's first seed.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    names = dict.fromkeys(key for run in runs for key in run.of_type("Line"))
    rows: list[list[Column]] = []
    for key in names:
        found: dict[str, Column] = {}
        for run in runs:
            panels = stored_curves(run, key, SPLITS) if key in run.of_type("Line") and run.method not in found else {}
            if panels:
                name = key.partition("/")[2]
                titles = [name] * (len(names) > 1 or len(runs) == 1) + [look(run.method).label] * (len(runs) > 1)
                found[run.method] = Column(": ".join(titles), panels, _draw)
        rows.append([found[method] for method in in_order(list(found))])
    if len(runs) == 1:  # lines of several names have nothing to share but the room
        rows = in_rows([column for row in rows for column in row])
    return panel_grid(rows, "multiple of the direction", is_shared=len(runs) > 1) if rows else None


def _draw(ax: Axes, quantity: str, curves: Sequence[Curve], scale: Scale | None) -> None:  # noqa: ARG001
    draw_line(ax, curves, scale=scale)
