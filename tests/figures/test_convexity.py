"""Maps of curvature: each cell in the colour of its own ratio, one scale from 0, cells without a sure sign marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.store import Measurement, write
from figures import Run, compare_convexity, draw_run
from figures.convexity import MARK, UNSURE, draw_convexity, figure_convexity, ratio_scale, stored_map
from tests.figures.synthetic import measurement

X, Y = np.arange(3.0), 10 * np.arange(4.0)
RATIO = np.arange(12.0).reshape(3, 4) / 20


def map_of(ratio: np.ndarray, **others: Any) -> Measurement:
    """With lambda_max = 1, so that lambda_min = -ratio, and residuals of 0 unless `others` says otherwise."""
    content: dict[str, Any] = {
        "x": (X, "x"),
        "y": (Y, "y"),
        "ratio": (ratio, "x", "y"),
        "lambda_min": (-ratio - 1e-9, "x", "y"),
        "residuals": (np.zeros((2, 3, 4)), "end_of_spectrum", "x", "y"),
        "diverged": (np.zeros((3, 4), dtype=bool), "x", "y"),
        "done": (np.ones((3, 4), dtype=bool), "x", "y"),
    }
    return measurement(of="CurvatureMap", **{**content, **others})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for title, factor in (("deep", 1.0), ("shallow", 0.5)):
        found[title] = tmp_path / f"{title}.h5"
        write(found[title], "surface", "curvature", map_of(factor * RATIO))
    return found


def test_each_cell_has_the_colour_of_its_ratio_on_a_scale_from_0(files: dict[str, Path], ax: Axes) -> None:
    """Fails if the map is transposed, or the scale begins at the smallest ratio."""
    found = stored_map(Run(files["deep"]), "surface/curvature", "a")
    assert found is not None
    mesh = draw_convexity(ax, found, ratio_scale([found]))
    assert mesh.get_array().tolist() == RATIO.T.tolist()
    assert mesh.get_coordinates()[0, :, 0].tolist() == [0.0, 0.5, 1.5, 2.0]
    assert mesh.get_coordinates()[:, 0, 1].tolist() == [0.0, 5.0, 15.0, 25.0, 30.0]
    assert mesh.get_clim() == (0.0, 11 / 20)
    assert len(ax.collections) == 1  # nothing is hatched


def test_cells_whose_sign_is_not_known_are_marked_and_keep_their_colour(files: dict[str, Path], ax: Axes) -> None:
    """Fails if the residual of lambda_max is taken instead, or the mask is transposed."""
    residuals = np.zeros((2, 3, 4))
    residuals[0, 0, 0], residuals[1, 2, 1] = 99.0, 0.5  # lambda_min is -0.45 there
    diverged, ratio = np.zeros((3, 4), dtype=bool), RATIO.copy()
    diverged[1, 3], ratio[1, 3] = True, np.nan
    content = map_of(ratio, residuals=(residuals, "end_of_spectrum", "x", "y"), diverged=(diverged, "x", "y"))
    write(files["deep"], "surface", "curvature", content)
    found = stored_map(Run(files["deep"]), "surface/curvature", "a")
    assert found is not None
    mesh = draw_convexity(ax, found, ratio_scale([found]))
    assert mesh.get_array()[1, 2] == RATIO[2, 1]
    assert mesh.get_array().mask.sum() == 1
    corners = {
        str(hatched.get_label()): np.concatenate([path.vertices for path in hatched.get_paths()]).min(0).tolist()
        for hatched in ax.collections[1:]
    }
    assert corners == {"diverged": [0.5, 25.0], UNSURE: [1.5, 5.0]}
    assert ax.collections[2].get_edgecolor()[0, :3] == pytest.approx([0xD5 / 255, 0x5E / 255, 0])
    assert MARK == "#D55E00"
    figure = figure_convexity([Run(files["deep"])])
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["diverged", UNSURE]


def test_files_side_by_side_share_one_scale(files: dict[str, Path], tmp_path: Path) -> None:
    figure = compare_convexity(files, tmp_path / "both.pdf", preset="one-column")
    deep, shallow = figure.axes[:2]
    assert [ax.get_title() for ax in (deep, shallow)] == ["deep", "shallow"]
    assert deep.collections[0].get_clim() == shallow.collections[0].get_clim() == (0.0, 11 / 20)
    assert figure.get_size_inches()[0] == 5.5
    assert (tmp_path / "both.pdf").read_bytes().startswith(b"%PDF")
    assert "lambda" in figure.axes[-1].child_axes[0].get_ylabel()


def test_a_title_of_two_lines_and_a_legend_make_the_figure_higher_not_the_panels_smaller(
    files: dict[str, Path],
) -> None:
    plain = compare_convexity(files)
    done, residuals = np.ones((3, 4), dtype=bool), np.ones((2, 3, 4))
    done[1] = False
    unsure = (residuals, "end_of_spectrum", "x", "y")
    write(files["deep"], "surface", "curvature", map_of(RATIO, done=(done, "x", "y"), residuals=unsure))
    more = compare_convexity(files)
    assert more.legends
    assert more.get_figheight() == pytest.approx(plain.get_figheight() + 2.5 * 1.4 * 8 / 72)  # lines of 8 points


def test_a_scale_is_cut_only_for_a_few_cells(files: dict[str, Path]) -> None:
    found = stored_map(Run(files["deep"]), "surface/curvature", "a")
    assert found is not None
    assert not ratio_scale([found]).is_clipped
    found.ratio[:] = np.where(np.arange(12).reshape(3, 4) == 5, 100.0, 0.5)
    many = ratio_scale([found, found])
    assert many.is_clipped is False  # one cell in twelve is more than one in twenty
    found.ratio[:] = 0.0
    assert (ratio_scale([found]).bottom, ratio_scale([found]).top) == (0.0, 1.0)


def test_a_single_cell_beyond_all_others_is_cut() -> None:
    from figures.convexity import Map

    ratio = np.full((10, 10), 0.5)
    ratio[0, 0] = 100.0
    scale = ratio_scale([Map("a", np.arange(10.0), np.arange(10.0), ratio, None, None)])
    assert (scale.top, scale.is_clipped, scale.extend) == (0.5, True, "max")


def test_a_run_shows_all_its_maps_and_a_study_one_of_each_method(files: dict[str, Path], tmp_path: Path) -> None:
    write(files["deep"], "surface", "wide", map_of(RATIO))
    titles = []
    for runs in ([Run(files["deep"])], [Run(path) for path in files.values()]):
        figure = figure_convexity(runs)
        assert figure is not None
        titles.append([ax.get_title() for ax in figure.axes])
    assert titles == [["curvature", "wide"], ["deep", "shallow"]]
    assert [path.name for path in draw_run(files["shallow"], tmp_path / "a", formats=("png",))] == ["convexity.png"]


def test_a_half_finished_map_says_so_and_one_without_a_number_gives_none(files: dict[str, Path]) -> None:
    done = np.ones((3, 4), dtype=bool)
    done[1] = False
    write(files["deep"], "surface", "curvature", map_of(np.where(done, RATIO, np.nan), done=(done, "x", "y")))
    found = stored_map(Run(files["deep"]), "surface/curvature", "a")
    assert found is not None
    assert (found.title, found.ratio.tolist()) == ("a\n2 x 4 of 3 x 4", RATIO[[0, 2]].tolist())
    write(files["deep"], "surface", "curvature", map_of(np.full((3, 4), np.nan)))
    assert figure_convexity([Run(files["deep"])]) is None


def test_mistakes_are_one_line(files: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="a comparison needs at least one file, got none"):
        compare_convexity({})
    with pytest.raises(ValueError, match="holds no map of curvature 'no' with a finite cell, but surface/curvature;"):
        compare_convexity(files, name="no")
    write(files["deep"], "surface", "wide", map_of(RATIO))
    with pytest.raises(ValueError, match="holds 2 maps of curvature, curvature, wide; give the name of one"):
        compare_convexity(files)
    assert compare_convexity(files, name="curvature").axes[0].get_title() == "deep"
