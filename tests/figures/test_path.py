"""Paths: from 0 to 1, the chord between the ends, the barrier with its error, one panel for the same two ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.store import Measurement, Variable, write
from figures import Run, draw_run
from figures.path import KINDS, figure_paths, stored_barrier
from figures.style import PRESETS, context
from tests.figures.fit import clashes
from tests.figures.synthetic import WITH_CONTROLS, curve, measurement

T = np.linspace(0, 1, 5)
STRAIGHT = [1.0, 4.0, 6.0, 3.0, 2.0]


def path_of(of: str, loss: Any, at: int = 2, **others: Any) -> Measurement:
    loss = np.asarray(loss, dtype=float)
    excess = loss - (loss[0] + (loss[-1] - loss[0]) * T)
    errors = np.array([0.0, 0.1, 0.2, 0.3, 0.0])
    found = {"excess": (excess, "t"), "excess_error": (errors, "t"), "barrier": excess[at], "barrier_at": T[at]}
    found |= {"barrier_error": errors[at], "start_loss": loss[0], "end_loss": loss[-1]}
    return curve(of, T, loss, 0.05, {"accuracy": np.full(5, 0.5)}, **{**found, **others})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write(tmp_path / "run.h5", "surface", "curved", path_of("BezierPath", [1.0, 1.5, 1.75, 1.9, 2.0 + 1e-7]))
    write(tmp_path / "run.h5", "surface", "straight", path_of("LinearPath", STRAIGHT))
    return Run(tmp_path / "run.h5")


def test_two_paths_between_the_same_ends_share_a_panel(run: Run) -> None:
    figure = figure_paths([run])
    assert figure is not None
    loss, accuracy = figure.axes
    drawn = {str(line.get_label()): line for line in loss.lines if len(line.get_xdata()) == 5}
    assert list(drawn) == ["linear", "Bezier"]
    assert drawn["linear"].get_ydata().tolist() == STRAIGHT
    assert drawn["linear"].get_color() == KINDS["LinearPath"][0].color != drawn["Bezier"].get_color()
    assert loss.get_title() == "straight, curved"
    assert loss.get_xlim() == (0.0, 1.0)
    assert accuracy.get_xlabel().split() == ["from", "start", "(0)", "to", "end", "(1)"]
    assert not accuracy.texts  # a barrier is one of the loss


def test_other_ends_have_a_panel_of_their_own(run: Run) -> None:
    write(run.path, "surface", "elsewhere", path_of("BezierPath", [1.0, 1.5, 1.75, 1.9, 2.1]))
    write(run.path, "surface", "straight_too", path_of("LinearPath", STRAIGHT))
    figure = figure_paths([Run(run.path)])
    assert figure is not None
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["straight, curved", "straight_too", "elsewhere"]


def test_the_barrier_stands_on_the_chord(run: Run) -> None:
    """Fails if the mark begins at 0, or the chord joins other points than the ends."""
    figure = figure_paths([run])
    assert figure is not None
    ax = figure.axes[0]
    (chord, _) = [line for line in ax.lines if line.get_label() == "chord"]
    assert chord.get_linestyle() == ":"
    assert chord.get_xydata()[[0, 50, 100]].tolist() == [[0.0, 1.0], [0.5, 1.5], [1.0, 2.0]]
    marks = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "_"]
    assert marks[1] == [[0.5, 1.5], [0.5, 6.0]]
    assert sorted(text.get_text() for text in ax.texts) == ["barrier 0.25 ± 0.4", "barrier 4.5 ± 0.4"]  # 2 * 0.2


def test_a_barrier_without_an_error_and_one_not_known_yet(tmp_path: Path) -> None:
    write(tmp_path / "run.h5", "surface", "bare", path_of("LinearPath", STRAIGHT, barrier_error=np.nan))
    write(tmp_path / "run.h5", "surface", "open", path_of("BezierPath", [3.0, 4.0, 6.0, 5.0, np.nan], barrier=np.nan))
    run = Run(tmp_path / "run.h5")
    found = stored_barrier(run, "surface/bare")
    assert found is not None
    assert (found.value, found.at, found.chord) == (4.5, 0.5, (1.0, 2.0))
    assert np.isnan(found.error)
    assert stored_barrier(run, "surface/open") is None
    figure = figure_paths([run])
    assert figure is not None
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == ["barrier 4.5"]


def test_a_path_that_goes_beyond_its_ends_keeps_their_chord(tmp_path: Path) -> None:
    """Fails if the first and the last point are taken for the ends, or what lies beyond is cut off."""
    t = np.linspace(-0.5, 1.5, 5)
    beyond = curve("LinearPath", t, [9.0, 1.0, 6.0, 2.0, 8.0], start_loss=1.0, end_loss=2.0, barrier=4.5)
    others = {"barrier_at": np.array(0.5), "barrier_error": np.array(0.1)}
    variables = {**beyond.variables, **{name: Variable(value) for name, value in others.items()}}
    write(tmp_path / "run.h5", "surface", "way", Measurement("LinearPath", variables))
    figure = figure_paths([Run(tmp_path / "run.h5")])
    assert figure is not None
    ax = figure.axes[0]
    (chord,) = [line for line in ax.lines if line.get_label() == "chord"]
    assert chord.get_xydata()[[0, 100]].tolist() == [[0.0, 1.0], [1.0, 2.0]]
    assert ax.get_xlim() == (-0.5, 1.5)


def test_a_run_with_paths_gets_its_figure_and_another_gets_none(run: Run, tmp_path: Path) -> None:
    names = [path.name for path in draw_run(run.path, tmp_path / "drawn", formats=("png",))]
    assert names == ["paths.png"]
    write(tmp_path / "none.h5", "surface", "line", curve("Line", T, STRAIGHT))
    assert figure_paths([Run(tmp_path / "none.h5")]) is None


@pytest.mark.parametrize("preset", PRESETS)
def test_paths_of_ten_methods_stand_in_blocks_on_one_scale(tmp_path: Path, preset: str) -> None:
    """Fails if the names of methods and paths are one line above a narrow column, or each has its own scale."""
    runs = []
    for place, method in enumerate(WITH_CONTROLS):
        path = tmp_path / f"{method}.h5"
        write(path, "training", "summary", measurement(method=method, seed=0))
        write(path, "surface", "straight", path_of("LinearPath", [1.0, 4.0 + place, 6.0 + place, 3.0, 2.0]))
        write(path, "surface", "curved", path_of("BezierPath", [1.0, 1.5, 1.75, 1.9, 2.0]))
        runs.append(Run(path))
    with context(preset):
        figure = figure_paths(runs)
        assert figure is not None
        assert clashes(figure) == []
        assert figure.get_size_inches()[1] < 10  # one page
    top = [ax for ax in figure.axes if ax.get_title()]
    assert len(top) == 10
    assert len({ax.get_ylim() for ax in top}) == 1
    assert [ax.get_yscale() for ax in top] == ["log"] * 10
    assert sum(len(part.legends) for part in figure.subfigs) == 1
