"""Panels as plotly figures: the only module that knows plotly.

Colors are names of the page's own style, as `var(--ink)`; the page puts the values of the present theme in their place.
Right when the traces hold the numbers of the panel (`tests/figures/report/test_panels.py`). Cost: milliseconds a panel,
and a second to import plotly.

References:
    https://plotly.com/javascript/reference, the attributes set here.
"""

from __future__ import annotations

import json
import math
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from figures.factors import factor_ticks
from figures.report import grids
from figures.report.axes import ROW, above, escaped, layout, numbers
from figures.report.content import Panel, Picture, Series
from figures.report.wording import method, number
from figures.style import METHODS, VERDICTS, look

SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
    "<": "triangle-left",
    ">": "triangle-right",
    "p": "pentagon",
    "h": "hexagon",
    "d": "diamond-tall",
    "8": "octagon",
}
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
WIDTH = 2  # of a line, in pixels; its own dashes are given in widths


def javascript() -> str:
    """Return plotly.js, to be put into the page: nothing is fetched."""
    return str(get_plotlyjs())


def color(name: str) -> str:
    """Return the name of the page's color of a series.

    Args:
        name: Of a method or verdict.

    Example:
        >>> color("sam")
        '--c-73616d'
    """
    return f"--c-{name.encode().hex()}"


def series_look(name: str) -> tuple[str, str, str, str]:
    """Return label, color in light, symbol and dash of a series.

    Args:
        name: Of a method or verdict.
    """
    style = VERDICTS[name] if name in VERDICTS and name not in METHODS else look(name)
    label = style.label if name in VERDICTS else method(name)
    if isinstance(style.line, tuple):
        dash = ",".join(f"{WIDTH * length:g}px" for length in style.line[1])
    else:
        dash = DASHES.get(style.line, "solid")
    return label, style.color, SYMBOLS.get(style.marker, "circle"), dash


def figure_json(panel: Panel, picture: Picture) -> str:
    """Return a panel as the JSON that plotly.js draws.

    Args:
        panel: Of the picture.
        picture: For the scale that its panels share.
    """
    scale = picture.scale
    if panel.kind in {"heat", "surface", "contours"} and scale is not None:
        draw = {"heat": grids.heat, "surface": grids.surface, "contours": grids.contours}[panel.kind]
        figure = draw(panel, scale)
    else:
        figure = {"lines": _lines, "dots": _dots, "forest": _forest}[panel.kind](panel)
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        autosize=True,
        font={"family": "var(--sans)", "size": 12, "color": "var(--ink)"},
        hoverlabel={"bgcolor": "var(--paper)", "bordercolor": "var(--rule)", "font": {"color": "var(--ink)"}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "var(--muted)", "activecolor": "var(--ink)"},
    )
    figure.update_xaxes(linecolor="var(--rule)", gridcolor="var(--grid)", zeroline=False, tickcolor="var(--rule)")
    figure.update_yaxes(linecolor="var(--rule)", gridcolor="var(--grid)", zeroline=False, tickcolor="var(--rule)")
    if panel.kind != "heat":
        figure.update_layout(plot_bgcolor="rgba(0,0,0,0)")
    return _without_nan(json.loads(str(figure.to_json())))


