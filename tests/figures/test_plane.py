"""Planes as they are read: the masks of the file, and what is drawn of a surface that is not finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.store import write
from figures import Run
from figures.plane import Plane, stored_plane
from figures.scale import common_scale
from figures.surface import draw_contours, draw_surface
from tests.figures.synthetic import measurement

KEY = "surface/plane"
LOSS = np.arange(1.0, 46.0).reshape(9, 5)


def stored(folder: Path, loss: np.ndarray, **masks: np.ndarray) -> Plane | None:
    content: dict[str, Any] = {name: (mask, "x", "y") for name, mask in masks.items()}
    axes = {"x": (np.arange(9.0), "x"), "y": (10 * np.arange(5.0), "y")}
    write(folder / "run.h5", "surface", "plane", measurement(**axes, loss=(loss, "x", "y"), **content))
    return stored_plane(Run(folder / "run.h5"), KEY, "title")


def test_a_half_finished_surface_shows_its_coarse_grid(tmp_path: Path) -> None:
    """Fails if the picture has holes, or the points are not those of the file."""
    done = np.zeros((9, 5), dtype=bool)
    done[::2, ::2] = done[1, :] = True
    plane = stored(tmp_path, np.where(done, LOSS, np.nan), done=done, diverged=np.zeros_like(done))
    assert plane is not None
    assert plane.x.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert plane.y.tolist() == [0.0, 20.0, 40.0]
    assert plane.loss.tolist() == LOSS[::2, ::2].tolist()
    assert plane.title == "title\n5 x 3 of 9 x 5"
    assert plane.diverged is not None
    assert plane.diverged.shape == (5, 3)


def test_the_picture_of_a_part_has_the_axes_of_the_whole(tmp_path: Path, ax: Axes) -> None:
    """Fails if a surface fills its panel before it is finished: beside a whole one it would seem to be as large."""
    done = np.zeros((9, 5), dtype=bool)
    done[:4] = True
    plane = stored(tmp_path, np.where(done, LOSS, np.nan), done=done)
    assert plane is not None
    draw_contours(ax, plane, common_scale([plane.loss]))
    assert (ax.get_xlim(), ax.get_ylim()) == ((0.0, 8.0), (0.0, 40.0))
    solid: Any = Figure().add_subplot(projection="3d")
    draw_surface(solid, plane, common_scale([plane.loss]))
    assert (*solid.get_xlim(), *solid.get_ylim()) == pytest.approx((-0.16, 8.16, -0.8, 40.8))  # with 2 % of room


def test_a_surface_too_young_for_a_grid_shows_what_there_is(tmp_path: Path) -> None:
    done = np.zeros((9, 5), dtype=bool)
    done[4, 2] = True
    plane = stored(tmp_path, np.where(done, LOSS, np.nan), done=done)
    assert plane is not None
    assert (plane.loss.shape, plane.title) == ((9, 5), "title")


def test_the_stored_mask_says_what_diverged(tmp_path: Path) -> None:
    """Fails if the mask is guessed where it is stored: a finite cell may have been marked."""
    diverged = np.zeros((9, 5), dtype=bool)
    diverged[3, 1] = True
    plane = stored(tmp_path, LOSS, done=np.ones((9, 5), dtype=bool), diverged=diverged)
    assert plane is not None
    assert plane.diverged is not None
    assert np.argwhere(plane.diverged).tolist() == [[3, 1]]


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_without_the_stored_mask_it_is_what_was_done_and_is_no_number(tmp_path: Path, hole: float) -> None:
    loss = LOSS.copy()
    loss[3, 1] = hole
    plane = stored(tmp_path, loss, done=np.ones((9, 5), dtype=bool))
    assert plane is not None
    assert plane.diverged is not None
    assert np.argwhere(plane.diverged).tolist() == [[3, 1]]
    assert np.isnan(plane.loss[3, 1])
    bare = stored(tmp_path, loss)  # without `done` nobody knows what was computed
    assert bare is not None
    assert bare.diverged is None
