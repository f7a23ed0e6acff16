"""Sweeps: lines are means over seeds, bands reach over them, and a run that diverged is shown as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.store import write
from figures.reading import Run
from figures.study import draw_study
from figures.style import METHODS, context
from figures.sweeps import draw_sweep, figure_sweeps
from tests.figures.fit import clashes
from tests.figures.synthetic import measurement

RADII, SHARES = np.array([0.01, 0.05, 0.2]), np.array([0.0, 0.4])
# [method, seed, value]
RHO = np.array([[[0.9, 0.95, 0.5], [0.8, 0.93, 0.7]], [[0.9, 0.92, 0.9], [0.94, 0.96, np.nan]]])


def write_sweep(path: Path, setting: str, values: np.ndarray, accuracy: np.ndarray, methods: list[str]) -> None:
    content = measurement(
        value=(values, "value"),
        method=(methods, "method"),
        seed=(np.arange(accuracy.shape[1]), "seed"),
        test_accuracy=(accuracy, "method", "seed", "value"),
    )
    write(path, "training", f"sweep_{setting}", content)


@pytest.fixture
def both(tmp_path: Path) -> Run:
    path = tmp_path / "study.h5"
    write_sweep(path, "rho", RADII, RHO, ["gcsam", "sam"])
    write_sweep(path, "label_noise", SHARES, np.full((3, 2, 2), 0.5), ["sgd", "gcsam", "sam"])
    return Run(path)


def curves(ax: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.lines if line.get_marker() != "x"}


def test_lines_are_means_in_percent_and_bands_reach_over_the_seeds(ax: Axes) -> None:
    draw_sweep(ax, RADII, RHO, ["gcsam", "sam"])
    found = curves(ax)
    assert list(found) == ["SAM", "GCSAM"]
    np.testing.assert_allclose(found["GCSAM"], [85.0, 94.0, 60.0])
    np.testing.assert_allclose(found["SAM"][:2], [92.0, 94.0])
    gcsam = ax.collections[1].get_paths()[0].vertices
    assert {(0.2, 50.0), (0.2, 70.0)} <= {(round(x, 6), round(y, 6)) for x, y in gcsam}
    assert [line.get_color() for line in ax.lines if line.get_label() == "SAM"] == [METHODS["sam"].color]


def test_a_run_that_diverged_breaks_the_line_and_is_marked(ax: Axes) -> None:
    """Fails if the mean of the seeds that are left is drawn: it flatters the method."""
    draw_sweep(ax, RADII, RHO, ["gcsam", "sam"])
    assert np.isnan(curves(ax)["SAM"]).tolist() == [False, False, True]
    (mark,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert (list(mark.get_xdata()), mark.get_color()) == ([0.2], METHODS["sam"].color)


def test_a_panel_for_each_setting_on_its_own_scale(both: Run) -> None:
    with context():
        figure = figure_sweeps(both)
    assert figure is not None
    rho, noise = figure.axes
    assert (rho.get_xscale(), noise.get_xscale()) == ("log", "linear")
    assert rho.xaxis.get_majorticklocs().tolist() == RADII.tolist()
    assert noise.xaxis.get_majorticklocs().tolist() == [0.0, 40.0]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["SGD", "SAM", "GCSAM", "a seed diverged"]


def test_learning_rates_stand_first_and_on_a_logarithmic_axis(both: Run) -> None:
    write_sweep(both.path, "lr", RADII, RHO, ["gcsam", "sam"])
    with context():
        figure = figure_sweeps(Run(both.path))
    assert figure is not None
    first, *others = figure.axes
    assert (first.get_xlabel(), first.get_xscale(), len(others)) == ("learning rate", "log", 2)
    assert clashes(figure) == []


def test_without_sweeps_there_is_no_figure(study: Path) -> None:
    assert figure_sweeps(Run(study / "study.h5")) is None


def test_one_sweep_is_a_small_figure(tmp_path: Path) -> None:
    write_sweep(tmp_path / "study.h5", "rho", RADII, RHO, ["gcsam", "sam"])
    with context():
        figure = figure_sweeps(Run(tmp_path / "study.h5"))
    assert isinstance(figure, Figure)
    assert (len(figure.axes), figure.get_size_inches()[0]) == (1, 3.3)


def test_it_is_among_the_figures_of_a_study(both: Run, tmp_path: Path) -> None:
    written = draw_study([], tmp_path / "figures", study_path=both.path, formats=("png",))
    assert [path.name for path in written] == ["sweeps.png"]