def _without_nan(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _lines(panel: Panel) -> go.Figure:
    figure = layout(panel)
    if math.isfinite(panel.origin):
        _mark_origin(figure, panel)
    for series in panel.series:
        label, _, _, dash = series_look(series.name)
        ink = f"var({color(series.name)})"
        if len(series.low):
            for ends, fill in ((series.low, "none"), (series.high, "tonexty")):
                figure.add_trace(
                    go.Scatter(
                        x=list(series.x),
                        y=above(ends, panel),
                        mode="lines",
                        line={"width": 0},
                        fill=fill,
                        fillcolor=f"var({color(series.name)}-band)",
                        hoverinfo="skip",
                        meta=series.name,
                    )
                )
        figure.add_trace(
            go.Scatter(
                x=list(series.x),
                y=above(series.y, panel),
                mode="lines",
                name=escaped(label),
                meta=series.name,
                line={"color": ink, "dash": dash, "width": WIDTH},
                hovertemplate="%{x}: %{y:.4g}",
            )
        )
    return figure


def _dots(panel: Panel) -> go.Figure:
    figure = layout(panel)
    places = list(dict.fromkeys(_category(x) for series in panel.series for x in series.x))
    shared = len(places) < sum(len({_category(x) for x in series.x}) for series in panel.series)
    for index, series in enumerate(panel.series):
        label, _, symbol, _ = series_look(series.name)
        ink = f"var({color(series.name)})"
        names = [_category(x) for x in series.x]
        if shared:  # side by side
            offsets = [0.6 * ((index + 0.5) / len(panel.series) - 0.5)] * len(names)
        else:  # those of one name beside each other
            offsets = [0.12 * (i - (len(names) - 1) / 2) if len(names) < 6 else 0.0 for i in range(len(names))]
        errors = _errors(series)
        figure.add_trace(
            go.Scatter(
                x=[places.index(name) + offset for name, offset in zip(names, offsets, strict=True)],
                y=numbers(series.y),
                mode="markers",
                name=escaped(label),
                meta=series.name,
                marker={"color": ink, "symbol": symbol, "size": 8},
                error_y=errors | {"color": ink} if errors else None,
                text=[escaped(name) for name in names],
                hovertemplate="%{text}: %{y:.4g}",
            )
        )
    figure.update_xaxes(
        tickvals=list(range(len(places))),
        ticktext=[escaped(place) for place in places],
        range=[-0.5, len(places) - 0.5],
        showgrid=False,
    )
    return figure


def _forest(panel: Panel) -> go.Figure:
    names = [str(x) for series in panel.series for x in series.x]
    names = sorted(names, key=lambda name: int(name.split(" ")[0]) if name.split(" ")[0].isdigit() else 0)
    figure = layout(panel, 80 + ROW * len(names))
    for series in panel.series:
        label, _, symbol, _ = series_look(series.name)
        ink = f"var({color(series.name)})"
        x = list(series.y)
        ends = {
            "array": [h - v for v, h in zip(x, series.high, strict=True)],
            "arrayminus": [v - low for v, low in zip(x, series.low, strict=True)],
        }
        texts = [
            f"{number(v)} [{number(low)}, {number(h)}]" for v, low, h in zip(x, series.low, series.high, strict=True)
        ]
        figure.add_trace(
            go.Scatter(
                x=x,
                y=[escaped(str(name)) for name in series.x],
                mode="markers",
                name=escaped(label),
                meta=series.name,
                marker={"color": ink, "symbol": symbol, "size": 8},
                error_x={"type": "data", "symmetric": False, "thickness": 1.5, "width": 0, "color": ink, **ends},
                text=texts,
                hovertemplate="%{text}",
            )
        )
    _mark_origin(figure, panel)
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=[escaped(name) for name in reversed(names)],
        ticklabelstandoff=6,
        tickfont={"size": 11},
        range=[-0.7, len(names) - 0.3],
    )
    if panel.is_log:
        ticks = factor_ticks(x for series in panel.series for x in series.y)
        figure.update_xaxes(
            type="log",
            range=[math.log10(end) for end in (ticks[0], ticks[-1])],
            tickvals=ticks,
            ticktext=[f"{tick:g}" for tick in ticks],
        )
    return figure


def _mark_origin(figure: go.Figure, panel: Panel) -> None:
    figure.add_shape(
        type="line",
        x0=panel.origin,
        x1=panel.origin,
        y0=0,
        y1=1,
        yref="paper",
        line={"color": "var(--muted)", "width": 1},
        layer="below",
    )


def _errors(series: Series) -> dict[str, Any]:
    if not len(series.low):
        return {}
    up = [h - y for y, h in zip(series.y, series.high, strict=True)]
    down = [y - low for y, low in zip(series.y, series.low, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": numbers(up),
        "arrayminus": numbers(down),
        "width": 3,
        "thickness": 1,
    }


def _category(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:g}"
