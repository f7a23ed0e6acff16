"""The figure of a comparison: what the artists hold, against the numbers of the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from analysis.store import write
from figures import Run, draw_study
from figures.ab import ANSWERS, SHADE, Row, draw_criterion, figure_ab, rows_of
from tests.figures.synthetic import measurement, write_run

ROW = Row("accuracy >= baseline - 0.2%", 0.1, -0.1, 0.3, -0.2, True, "label", "yes", 0.0)


@pytest.fixture
def compared(tmp_path: Path) -> Run:
    """Two criteria, and one of whose numbers nothing could be said."""
    rows = [
        (
            "accuracy >= baseline",
            "test_accuracy",
            "difference",
            0.5,
            0.1,
            0.9,
            0.0,
            "above",
            "percentage points",
            "yes",
            5,
        ),
        ("spread smaller", "test_accuracy", "spread", -20.0, -70.0, np.inf, 0.0, "below", "%", "not yet", 25),
        ("loss smaller", "test_loss", "log-ratio", np.nan, np.nan, np.nan, 0.0, "below", "%", "not yet", np.nan),
    ]
    names = (
        *("criterion", "quantity", "scale", "effect", "interval_low", "interval_high", "bound"),
        *("side", "unit", "answers", "seeds_needed"),
    )
    columns: dict[str, Any] = {
        name: (list(column), "criterion") for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    scalars = {"baseline": "sgd", "candidate": "gcsam", "num_seeds": 5, "look_confidence": 0.975}
    write(tmp_path / "study.h5", "claims", "ab", measurement(**columns, **scalars))
    return Run(tmp_path / "study.h5")


def test_rows_are_the_criteria_that_have_an_interval(compared: Run) -> None:
    first, second = rows_of(compared)
    assert first == Row(
        *("accuracy >= baseline", 0.5, 0.1, 0.9, 0.0, True),
        *("test_accuracy, difference in percentage points", "yes", 0.0),
    )
    assert second == Row(
        *("spread smaller", -20.0, -70.0, np.inf, 0.0, False),
        *("spread of test_accuracy, change in % of the baseline", "not yet", 20.0),
    )


@pytest.mark.parametrize("is_above", [True, False])
def test_the_side_that_is_asked_for_is_shaded_as_yes(ax: Axes, is_above: bool) -> None:
    draw_criterion(ax, dataclasses.replace(ROW, is_above=is_above))
    ends = {patch.get_facecolor(): (patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches}
    yes, no = (ends[to_rgba(ANSWERS[answer].color, SHADE)] for answer in ("yes", "no"))
    left, right = ax.get_xlim()
    assert (yes if is_above else no) == pytest.approx((-0.2, right))
    assert (no if is_above else yes) == pytest.approx((left, -0.2))
    assert [text.get_text() for text in ax.texts] == ["yes", "no"]
    assert left < -0.2 < 0.3 < right


def test_bound_interval_and_estimate_are_where_the_file_says(ax: Axes) -> None:
    draw_criterion(ax, ROW)
    bound, interval, estimate = ax.lines
    assert bound.get_xdata() == [-0.2, -0.2]
    assert interval.get_xdata().tolist() == [-0.1, 0.3]
    assert estimate.get_xdata() == [0.1]
    assert estimate.get_color() == ANSWERS["yes"].color
    assert ax.get_title(loc="left") == "accuracy >= baseline - 0.2%: yes"
    assert ax.get_xlabel() == "label"


@pytest.mark.parametrize(
    ("further", "text"),
    [(20.0, "not yet, 20 further seeds"), (np.inf, "not yet, more than 10,000 seeds"), (np.nan, "not yet")],
)
def test_the_title_says_how_many_seeds_are_missing(ax: Axes, further: float, text: str) -> None:
    draw_criterion(ax, dataclasses.replace(ROW, answer="not yet", further=further))
    assert ax.get_title(loc="left") == f"accuracy >= baseline - 0.2%: {text}"


def test_a_wild_interval_ends_in_an_arrow_and_leaves_bound_and_estimate_readable(ax: Axes) -> None:
    draw_criterion(ax, dataclasses.replace(ROW, low=-0.5, high=1e6, answer="not yet"))
    assert [line.get_marker() for line in ax.lines] == ["None", "None", ">", ANSWERS["not yet"].marker]
    left, right = ax.get_xlim()
    assert (0.1 - -0.2) / (right - left) > 0.1  # estimate and bound stand apart


def test_a_panel_for_each_criterion_and_none_without_a_comparison(compared: Run, tmp_path: Path) -> None:
    figure = figure_ab(compared)
    assert figure is not None
    assert len(figure.axes) == 2
    assert figure.get_suptitle() == "gcsam beside sgd, 5 paired seeds, 97.5 % intervals"
    assert figure_ab(Run(write_run(tmp_path / "run.h5", "sgd", 0))) is None


def test_it_is_drawn_with_the_study(compared: Run, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run.h5", "sgd", 0, without=("surface/plane", "noise/gradient_noise"))
    written = draw_study([run], tmp_path / "figures", study_path=compared.path, formats=("png",))
    assert tmp_path / "figures" / "ab.png" in written
