"""Gradient fields: arrows down a known loss, one length, the share as colour, a surface of the same plane beneath."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.quiver import Quiver

from analysis.store import Measurement, write
from figures import Run, draw_run
from figures.gradient import LENGTH, MAX_ARROWS, draw_gradient, figure_gradient, share_scale, stored_field
from tests.figures.synthetic import bowl, measurement

X, Y = np.linspace(-1, 1, 5), np.linspace(-0.5, 0.5, 3)
KEY = "surface/gradient"
DIRECTIONS = np.eye(2, 4)


def field_of(x: np.ndarray = X, y: np.ndarray = Y, **others: Any) -> Measurement:
    """Of the loss x + 3 y^2, whose two derivatives tell the axes apart."""
    slope = np.stack([np.ones((len(x), len(y))), np.broadcast_to(6 * y, (len(x), len(y)))])
    content: dict[str, Any] = {
        "x": (x, "x"),
        "y": (y, "y"),
        "slope": (slope, "direction", "x", "y"),
        "in_plane": (np.full((len(x), len(y)), 0.5), "x", "y"),
        "directions": (DIRECTIONS, "direction", "parameter"),
    }
    return measurement(of="GradientField", **{**content, **others})


def surface(points: int, directions: np.ndarray = DIRECTIONS, height: float = 0.0) -> Measurement:
    whole = bowl(1.0, points)
    loss = whole["loss"][0] + height
    directed = (directions, "direction", "parameter")
    return measurement(of="Surface", **{**whole, "loss": (loss, "x", "y")}, directions=directed)


def arrows(path: Path, ax: Axes) -> Quiver:
    field = stored_field(Run(path), KEY, "a")
    assert field is not None
    found = draw_gradient(ax, field, share_scale([field]))
    assert isinstance(found, Quiver)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(tmp_path / "run.h5", "surface", "gradient", field_of())
    return tmp_path / "run.h5"


def test_arrows_point_down_the_loss_and_have_one_length(file: Path, ax: Axes) -> None:
    """Fails with the sign of the gradient, with its components swapped, or where lengths follow the slope."""
    found = arrows(file, ax)
    along, up = found.U.reshape(5, 3), found.V.reshape(5, 3)
    assert found.get_offsets().reshape(5, 3, 2)[:, :, 0].tolist() == np.repeat(X[:, None], 3, axis=1).tolist()
    np.testing.assert_allclose(up / along, np.broadcast_to(6 * Y, (5, 3)), rtol=1e-12)
    assert (along < 0).all()
    assert np.hypot(along, up) == pytest.approx(LENGTH * 0.5)  # the points are 0.5 apart
    assert (found.angles, found.scale_units, found.scale) == ("xy", "xy", 1)  # in the units of the plane


def test_a_fine_grid_is_thinned(file: Path, ax: Axes) -> None:
    x = np.linspace(-1, 1, 41)
    write(file, "surface", "gradient", field_of(x))
    places = np.unique(np.asarray(arrows(file, ax).get_offsets())[:, 0])
    assert len(places) == 14 <= MAX_ARROWS
    assert np.isin(places, x).all()


def test_the_colour_is_the_share_and_a_missing_direction_has_no_arrow(file: Path, ax: Axes) -> None:
    share = np.linspace(0.1, 0.5, 15).reshape(5, 3)
    slope = np.ones((2, 5, 3))
    slope[:, 0, 1], slope[1, 2, 0] = 0.0, np.nan
    diverged = np.isnan(slope[1])
    content = field_of(slope=(slope, "direction", "x", "y"), in_plane=(share, "x", "y"), diverged=(diverged, "x", "y"))
    write(file, "surface", "gradient", content)
    found = arrows(file, ax)
    expected = np.delete(share.ravel(), [1, 6])
    assert np.asarray(found.get_array()).tolist() == expected.tolist()
    assert found.get_clim() == (0.0, 0.5)
    assert ax.get_legend_handles_labels()[1] == ["diverged"]


def test_shares_over_decades_are_logarithmic(file: Path) -> None:
    write(file, "surface", "gradient", field_of(in_plane=(np.geomspace(1e-6, 1e-3, 15).reshape(5, 3), "x", "y")))
    field = stored_field(Run(file), KEY, "a")
    assert field is not None
    assert share_scale([field]).is_log
    write(file, "surface", "gradient", field_of(in_plane=(np.zeros((5, 3)), "x", "y")))
    field = stored_field(Run(file), KEY, "a")
    assert field is not None
    assert share_scale([field]).top == 1.0


def test_the_finest_surface_of_the_same_plane_lies_beneath(file: Path) -> None:
    """Fails if the surface of another plane is drawn beneath the arrows, or one that does not reach them."""
    write(file, "surface", "elsewhere", surface(31, -DIRECTIONS, height=7.0))
    field = stored_field(Run(file), KEY, "a")
    assert field is not None
    assert field.surface is None
    write(file, "surface", "coarse", surface(5))
    write(file, "surface", "fine", surface(9))
    field = stored_field(Run(file), KEY, "a")
    assert field is not None
    assert field.surface is not None
    assert len(field.surface.x) == 9
    write(file, "surface", "gradient", field_of(2 * X))
    field = stored_field(Run(file), KEY, "a")
    assert field is not None
    assert field.surface is None


def test_a_surface_on_the_same_points_is_preferred(file: Path) -> None:
    write(file, "surface", "fine", surface(9))
    write(file, "surface", "same", surface(5))
    write(file, "surface", "gradient", field_of(X, np.linspace(-0.5, 0.5, 7)))  # as `bowl` has them
    field = stored_field(Run(file), KEY, "a")
    assert field is not None
    assert field.surface is not None
    assert len(field.surface.x) == 5


def test_level_lines_have_their_losses(file: Path, ax: Axes) -> None:
    write(file, "surface", "plane", surface(9))
    arrows(file, ax)
    levels = {f"{level:g}" for level in ax.collections[0].levels}  # type: ignore[attr-defined]
    assert {"0.02", "0.1", "0.5"} <= levels
    assert ax.texts
    assert {text.get_text() for text in ax.texts} <= levels


def test_a_run_shows_all_its_fields_and_a_study_one_of_each_method(file: Path, tmp_path: Path) -> None:
    write(file, "surface", "wide", field_of())
    other = tmp_path / "other.h5"
    write(other, "surface", "gradient", field_of())
    titles = []
    for runs in ([Run(file)], [Run(file), Run(other)]):
        figure = figure_gradient(runs)
        assert figure is not None
        titles.append([ax.get_title() for ax in figure.axes])
        assert "share" in figure.axes[-1].child_axes[0].get_ylabel()
    assert titles == [["gradient", "wide"], ["other", "run"]]
    assert [path.name for path in draw_run(other, tmp_path / "drawn", formats=("png",))] == ["gradient.png"]


def test_a_field_without_a_number_gives_no_figure(file: Path) -> None:
    write(file, "surface", "gradient", field_of(slope=(np.full((2, 5, 3), np.nan), "direction", "x", "y")))
    assert figure_gradient([Run(file)]) is None
