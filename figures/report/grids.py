"""Heat maps, surfaces and contours as plotly figures, on the color scale that the panels of a picture share.

Right when each cell is the number of the panel at its row and column, cut only where the scale says
(`tests/figures/report/test_panels.py`). Cost: milliseconds a panel.
"""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go
from plotly.colors import diverging, sequential

from figures.report.axes import ROW, escaped, layout, numbers
from figures.report.content import ColorScale, Panel
from figures.report.wording import number

COLORS = {"viridis": list(sequential.Viridis), "diverging": list(reversed(diverging.RdBu))}
MOST_TEXTS = 80  # cells of a heat map that have room for their numbers
NO_GRID = {"showgrid": False, "zeroline": False}


def stops(scale: ColorScale) -> list[str]:
    """Return the colors of a scale from its lower to its upper end.

    Args:
        scale: Of a picture.
    """
    return COLORS[scale.colors]


def heat(panel: Panel, scale: ColorScale) -> go.Figure:
    """Return a heat map, with its numbers where they have room.

    Args:
        panel: Rows from top to bottom.
        scale: Of the picture.
    """
    figure = layout(panel, 110 + ROW * max(len(panel.y), 3))
    cells = sum(len(row) for row in panel.z)
    texts = [[number(value) if math.isfinite(value) else "open" for value in row] for row in panel.z]
    low, high = (_on_axis(end, scale) for end in (scale.low, scale.high))
    figure.add_trace(
        go.Heatmap(
            x=[escaped(x) if isinstance(x, str) else x for x in panel.x],
            y=[escaped(str(y)) for y in panel.y],
            z=[[_scaled(v, scale) for v in row] for row in panel.z],
            zmin=low,
            zmax=high,
            colorscale=_stops(scale),
            showscale=False,
            xgap=int(len(panel.x) <= 12),
            ygap=1,
            text=texts,
            texttemplate="%{text}" if cells <= MOST_TEXTS else "",
            hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        )
    )
    figure.update_xaxes(NO_GRID | ({"type": "category"} if isinstance(panel.x[0], str) else {}))
    figure.update_yaxes(NO_GRID, autorange="reversed", type="category", title={"text": ""})
    figure.update_layout(plot_bgcolor="var(--gap)")
    return figure


def surface(panel: Panel, scale: ColorScale) -> go.Figure:
    """Return a surface in three dimensions, cut at the top of the scale.

    Args:
        panel: What.
        scale: Of the picture: the same colors, the same heights.
    """
    z = [[_scaled(min(value, scale.high), scale) for value in row] for row in panel.z]  # cut: else it leaves its box
    low, high = (_on_axis(end, scale) for end in (scale.low, scale.high))
    figure = go.Figure(
        go.Surface(
            x=list(panel.x),
            y=list(panel.y),
            z=z,
            customdata=[numbers(row) for row in panel.z],
            cmin=low,
            cmax=high,
            colorscale=_stops(scale),
            showscale=False,
            hovertemplate="loss %{customdata:.4g}<extra></extra>",
            contours={"z": {"show": True, "color": "rgba(255,255,255,0.25)", "width": 1, "highlight": False}},
        )
    )
    ticks = _ticks(scale)
    plain = {
        "gridcolor": "var(--grid)",
        "color": "var(--muted)",
        "showbackground": False,
        "zeroline": False,
        "nticks": 4,
    }
    figure.update_layout(
        height=340,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene={
            "xaxis": {"title": {"text": escaped(panel.x_label)}, **plain},
            "yaxis": {"title": {"text": escaped(panel.y_label)}, **plain},
            "zaxis": {
                "title": {"text": panel.z_label},
                **plain,
                "range": [low, high],
                "tickvals": [_scaled(tick, scale) for tick in ticks],
                "ticktext": [number(tick) for tick in ticks],
            },
            "camera": {"eye": {"x": 1.35, "y": -1.5, "z": 0.95}, "center": {"x": 0, "y": 0, "z": -0.15}},
            "aspectratio": {"x": 1, "y": 1, "z": 0.75},
            "dragmode": "turntable",
        },
    )
    return figure


def contours(panel: Panel, scale: ColorScale) -> go.Figure:
    """Return filled contours, with the trained weights marked.

    Args:
        panel: What.
        scale: Of the picture.
    """
    figure = layout(panel, 340)
    low, high = (_on_axis(end, scale) for end in (scale.low, scale.high))
    figure.add_trace(
        go.Contour(
            x=list(panel.x),
            y=list(panel.y),
            z=[[_scaled(value, scale) for value in row] for row in panel.z],
            zmin=low,
            zmax=high,
            colorscale=_stops(scale),
            showscale=False,
            line={"width": 0.4, "smoothing": 0, "color": "rgba(255,255,255,0.5)"},
            contours={"start": low, "end": high, "size": (high - low) / 14 or 1.0, "coloring": "heatmap"},
            text=[[number(value) for value in row] for row in panel.z],
            hovertemplate="(%{x:.3g}, %{y:.3g}): loss %{text}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[0],
            y=[0],
            mode="markers",
            hoverinfo="skip",
            marker={"symbol": "cross", "color": "#fff", "size": 8, "line": {"color": "#000", "width": 1}},
        )
    )
    figure.update_xaxes(NO_GRID | {"nticks": 5, "constrain": "domain"})
    # equal units along both: a bowl that is round looks round
    figure.update_yaxes(NO_GRID | {"nticks": 5, "scaleanchor": "x", "constrain": "domain"})
    return figure


def _ticks(scale: ColorScale) -> list[float]:
    """Return round values along a scale: powers of ten, or three linear ones."""
    if scale.is_log:
        first, last = math.ceil(math.log10(scale.low)), math.floor(math.log10(scale.high))
        return [10.0**power for power in range(first, last + 1)] or [scale.low, scale.high]
    return [scale.low, (scale.low + scale.high) / 2, scale.high]


def _scaled(value: float, scale: ColorScale) -> float | None:
    return _on_axis(value, scale) if math.isfinite(value) else None


def _on_axis(value: float, scale: ColorScale) -> float:
    return round(math.log10(max(value, scale.low)), 5) if scale.is_log else value


def _stops(scale: ColorScale) -> list[list[Any]]:
    found = stops(scale)
    return [[i / (len(found) - 1), each] for i, each in enumerate(found)]
