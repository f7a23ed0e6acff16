"""Trajectories: every point where the file says, the plane the right way round, true loss and plane loss told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.store import write
from figures import Run
from figures.study import draw_run
from figures.style import context
from figures.trajectory import figure_trajectory, paths
from tests.figures.synthetic import measurement

POINTS = np.array([[3.0, -1.0], [1.0, 0.5], [0.0, 0.0], [2.0, 2.0], [-1.0, 0.25]])


def stored(path: Path, *, plane: bool = True, loss: Any = (5.0, 2.0, 1.0, 4.0, 3.0)) -> Run:
    content = {
        "run_names": (["one", "other"], "run_name"),
        "run": (np.array([0, 0, 0, 1, 1]), "point"),
        "coordinates": (POINTS, "point", "axis"),
        "distance": (np.array([0.5, 0.25, 0.0, 0.75, 1.0]), "point"),
        "loss": (np.array(loss), "point"),
        "plane_loss": (np.array([9.0, 3.0, 1.0, 8.0, 7.0]), "point"),
        "explained_variance": (np.array([0.63, 0.17]), "axis"),
    }
    write(path, "surface", "trajectory", measurement(**content))
    if plane:
        x, y = np.linspace(-2, 4, 7), np.linspace(-3, 3, 5)
        height = np.repeat(1.0 + np.arange(7.0)[:, None], 5, axis=1)  # rises along x alone
        content = {"x": (x, "x"), "y": (y, "y"), "loss": (height, "x", "y")}
        write(path, "surface", "trajectory_plane", measurement(**content))
    return Run(path)


def test_points_of_each_run_lie_where_the_file_says(tmp_path: Path) -> None:
    """Fails if coordinates are swapped, runs are mixed, or a loss stands in the other's place."""
    with context():
        figure = figure_trajectory([stored(tmp_path / "run.h5")])
    assert figure is not None
    left, above, below = figure.axes[:3]
    legend = left.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["one", "other"]
    drawn = [line.get_xydata().tolist() for line in left.lines if len(line.get_xdata()) > 1]
    assert drawn == [POINTS[:3].tolist(), POINTS[3:].tolist()]
    ends = [line.get_xydata().tolist() for line in left.lines if line.get_marker() == "*"]
    assert ends == [[[0.0, 0.0]], [[-1.0, 0.25]]]
    assert left.get_xlabel() == "axis 1 (63 % of the variance)"
    assert left.get_ylabel() == "axis 2 (17 %)"
    losses = [line.get_ydata().tolist() for line in above.lines if len(line.get_ydata())]
    assert losses == [[5.0, 2.0, 1.0], [9.0, 3.0, 1.0], [4.0, 3.0], [8.0, 7.0]]
    assert above.get_yscale() == "log"
    assert [line.get_ydata().tolist() for line in below.lines] == [[0.5, 0.25, 0.0], [0.75, 1.0]]
    assert below.get_ylim()[0] == 0


def test_the_plane_is_the_right_way_round(tmp_path: Path) -> None:
    """Fails without the transposition: level lines of a loss that rises along axis 1 alone are vertical."""
    with context():
        figure = figure_trajectory([stored(tmp_path / "run.h5")])
    assert figure is not None
    parts = [path.vertices for path in figure.axes[0].collections[0].get_paths() if len(path.vertices)]
    horizontal, vertical = np.concatenate(parts).T
    assert np.unique(np.round(vertical, 6)) == pytest.approx(np.linspace(-3, 3, 5), abs=1e-6)  # at grid rows only
    assert np.unique(np.round(horizontal, 6)).size > 15


def test_it_is_drawn_without_a_plane_and_where_training_diverged(tmp_path: Path) -> None:
    run = stored(tmp_path / "run.h5", plane=False, loss=(np.inf, np.nan, -1.0, 4.0, 3.0))
    assert [path.look.label for path in paths(run)] == ["one", "other"]
    names = [path.name for path in draw_run(run.path, tmp_path / "drawn")]
    assert names == ["trajectory.png", "trajectory.pdf"]
    figure = figure_trajectory([run])
    assert figure is not None
    assert figure.axes[1].get_yscale() == "linear"  # there is a negative loss


def test_a_file_without_a_trajectory_gives_no_figure(tmp_path: Path) -> None:
    write(tmp_path / "run.h5", "surface", "other", measurement(x=1.0))
    assert figure_trajectory([Run(tmp_path / "run.h5")]) is None
