"""Surfaces: the right way round, one scale for all, holes where there are no numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.store import write
from figures import Run, load_runs
from figures.plane import Plane, planes, stored_plane
from figures.scale import Scale, common_scale
from figures.surface import draw_contours, draw_surface, figure_contours, figure_surfaces
from tests.figures.synthetic import bowl, measurement, write_run


def plane_of(loss: np.ndarray) -> Plane:
    return Plane("a", np.linspace(-1, 1, loss.shape[0]), np.linspace(-2, 2, loss.shape[1]), loss)


def vertices(ax: Axes) -> np.ndarray:
    return np.concatenate([path.vertices for path in ax.collections[0].get_paths() if len(path.vertices)])


def test_first_index_of_the_loss_runs_along_the_horizontal_axis(ax: Axes) -> None:
    """Fails without the transposition: level lines of a loss that depends on x alone are vertical."""
    loss = np.repeat(np.linspace(0.0, 1.0, 5)[:, None], 7, axis=1)
    draw_contours(ax, plane_of(loss), common_scale([loss]))
    horizontal, vertical = vertices(ax).T
    assert np.unique(np.round(vertical, 6)) == pytest.approx(np.linspace(-2, 2, 7), abs=1e-6)  # at grid rows only
    assert np.unique(np.round(horizontal, 6)).size > 15  # and at a level line for each of 24 levels
    assert ax.get_xlabel() == "direction 1"


def test_diverged_cells_are_hatched_and_cells_not_computed_are_not(tmp_path: Path, ax: Axes) -> None:
    """Fails if a hole is taken for a divergence, or the mask is transposed."""
    loss = np.arange(1.0, 21.0).reshape(4, 5)
    done = np.ones((4, 5), dtype=bool)
    loss[0, 3], loss[2, 1], done[2, 1] = np.inf, np.nan, False
    content = {"x": (np.arange(4.0), "x"), "y": (np.arange(5.0), "y")}
    write(tmp_path / "run.h5", "surface", "plane", measurement(**content, loss=(loss, "x", "y"), done=(done, "x", "y")))
    plane = stored_plane(Run(tmp_path / "run.h5"), "surface/plane", "a")
    assert plane is not None
    draw_contours(ax, plane, common_scale([plane.loss]))
    (hatched,) = [found for found in ax.collections if found.get_hatch()]
    corners = np.concatenate([path.vertices for path in hatched.get_paths()])
    assert [corners.min(0).tolist(), corners.max(0).tolist()] == [[0.0, 2.5], [0.5, 3.5]]  # around x = 0, y = 3
    figure = figure_contours([Run(tmp_path / "run.h5")])
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["diverged"]


def test_one_is_labelled_as_ten_to_the_zero() -> None:
    """Fails if the scale begins a little below 1 and its first label reads ten to the minus zero."""
    ax = Figure().add_subplot(projection="3d")
    loss = np.geomspace(0.8, 80.0, 9).reshape(3, 3)
    draw_surface(ax, plane_of(loss), common_scale([loss]))
    assert [label.get_text() for label in ax.get_zticklabels()] == ["$10^{0}$", "$10^{1}$"]


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (np.linspace(0.2, 1.2, 9), ["0.25", "0.5", "0.75", "1"]),
        (np.linspace(0.15, 2.0, 9), ["0.2", "0.5", "1"]),  # not a single decade
        (np.linspace(2.30001, 2.30009, 9), [""]),  # too long for the room; the colour bar has them
    ],
)
def test_heights_are_labelled_where_there_is_room(loss: np.ndarray, labels: list[str]) -> None:
    ax = Figure().add_subplot(projection="3d")
    draw_surface(ax, plane_of(loss.reshape(3, 3)), common_scale([loss]))
    found = [label.get_text() for label in ax.get_zticklabels()]
    assert (found if found[0] else [""]) == labels
    assert len(found) >= 3


def test_height_is_the_loss_over_its_own_point_cut_at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    ax = Figure().add_subplot(projection="3d")
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(ax, "plot_surface", lambda x, y, height, **_: drawn.extend([x, y, height]))
    loss = np.array([[0.0, 0.5, 1.0], [2.0, 3.0, 9.0]])
    draw_surface(ax, plane_of(loss), Scale(Normalize(0, 3), np.linspace(0, 3, 5), 0.0, 3.0, is_clipped=True))
    assert [array.tolist() for array in drawn] == [
        [[-1.0] * 3, [1.0] * 3],
        [[-2.0, 0.0, 2.0]] * 2,
        [[0.0, 0.5, 1.0], [2.0, 3.0, 3.0]],
    ]
    assert ax.get_zlim() == (0.0, 3.0)


def test_all_panels_share_the_scale(runs: list[Run]) -> None:
    figure = figure_contours(runs)
    assert figure is not None
    panels = [ax for ax in figure.axes if ax.get_xlabel() == "direction 1"]
    assert [ax.get_title() for ax in panels] == ["SGD", "SGD + GC", "SAM", "GCSAM"]
    norms = {(ax.collections[0].norm.vmin, ax.collections[0].norm.vmax) for ax in panels}
    assert len(norms) == 1
    levels = {tuple(ax.collections[0].get_array()) for ax in panels}
    assert len(levels) == 1


def test_heights_share_the_scale(runs: list[Run]) -> None:
    figure = figure_surfaces(runs)
    assert figure is not None
    panels = [ax for ax in figure.axes if ax.name == "3d"]
    assert len(panels) == 4
    assert len({ax.get_zlim() for ax in panels}) == 1


def test_each_method_shows_its_first_seed(runs: list[Run]) -> None:
    found = planes(runs)
    assert [plane.loss[0, 5] for plane in found] == pytest.approx([1.001, 2.001, 3.001, 4.001])


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_cells_without_a_number_are_holes(tmp_path: Path, hole: float) -> None:
    whole = bowl(1.0)
    loss = whole["loss"][0].copy()
    loss[:4] = hole
    path = tmp_path / "a.h5"
    write(path, "surface", "plane", measurement(**{**whole, "loss": (loss, "x", "y")}))
    runs = load_runs([path])
    figure = figure_contours(runs)
    assert figure is not None
    assert vertices(figure.axes[0])[:, 0].min() == pytest.approx(0.0)  # x[4], the first with numbers
    assert figure_surfaces(runs) is not None


def test_nothing_but_holes_gives_no_figure(tmp_path: Path) -> None:
    whole = bowl(1.0)
    path = tmp_path / "a.h5"
    write(path, "surface", "plane", measurement(**{**whole, "loss": (np.full((9, 11), np.nan), "x", "y")}))
    empty = load_runs([path, write_run(tmp_path / "b.h5", "sgd", 0, without={"surface/plane"})])
    assert figure_contours(empty) is None
    assert figure_surfaces(empty) is None
