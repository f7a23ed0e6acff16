"""The figure of the spectral density: its curves are those of the result in torch, its bumps where the spectrum is.

Blind to the quadrature itself, which `tests/analysis/curvature/test_density.py` compares with known spectra.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.integrate import trapezoid

from analysis import SpectralDensity, spectral_density
from analysis.store import write
from figures import FIGURES, Run, draw_run, load_runs
from figures.density import densities, draw_density, figure_density
from figures.style import context, look
from tests.analysis.curvature.operators import with_spectrum
from tests.figures.synthetic import measurement

BULK = torch.linspace(-0.3, 1, 95).double()


def write_density(path: Path, method: str, seed: int, top: float = 9.0, **options: int) -> SpectralDensity:
    """A Hessian with a bulk, and three eigenvalues outside of it."""
    spectrum = torch.cat([BULK, torch.tensor([-2.0, 5.0, top]).double()])
    found = spectral_density(with_spectrum(spectrum), seed=seed, **{"probes": 4, "steps": 25, **options})
    found.save(path, "density")
    write(path, "training", "summary", measurement(method=method, seed=seed))
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Run], dict[tuple[str, int], SpectralDensity]]:
    folder = tmp_path_factory.mktemp("density")
    tops = {("sgd", 0): 9.0, ("sgd", 1): 10.0, ("gcsam", 0): 7.0, ("gcsam", 1): 7.5}
    made = {key: write_density(folder / f"{key[0]}-{key[1]}.h5", *key, top) for key, top in tops.items()}
    return load_runs(sorted(folder.glob("*.h5"))), made


def test_curves_are_those_of_the_result(stored: tuple[list[Run], dict[tuple[str, int], SpectralDensity]]) -> None:
    """Fails if nodes of other probes are mixed, weights are left out, or methods have kernels of their own."""
    runs, made = stored
    found = densities(runs)
    assert found is not None
    assert list(found.curves) == ["sgd", "gcsam"]
    nodes = torch.cat([each.nodes.ravel() for each in made.values()])
    assert found.width == pytest.approx(0.01 * float(nodes.max() - nodes.min()))
    for (method, seed), each in made.items():
        expected = each.density(torch.from_numpy(found.grid), found.width).numpy()
        np.testing.assert_allclose(found.curves[method][seed], expected, rtol=1e-10, atol=1e-10 * expected.max())


def test_one_run_is_smoothed_as_the_result_would_be_by_itself(tmp_path: Path) -> None:
    made = write_density(tmp_path / "a.h5", "sgd", 0)
    found = densities([Run(tmp_path / "a.h5")])
    assert found is not None
    expected = made.density(torch.from_numpy(found.grid)).numpy()
    np.testing.assert_allclose(found.curves["sgd"], expected[None], rtol=1e-10, atol=1e-10 * expected.max())


def test_the_integral_is_one_and_the_grid_holds_all_of_it(
    stored: tuple[list[Run], dict[tuple[str, int], SpectralDensity]],
) -> None:
    """The trapezoidal rule at five points a width is exact for a Gaussian to exp(-2 pi^2 25); six widths leave 1e-9."""
    found = densities(stored[0])
    assert found is not None
    for curves in found.curves.values():
        assert trapezoid(curves, found.grid) == pytest.approx(np.ones(len(curves)), abs=2e-9)


def test_bumps_stand_where_the_eigenvalues_are(tmp_path: Path) -> None:
    """A Hessian of three values: the quadrature is exact, so is the curve, and one in 200 can be seen."""
    spectrum = torch.tensor([4.0, -2.0] + 198 * [0.0]).double()
    spectral_density(with_spectrum(spectrum), probes=400, steps=3).save(tmp_path / "a.h5", "density")
    found = densities([Run(tmp_path / "a.h5")])
    assert found is not None
    curve = found.curves["a"][0]
    inner = (curve[1:-1] > curve[:-2]) & (curve[1:-1] > curve[2:])
    # a step of the grid is a fifth of the width of 0.06
    assert found.grid[1:-1][inner] == pytest.approx([-2, 0, 4], abs=0.012 / 2 + 1e-9)
    # a share of 400 probes: mean of chi-square_1 / D, relative error sqrt(2 / 400) = 7 %, times z = 4
    heights = curve[1:-1][inner]
    assert heights[[0, 2]] == pytest.approx([found.single] * 2, rel=0.28)
    assert found.negative["a"] == pytest.approx(1 / 200, rel=0.28)
    assert (found.least["a"], found.largest["a"]) == pytest.approx((-2, 4))
    assert heights[1] == pytest.approx(198 / 200 * found.zero.max(), rel=0.01)


def test_the_foot_is_where_the_curve_of_zeros_meets_the_floor(
    stored: tuple[list[Run], dict[tuple[str, int], SpectralDensity]],
) -> None:
    found = densities(stored[0])
    assert found is not None
    assert trapezoid(found.zero, found.grid) == pytest.approx(1.0, abs=1e-9)
    step = found.grid[1] - found.grid[0]
    assert np.abs(found.grid[found.zero >= found.floor]).max() == pytest.approx(found.foot, abs=step)
    assert found.floor == pytest.approx(0.1 / (98 * found.width * math.sqrt(2 * math.pi)))


def test_lines_are_means_over_seeds_and_bands_their_range(
    ax: Axes, stored: tuple[list[Run], dict[tuple[str, int], SpectralDensity]]
) -> None:
    found = densities(stored[0])
    assert found is not None
    lines = draw_density(ax, found)
    assert [line.get_label() for line in lines] == ["SGD", "GCSAM"]
    for line, name in zip(lines, ("sgd", "gcsam"), strict=True):
        assert to_hex(line.get_color()) == to_hex(look(name).color)
        mean = found.curves[name].mean(0)
        assert line.get_xdata() == pytest.approx(found.grid)
        shown = mean >= found.floor
        assert line.get_ydata()[shown] == pytest.approx(mean[shown])
        assert line.get_ydata()[~shown].max() < found.floor  # out of sight
        assert line.get_ydata().min() == pytest.approx(found.floor / 10)  # and no zero, which has no place
    band = ax.collections[1].get_paths()[0].vertices
    peak = np.abs(band[:, 0] - 9) < 0.05  # of the first seed alone: the other has its eigenvalue at 10
    assert band[peak, 1].max() == pytest.approx(found.curves["sgd"][0][np.abs(found.grid - 9) < 0.05].max())
    assert band[peak, 1].min() < found.floor
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] == pytest.approx(found.floor)
    assert ax.get_ylim()[1] > max(curves.max() for curves in found.curves.values())
    assert ax.get_xlim()[0] < -2
    legend = ax.get_legend()
    assert legend.get_title().get_text() == f"Gaussian kernel of width {found.width:.2g}"
    assert [text.get_text() for text in legend.get_texts()] == ["one eigenvalue", "all eigenvalues at zero"]


@pytest.mark.parametrize(("sign", "place"), [(1.0, "upper right"), (-1.0, "upper left")])
def test_the_legend_stands_away_from_the_bulk(tmp_path: Path, sign: float, place: str) -> None:
    spectrum = sign * torch.cat([BULK, torch.tensor([9.0]).double()])
    spectral_density(with_spectrum(spectrum), probes=2, steps=20).save(tmp_path / "a.h5", "density")
    with context():
        figure = figure_density([Run(tmp_path / "a.h5")])
    assert figure is not None
    figure.canvas.draw()
    ax = figure.axes[0]
    box = ax.get_legend().get_window_extent()
    zero = ax.transData.transform((0, 1))[0]
    assert (box.x0 > zero) if place == "upper right" else (box.x1 < zero)


def test_what_is_not_finite_is_left_out_and_counted(tmp_path: Path) -> None:
    made = write_density(tmp_path / "a.h5", "sgd", 0)
    broken = {
        "nodes": (np.where(np.arange(4)[:, None] == 1, np.nan, made.nodes.numpy()), "probe", "step"),
        "weights": (made.weights.numpy(), "probe", "step"),
    }
    write(tmp_path / "b.h5", "curvature", "density", measurement(**broken, num_parameters=98))
    zeros = {name: (np.zeros((2, 3)), "probe", "step") for name in ("nodes", "weights")}
    write(tmp_path / "c.h5", "curvature", "density", measurement(**zeros, num_parameters=98))
    found = densities(load_runs(sorted(tmp_path.glob("*.h5"))))
    assert found is not None
    assert (list(found.curves), found.num_left_out) == (["sgd"], 2)
    assert figure_density(load_runs([tmp_path / "b.h5", tmp_path / "c.h5"])) is None
    assert figure_density([]) is None


def test_a_hessian_of_one_eigenvalue_is_one_bump(tmp_path: Path) -> None:
    """Fails if a range of zero gives a kernel of no width."""
    spectral_density(with_spectrum(torch.full((5,), 3.0).double()), probes=2).save(tmp_path / "a.h5", "density")
    found = densities([Run(tmp_path / "a.h5")])
    assert found is not None
    assert found.grid[found.curves["a"][0].argmax()] == pytest.approx(3.0, rel=1e-5)
    assert trapezoid(found.curves["a"][0], found.grid) == pytest.approx(1.0, abs=1e-6)


def test_it_is_drawn_with_the_run(tmp_path: Path) -> None:
    assert FIGURES["density"] is figure_density
    write_density(tmp_path / "run.h5", "sgd", 0)
    assert {path.name for path in draw_run(tmp_path / "run.h5", tmp_path / "out")} == {"density.png", "density.pdf"}
    assert isinstance(figure_density([Run(tmp_path / "run.h5")]), Figure)
