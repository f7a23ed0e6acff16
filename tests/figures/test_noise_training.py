"""Noise over training: every point and cell is that of its checkpoint and layer, and what is open is not drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from analysis.store import Measurement, write
from figures import Run
from figures.noise_training import (
    OPEN,
    UNKNOWN,
    Course,
    draw_by_layer,
    draw_kept,
    draw_relative,
    figure_noise_training,
    stored_course,
)
from tests.figures.synthetic import measurement

RAW = np.array([4.0, 2.0, 10.0])  # the second layer is one that P does nothing to


def at(kept: float, ratio: float, *, is_open: bool = False) -> Measurement:
    """A checkpoint: P keeps `kept` of the noise of layers 0 and 2; relative noise `ratio`, 10 % up and down."""
    trace = RAW * np.array([kept, 1.0, kept])
    high = np.inf if is_open else 1.1
    ratios = np.array([ratio, 1.0, 2 * ratio])

    def group(total: dict[str, float], **columns: np.ndarray) -> Measurement:
        return measurement(
            {"total": measurement(None, **total)}, **{name: (column, "layer") for name, column in columns.items()}
        )

    signal = 1.0 if is_open else 100.0
    groups = {
        "raw": group({"trace": 16.0, "signal": signal, "signal_standard_error": 1.0}, trace=RAW),
        "centralized": group({"trace": float(trace.sum()), "signal": 30.0}, trace=trace),
        "centralized_to_raw": group(
            {"ratio": ratio, "low": 0.9 * ratio, "high": high * ratio}, ratio=ratios, high=high * ratios
        ),
        "control_to_raw": group({"ratio": 1.01, "low": 1.0, "high": 1.02}),
    }
    return measurement(groups, layers=(["stem", "norm", "head"], "layer"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    path = tmp_path / "run.h5"
    for number, found in enumerate((at(0.5, 1.5), at(0.4, 2.0), at(0.3, 9.0, is_open=True))):
        write(path, "noise", f"gradient_noise_epoch-{number:04d}", found)
    return Run(path)


@pytest.fixture
def course(run: Run) -> Course:
    found = stored_course(run)
    assert found is not None
    return found


def test_numbers_are_those_of_their_checkpoints(course: Course) -> None:
    assert course.unit == "epoch"
    assert course.time.tolist() == [0, 1, 2]
    assert course.layers == ("stem", "head")
    assert course.noise_kept == pytest.approx([(14 * kept + 2) / 16 for kept in (0.5, 0.4, 0.3)])
    assert course.signal_kept == pytest.approx([0.3, 0.3, np.nan], nan_ok=True)
    assert course.relative[:, :2] == pytest.approx(np.array([[1.5, 2.0], [1.35, 1.8], [1.65, 2.2]]))
    assert np.isnan(course.relative[:, 2]).all()
    assert course.control == pytest.approx([1.01, 1.01, np.nan], nan_ok=True)
    assert course.by_layer[:2].tolist() == [[1.5, 3.0], [2.0, 4.0]]
    assert np.isnan(course.by_layer[2]).all()


def test_curves_are_the_numbers(course: Course, ax: Axes) -> None:
    draw_kept(ax, course)
    assert ax.lines[0].get_ydata().tolist() == course.noise_kept.tolist()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["of the noise", "of the signal"]


def test_relative_noise_has_its_interval_and_the_random_projection_beside_it(course: Course, ax: Axes) -> None:
    draw_relative(ax, course)
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert drawn["centralized"][:2].tolist() == [1.5, 2.0]
    assert drawn["random projection"][:2] == pytest.approx([1.01, 1.01])
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(1.35)
    assert corners[:, 1].max() == pytest.approx(2.2)


def test_cells_are_layers_by_time_and_open_ones_are_grey(course: Course, ax: Axes) -> None:
    mesh = draw_by_layer(ax, course)
    assert mesh.get_array()[:, :2].tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert mesh.get_array().mask[:, 2].all()
    assert mesh.get_cmap().get_bad() == pytest.approx(to_rgba(UNKNOWN))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["stem", "head"]
    assert ax.get_ylim() == (1.5, -0.5)
    assert mesh.get_clim() == (0.25, 4.0)


def test_a_figure_needs_two_checkpoints(run: Run, tmp_path: Path) -> None:
    figure = figure_noise_training([run])
    assert figure is not None
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend() is not None]
    words = {text.get_text() for legend in legends for text in legend.get_texts()}
    assert words == {"of the noise", "of the signal", "centralized", "random projection", OPEN}
    write(tmp_path / "one.h5", "noise", "gradient_noise_epoch-0000", at(0.5, 1.5))
    assert figure_noise_training([Run(tmp_path / "one.h5")]) is None
