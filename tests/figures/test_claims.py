"""The forest plot of verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.axes import Axes

from figures import Run
from figures.claims import Row, draw_verdicts, figure_verdicts, rows_of
from figures.style import VERDICTS
from tests.figures.synthetic import write_run


def test_rows_are_grouped_by_unit_and_those_without_an_effect_left_out(study: Path) -> None:
    found = rows_of(Run(study / "study.h5"))
    assert list(found) == ["%", "percentage points", "rank correlation"]
    assert [row.label for row in found["%"]] == ["1  ascent_ratio: gcsam vs 1", "3  lambda_max: gcsam vs sam"]


def test_percentages_are_drawn_as_factors(ax: Axes) -> None:
    draw_verdicts(ax, [Row("a", -50.0, -75.0, 100.0, "supported")], "%")
    interval, point = ax.lines[0], ax.lines[1]
    assert interval.get_xdata().tolist() == [0.25, 2.0]
    assert point.get_xdata() == [0.5]
    assert point.get_color() == VERDICTS["supported"].color
    assert ax.get_xscale() == "log"
    assert ax.texts[0].get_text() == "-50 [-75, +100] %"


def test_an_interval_that_leaves_the_panel_ends_in_an_arrow(ax: Axes) -> None:
    draw_verdicts(ax, [Row("a", 0.0, -99.0, 9e4, "contradicted")], "%")
    assert ax.lines[0].get_xdata().tolist() == [0.1, 10.0]
    assert [line.get_marker() for line in ax.lines[1:3]] == ["<", ">"]


def test_an_effect_out_of_reach_is_an_arrow_at_its_edge_alone(ax: Axes) -> None:
    """Fails if an interval that lies wholly beyond one edge has an arrow at the other one too."""
    draw_verdicts(ax, [Row("a", -99.99, -99.999, -99.98, "contradicted")], "%")
    assert [line.get_marker() for line in ax.lines[1:-1]] == ["<"]
    assert ax.lines[1].get_xdata() == [1e-3]


@pytest.mark.parametrize(("effect", "ends"), [(-96.0, (0.01, 10.0)), (9e3, (0.1, 100.0)), (-90.1, (0.01, 10.0))])
def test_the_axis_reaches_to_every_effect(ax: Axes, effect: float, ends: tuple[float, float]) -> None:
    """Fails if the largest effects, which matter most, are not to be seen."""
    draw_verdicts(ax, [Row("a", effect, effect - 1, effect + 1, "supported"), Row("b", 1, 0, 2, "supported")], "%")
    assert ax.get_xlim() == pytest.approx(ends)
    assert 1 + effect / 100 in [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]


def test_differences_are_drawn_as_they_are(ax: Axes) -> None:
    draw_verdicts(ax, [Row("a", 1.0, 0.5, 1.5, "inconclusive")], "percentage points")
    assert ax.lines[0].get_xdata().tolist() == [0.5, 1.5]
    low, high = ax.get_xlim()
    assert -low == high == pytest.approx(1.65)  # the line of no effect in the middle, 10 % of room


def test_a_panel_for_each_unit_and_none_without_verdicts(study: Path, tmp_path: Path) -> None:
    figure = figure_verdicts(Run(study / "study.h5"))
    assert figure is not None
    assert len(figure.axes) == 3
    assert figure_verdicts(Run(write_run(tmp_path / "run.h5", "sgd", 0))) is None
