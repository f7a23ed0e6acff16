"""The spectral density in a report: the curves and numbers of the files, and an axis that ends at its floor."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import load
from analysis.store import write
from figures.density import densities
from figures.reading import Run, load_runs
from figures.report.build import build
from figures.report.content import Panel, Picture, Series
from figures.report.density import spectral_density
from figures.report.panels import figure_json
from figures.report.wording import number
from tests.figures.synthetic import measurement, write_run
from tests.figures.test_density import write_density


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("density")
    for seed, top in enumerate((9.0, 10.0)):
        write_density(folder / f"sam-{seed}.h5", "sam", seed, top)
    write_density(folder / "gcsam-0.h5", "gcsam", 0, 7.0)
    return sorted(folder.glob("*.h5"))


def test_the_panel_has_the_curves_of_the_results(paths: list[Path]) -> None:
    """Fails if seeds are mixed, or a method has a kernel of its own; six digits are 5e-6."""
    runs = load_runs(paths)
    found, picture = densities(runs), spectral_density(runs)
    assert found is not None
    assert picture is not None
    (panel,) = picture.panels
    assert [series.name for series in panel.series] == list(picture.legend) == ["sam", "gcsam"]
    assert picture.png == "density"
    assert (panel.is_log, panel.origin, panel.floor) == (True, 0.0, found.floor)
    sam, gcsam = panel.series
    grid = torch.tensor(sam.x, dtype=torch.float64)
    # of a grid of six digits: the slope of a kernel is at most its height times 0.6 / width
    near = 5e-6 * 10 * 0.6 / found.width * float(np.max(sam.high))
    curves = [load(path, "curvature/density").density(grid, found.width).numpy() for path in paths]
    np.testing.assert_allclose(gcsam.y, curves[0], rtol=1e-5, atol=near)
    np.testing.assert_allclose(sam.y, (curves[1] + curves[2]) / 2, rtol=1e-5, atol=near)
    np.testing.assert_allclose(sam.low, np.minimum(curves[1], curves[2]), rtol=1e-5, atol=near)
    np.testing.assert_allclose(sam.high, np.maximum(curves[1], curves[2]), rtol=1e-5, atol=near)
    assert len(gcsam.low) == 0


def test_the_sentence_has_the_numbers_of_the_files(paths: list[Path]) -> None:
    runs = load_runs(paths)
    picture, found = spectral_density(runs), densities(runs)
    assert found is not None
    assert picture is not None
    stored = {path.stem: load(path, "curvature/density") for path in paths}
    shares = {name: float((each.weights * (each.nodes < -found.width)).sum(1).mean()) for name, each in stored.items()}
    sam = number(50 * (shares["sam-0"] + shares["sam-1"]), 2)
    assert (
        f"below {number(-found.width, 2)}, minus one width: SAM {sam} % and "
        f"GCSAM {number(100 * shares['gcsam-0'], 2)} %." in picture.words
    )
    assert picture.words.endswith(
        "Least node, mean over seeds: SAM −2 and GCSAM −2. Largest node: SAM 9.5 and GCSAM 7."
    )
    assert f"width {number(found.width, 2)} for all methods, 1 % of the range of all nodes" in picture.caption
    assert "probes and seeds; the band is from the lowest to the highest seed." in picture.caption
    assert f"One of the 98 eigenvalues is {number(found.single, 2)} high; the axis ends at 0.1 of" in picture.caption
    alone = spectral_density(runs[:1])
    assert alone is not None
    assert "mean over probes and seeds. It" in alone.caption
    assert "Left out" not in alone.caption


def test_it_stands_among_the_eigenvalues_or_nowhere(tmp_path: Path) -> None:
    def pictures() -> list[str]:
        report = build(None, [Run(tmp_path / "run.h5")])
        (section,) = [one for one in report.sections if one.name == "eigenvalues"]
        return [block.name for block in section.blocks if isinstance(block, Picture)]

    write_run(tmp_path / "run.h5", "sam", 0)
    assert pictures() == ["eigenvalues"]
    write_density(tmp_path / "other.h5", "sam", 0)
    load(tmp_path / "other.h5", "curvature/density").save(tmp_path / "run.h5", "density")
    assert pictures() == ["eigenvalues", "density"]


def test_runs_that_are_left_out_are_told(tmp_path: Path, paths: list[Path]) -> None:
    broken = {name: (np.full((2, 3), np.nan), "probe", "step") for name in ("nodes", "weights")}
    write(tmp_path / "nan.h5", "curvature", "density", measurement(**broken, num_parameters=98))
    picture = spectral_density(load_runs([*paths, tmp_path / "nan.h5"]))
    assert picture is not None
    assert picture.caption.endswith(" Left out: 1 run with nodes that are not finite, or all zero.")
    assert spectral_density(load_runs([tmp_path / "nan.h5"])) is None


def test_an_axis_ends_at_its_floor_and_lines_leave_through_it() -> None:
    """Fails if zeros tear a line or its band, or stretch the axis; the numbers to be saved stay as they are."""
    series = Series("sam", [-1.0, 0.0, 1.0], [0.0, 10.0, 1e-30], [0.0, 5.0, 0.0], [0.5, 20.0, 0.05])
    panel = Panel("lines", "t", series=(series,), is_log=True, origin=0.0, floor=0.1)
    figure = json.loads(figure_json(panel, Picture("p", "t", "", "", (panel,), "")))
    assert [trace["y"] for trace in figure["data"]] == [[0.01, 5.0, 0.01], [0.5, 20.0, 0.05], [0.01, 10.0, 0.01]]
    low, high = figure["layout"]["yaxis"]["range"]
    assert low == pytest.approx(-1)
    assert math.log10(20) < high < 2
    assert figure["layout"]["yaxis"]["tickvals"] == [0.1, 1.0, 10.0, 100.0]
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [0.0]
    assert Picture("p", "t", "", "", (panel,), "").numbers()["y"] == [0.0, 10.0, 1e-30]
