"""Panels as plotly draws them: numbers in their places, cuts only where the scale says, colors of the page."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from figures.report.axes import log_ticks
from figures.report.content import ColorScale, Panel, Picture, Report, Series
from figures.report.html import IN_DARK
from figures.report.panels import color, figure_json, series_look
from figures.style import METHODS

NAN = float("nan")
WEIGHTS = (0.2126, 0.7152, 0.0722)  # of red, green and blue in the relative luminance of WCAG 2.1


def drawn(panel: Panel, scale: ColorScale | None = None) -> dict[str, Any]:
    return dict(json.loads(figure_json(panel, Picture("p", "t", "", "", (panel,), "", scale))))


@pytest.mark.parametrize("kind", ["surface", "contours", "heat"])
def test_a_grid_keeps_its_rows_and_its_holes(kind: str) -> None:
    """Fails if rows and columns are swapped, or a hole becomes a number."""
    scale = ColorScale("loss", 0.01, 100.0, is_log=True)
    panel = Panel(kind, "t", x=[0.0, 1.0, 2.0], y=[5.0, 6.0], z=[[1.0, 10.0, NAN], [0.001, 1000.0, 0.1]])
    trace = drawn(panel, scale)["data"][0]
    top = 2.0 if kind == "surface" else 3.0  # height is cut, a color saturates by itself
    assert trace["z"] == [[0.0, 1.0, None], [-2.0, top, -1.0]]
    assert [float(y) for y in trace["y"]] == [5.0, 6.0]


def test_a_band_has_two_ends_and_a_line() -> None:
    panel = Panel("lines", "t", series=(Series("sam", [1.0, 2.0], [3.0, NAN], [2.0, NAN], [4.0, NAN]),), is_log=True)
    figure = drawn(panel)
    assert [trace["y"] for trace in figure["data"]] == [[2.0, None], [4.0, None], [3.0, None]]
    assert figure["data"][2]["line"]["color"] == f"var({color('sam')})"
    assert figure["layout"]["yaxis"]["type"] == "log"


def test_dots_stand_beside_each_other_with_their_errors() -> None:
    pair = (Series("sgd", ["a", "b"], [1.0, 2.0], [0.5, 1.0], [2.0, 4.0]), Series("sam", ["a", "b"], [3.0, 4.0]))
    first, second = drawn(Panel("dots", "t", series=pair))["data"]
    assert first["x"] == pytest.approx([-0.15, 0.85])
    assert second["x"] == pytest.approx([0.15, 1.15])
    assert (first["error_y"]["array"], first["error_y"]["arrayminus"]) == ([1.0, 2.0], [0.5, 1.0])


def test_a_forest_has_its_line_of_no_effect() -> None:
    series = (Series("supported", ["2 b", "1 a"], [0.5, 2.0], [0.25, 1.0], [1.0, 3.0]),)
    figure = drawn(Panel("forest", "t", series=series, is_log=True, origin=1.0))
    assert figure["layout"]["yaxis"]["categoryarray"] == ["2 b", "1 a"]  # from the bottom up
    assert figure["layout"]["shapes"][0]["x0"] == 1.0
    assert figure["data"][0]["error_x"]["arrayminus"] == [0.25, 1.0]
    assert figure["layout"]["xaxis"]["range"] == [-1.0, 1.0]


def test_a_forest_reaches_to_every_effect() -> None:
    series = (Series("supported", ["1 a", "2 b"], [0.04, 2.0], [0.03, 1.0], [0.05, 3.0]),)
    axis = drawn(Panel("forest", "t", series=series, is_log=True, origin=1.0))["layout"]["xaxis"]
    assert (axis["range"], axis["ticktext"]) == ([-2.0, 1.0], ["0.01", "0.1", "1", "10"])


def test_ticks_are_round() -> None:
    assert log_ticks([0.03, 0.4]) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    assert log_ticks([1e-4, 1.0]) == [1e-4, 1e-3, 1e-2, 0.1, 1.0]


def test_every_picture_of_a_report_can_be_drawn(report: Report) -> None:
    pictures = list(report.blocks(Picture))
    assert len(pictures) >= 6
    for picture in pictures:
        for panel in picture.panels:
            assert json.loads(figure_json(panel, picture))["data"]


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    values = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return float(np.dot(np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4), WEIGHTS))


def contrast(color: str, paper: str) -> float:
    low, high = sorted((luminance(color), luminance(paper)))
    return (high + 0.05) / (low + 0.05)


def test_every_method_is_seen_on_light_and_on_dark_paper() -> None:
    """Fails if a new color sinks into the dark page, or two methods become one there; WCAG asks 3 of a mark."""
    found = {name: look.color for name, look in METHODS.items()}
    dark = {name: IN_DARK.get(color, color) for name, color in found.items()}
    assert len(set(dark.values())) == len(METHODS)
    assert min(contrast(color, "#17181a") for color in dark.values()) >= 3
    lighter = {"gc", "sam", "sam-matched", "fsam"}  # below 3 on white; marker and dashes tell them
    assert min(contrast(color, "#fdfcf9") for name, color in found.items() if name not in lighter) >= 3
    assert min(contrast(found[name], "#fdfcf9") for name in lighter) >= 2.1
    blues = luminance(dark["gc"]), luminance(dark["random"])
    assert blues[0] > 1.7 * blues[1]


def test_dashes_and_marks_of_all_methods_reach_plotly() -> None:
    """Fails if a marker or a line has no word in plotly: it would be drawn as that of SGD."""
    drawn = [series_look(name)[2:] for name in METHODS]
    assert len({symbol for symbol, _ in drawn}) == len(METHODS)
    assert len({dash for _, dash in drawn}) == len(METHODS) - 1  # SGD and GCSAM are solid
    assert series_look("sgd-long")[3] == "2px,2px"
