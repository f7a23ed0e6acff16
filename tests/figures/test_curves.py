"""Curves: bands of two standard errors, divergence at the top edge, gaps, and when an axis is logarithmic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.store import write
from figures import Run
from figures.curves import Curve, draw_curves, is_log, stored_curves
from figures.style import Look
from tests.figures.synthetic import curve

OWN, OTHER = Look("own", "#111111", "", "-"), Look("", "#222222", "", "--")


def curve_of(value: Any, error: float = 0.0) -> Curve:
    value = np.asarray(value, dtype=float)
    is_finite = np.isfinite(value)
    return Curve(
        OWN,
        np.arange(len(value)) / 1.0,
        np.where(is_finite, value, np.nan),
        np.full(len(value), error),
        np.isinf(value),
    )


def bands(ax: Axes) -> list[np.ndarray]:
    """Lower and upper end at each point of the horizontal axis, [2, T], of each band."""
    found = []
    for band in ax.collections:
        x, y = band.get_paths()[0].vertices.T
        found.append(np.array([[y[x == place].min(), y[x == place].max()] for place in np.unique(x)]).T)
    return found


def test_the_band_reaches_two_standard_errors(ax: Axes) -> None:
    draw_curves(ax, [curve_of([1.0, 2.0, 4.0], error=0.25)])
    assert bands(ax)[0].tolist() == [[0.5, 1.5, 3.5], [1.5, 2.5, 4.5]]
    assert "± 2 standard errors" in ax.get_legend_handles_labels()[1]


def test_without_errors_there_is_no_band(ax: Axes) -> None:
    draw_curves(ax, [curve_of([1.0, 2.0], error=np.nan)])
    assert not ax.collections
    assert ax.get_legend_handles_labels()[1] == ["own"]


def test_diverged_points_stand_at_the_top_edge_and_are_named(ax: Axes) -> None:
    draw_curves(ax, [curve_of([1.0, np.inf, 2.0, np.inf]), curve_of([1.0, np.inf, 2.0, 3.0])])
    (mark,) = [line for line in ax.lines if line.get_label() == "diverged"]
    assert mark.get_xydata().tolist() == [[1.0, 1.0], [3.0, 1.0]]
    assert mark.get_transform() == ax.get_xaxis_transform()  # 1 is the top of the panel whatever the loss
    assert np.isnan(ax.lines[0].get_ydata()[1])


def test_a_gap_breaks_the_line_and_a_point_between_gaps_is_a_dot(ax: Axes) -> None:
    draw_curves(ax, [curve_of([1.0, 2.0, np.nan, 4.0, np.nan])])
    line, dots = ax.lines
    assert np.array_equal(line.get_ydata(), [1.0, 2.0, np.nan, 4.0, np.nan], equal_nan=True)
    assert dots.get_xydata().tolist() == [[3.0, 4.0]]
    assert dots.get_marker() == "."


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.1, 1.1], True), ([0.1, 0.9], False), ([0.0, 5.0], False), ([-1.0, 50.0], False), ([np.nan, np.nan], False)],
)
def test_an_axis_is_logarithmic_beyond_a_factor_of_ten_above_zero(values: list[float], expected: bool) -> None:
    assert is_log([curve_of(values)]) is expected


def test_on_a_logarithmic_axis_a_band_to_zero_ends_at_the_edge(ax: Axes) -> None:
    """Fails if a lower end that is not positive takes the axis down by decades."""
    draw_curves(ax, [curve_of([0.02, 2.0], error=0.1)], log=True)
    assert ax.get_yscale() == "log"
    assert bands(ax)[0][0].tolist() == [0.01, pytest.approx(1.8)]
    assert ax.get_ylim()[0] == 0.01


def test_splits_share_a_panel_and_differ_in_look(tmp_path: Path) -> None:
    metrics = {"accuracy": [0.1, 0.2, 0.3], "test/loss": [4.0, np.inf, 6.0], "test/accuracy": [0.4, 0.5, 0.6]}
    done = np.array([True, True, False])
    content = curve("Line", [0, 1, 2], [1.0, 2.0, np.nan], 0.5, metrics, done=(done, "t"))
    write(tmp_path / "run.h5", "surface", "line", content)
    panels = stored_curves(Run(tmp_path / "run.h5"), "surface/line", (OWN, OTHER))
    assert list(panels) == ["loss", "accuracy"]
    assert [one.look.label for one in panels["loss"]] == ["own", "test"]
    assert [one.look.color for one in panels["accuracy"]] == [OWN.color, OTHER.color]
    own, test = panels["loss"]
    assert own.diverged.tolist() == [False, False, False]
    assert test.diverged.tolist() == [False, True, False]
    nan = np.nan
    assert np.array_equal(test.value, [4.0, nan, nan], equal_nan=True)  # diverged, and not done
    assert np.array_equal(panels["accuracy"][1].value, [0.4, nan, nan], equal_nan=True)  # as its own loss
    assert np.array_equal(panels["accuracy"][0].value, [0.1, 0.2, nan], equal_nan=True)
    assert own.error.tolist() == [0.5] * 3


def test_a_file_from_before_the_masks_is_read(tmp_path: Path) -> None:
    from tests.figures.synthetic import measurement

    content = measurement(of="Line", t=(np.arange(3.0), "t"), loss=(np.array([1.0, np.inf, 3.0]), "t"))
    write(tmp_path / "run.h5", "surface", "line", content)
    (found,) = stored_curves(Run(tmp_path / "run.h5"), "surface/line", (OWN,))["loss"]
    assert found.diverged.tolist() == [False, True, False]
    assert np.isnan(found.error).all()
    assert stored_curves(Run(tmp_path / "run.h5"), "surface/other", (OWN,)) == {}
