"""What all plotly figures of the report share: empty axes, tick labels, and texts that plotly shows as they are.

Right when a logarithmic axis is labeled with round numbers and a name with brackets appears as it is
(`tests/figures/report/test_panels.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from figures.report.content import Panel
from figures.report.wording import number

HEIGHT, ROW = 290, 24  # pixels of a panel, of a row of names


def escaped(text: str) -> str:
    """Return text that plotly, which reads some tags, shows as it is.

    Args:
        text: Any.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def numbers(values: Sequence[float]) -> list[float | None]:
    """Return numbers with None, which plotly leaves out, for those that are not finite.

    Args:
        values: Any.
    """
    return [value if math.isfinite(value) else None for value in values]


def above(values: Sequence[float], panel: Panel) -> list[float | None]:
    """Return numbers as `numbers` does, those below the floor of a panel a decade below it: a line leaves the panel.

    Args:
        values: Of one of its lines.
        panel: With a floor or without.
    """
    return numbers([max(value, panel.floor / 10) for value in values] if math.isfinite(panel.floor) else values)


def axis(text: str, *, is_log: bool = False) -> dict[str, Any]:
    """Return the settings of an axis.

    Args:
        text: Its title.
        is_log: Whether it is logarithmic.
    """
    axis: dict[str, Any] = {"title": {"text": escaped(text), "standoff": 8}, "automargin": True}
    return axis | ({"type": "log"} if is_log else {})


def layout(panel: Panel, height: int = HEIGHT) -> go.Figure:
    """Return a figure with the axes of a panel and nothing in it.

    Args:
        panel: What will be drawn.
        height: In pixels.
    """
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 58, "r": 14, "t": 26, "b": 48},
        xaxis=axis(panel.x_label),
        yaxis=axis(panel.y_label, is_log=panel.is_log),
    )
    if panel.is_log and panel.kind != "forest":
        values = [y for s in panel.series for y in (*s.y, *s.low, *s.high) if y > 0]
        if math.isfinite(panel.floor):
            values = [panel.floor, *(value for value in values if value >= panel.floor)]
            ends = math.log10(panel.floor), math.log10(max(values))
            figure.update_yaxes(range=[ends[0], ends[1] + 0.05 * (ends[1] - ends[0])])
        ticks = log_ticks(values)
        figure.update_yaxes(tickvals=ticks, ticktext=[number(tick) for tick in ticks])
    return figure


def log_ticks(values: Sequence[float]) -> list[float]:
    """Return 1, 2 and 5 of each decade that the values span, or the decades alone where they are more than two.

    Args:
        values: Positive.
    """
    low, high = min(values, default=1.0), max(values, default=1.0)
    steps = (1, 2, 5) if high < 100 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [float(f"{step}e{power}") for power in powers for step in steps]
