"""The figure of tails: curves are shares of the stored numbers, the band is Gaussian, the legend has the exponents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from scipy.stats import norm

from analysis.store import Measurement, write
from figures import FIGURES, Run, draw_run, load_runs
from figures.style import KINDS, context, look
from figures.tails import draw_tails, exceeded, figure_tails, gaussian_band
from tests.figures.fit import clashes
from tests.figures.synthetic import METHODS, WITH_CONTROLS, measurement


def of_kind(projections: np.ndarray, value: float) -> Measurement:
    numbers = {"value": value, "interval_low": value - 0.25, "interval_high": value + 0.5}
    gaussian = {"gaussian": 6.0, "gaussian_low": 5.5, "gaussian_high": 6.75}
    hill = measurement(**numbers, **gaussian)
    total = measurement({"projection_hill": hill}, projections=(projections, "projection", "sample"))
    return measurement({"total": total})


def write_tails(path: Path, method: str, seed: int, raw: Any, value: float = 1.5) -> Run:
    raw = np.asarray(raw, dtype=float)
    kinds = {"raw": of_kind(raw, value), "centralized": of_kind(raw**3, value + 1)}
    write(path, "noise", "tails", measurement(kinds, of="GradientTails"))
    write(path, "training", "summary", measurement(method=method, seed=seed))
    return Run(path)


def gaussian(seed: int = 0, shape: tuple[int, int] = (4, 60)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_sizes_are_in_deviations_of_their_own_direction() -> None:
    """Fails if one scale is taken for all directions, or the mean is taken off deviations."""
    found = exceeded(np.array([[3.0, -1.0, 1.0, 1.0], [-300.0, 100.0, 100.0, 100.0], [0.0, 0.0, 0.0, 0.0]]))
    unit = 1 / np.sqrt(3)
    assert found == pytest.approx([3 * unit] * 2 + [unit] * 6 + [0] * 4)


def test_the_curve_is_the_share_of_larger_numbers(ax: Axes) -> None:
    numbers = exceeded(np.array([[8.0, -4.0, 2.0, 1.0]]))
    draw_tails(ax, [("raw", "found", numbers)], gaussian_band(gaussian()))
    (line,) = ax.lines
    assert line.get_xdata() == pytest.approx(numbers)
    assert line.get_ydata() == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert to_hex(line.get_color()) == to_hex(KINDS["raw"].color)
    assert ax.get_xlim()[1] > numbers[0]


def test_long_curves_keep_their_ends(ax: Axes) -> None:
    numbers = exceeded(gaussian(shape=(10, 2000)))
    draw_tails(ax, [("raw", "found", numbers)], gaussian_band(gaussian()))
    x, y = ax.lines[0].get_xdata(), ax.lines[0].get_ydata()
    assert 100 < len(x) <= 400
    assert (x[0], y[0]) == (numbers[0], 1 / 20000)
    assert (x[-1], y[-1]) == (numbers[-1], 1.0)
    ranks = np.round(y * 20000).astype(int) - 1
    assert x == pytest.approx(numbers[ranks])


def test_the_band_holds_gaussian_numbers_as_often_as_it_says() -> None:
    """60 draws at three ranks each: 95 %, four standard errors of a share are 0.11."""
    low, high = gaussian_band(gaussian(shape=(4, 100)))
    found = np.array([exceeded(gaussian(seed, (4, 100))) for seed in range(1, 61)])
    for rank in (0, 20, 200):
        share = np.mean((low[rank] <= found[:, rank]) & (found[:, rank] <= high[rank]))
        assert share >= 0.95 - 0.11
        # the middle of the band is the Gaussian's own quantile; the largest is not, its law is skewed
        assert rank == 0 or (low[rank] + high[rank]) / 2 == pytest.approx(norm.isf((rank + 0.5) / 800), rel=0.05)


def test_the_band_is_as_wide_as_directions_that_agree_make_it() -> None:
    """Fails if draws are of independent directions: ten copies of one direction say no more than one."""
    copies, apart = gaussian(shape=(1, 200)).repeat(10, 0), gaussian(shape=(10, 200))
    widths = [high[200] - low[200] for low, high in map(gaussian_band, (copies, apart))]
    assert widths[0] > 2 * widths[1]


def test_a_panel_for_each_method_with_its_exponents(tmp_path: Path) -> None:
    runs = [
        write_tails(tmp_path / "a.h5", "gcsam", 0, gaussian(1), 1.25),
        write_tails(tmp_path / "b.h5", "sgd", 0, gaussian(2), 1.5),
        write_tails(tmp_path / "c.h5", "sgd", 1, gaussian(3), 1.75),
    ]
    with context():
        figure = figure_tails(runs)
    assert figure is not None
    sgd, gcsam = figure.axes
    legends = [ax.get_legend() for ax in (sgd, gcsam)]
    assert [legend.get_title().get_text() for legend in legends] == ["SGD", "GCSAM"]
    assert [text.get_text() for text in legends[1].get_texts()] == [
        r"Gaussian: $\alpha$ = 6.00 [5.50, 6.75]",
        r"raw: $\alpha$ = 1.25 [1.00, 1.75]",
        r"centralized: $\alpha$ = 2.25 [2.00, 2.75]",
    ]
    assert [text.get_text() for text in legends[0].get_texts()][1] == r"raw: $\alpha$ = 1.50 to 1.75, 2 seeds"
    assert (len(sgd.lines), len(gcsam.lines)) == (4, 2)
    assert gcsam.lines[0].get_xdata()[0] == pytest.approx(exceeded(gaussian(1))[0])
    assert gcsam.lines[1].get_xdata()[0] == pytest.approx(exceeded(gaussian(1) ** 3)[0])
    assert sgd.get_ylabel()
    assert not gcsam.get_ylabel()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_make_no_curve(tmp_path: Path, bad: float) -> None:
    broken = gaussian()
    broken[1, 2] = bad
    with np.errstate(invalid="ignore"):
        run = write_tails(tmp_path / "a.h5", "sgd", 0, broken)
    assert figure_tails([run]) is None
    zero = write_tails(tmp_path / "b.h5", "sgd", 0, np.zeros((4, 60)))
    assert figure_tails([zero]) is None
    assert figure_tails([]) is None


def test_an_exponent_that_is_not_there_is_said(tmp_path: Path) -> None:
    figure = figure_tails([write_tails(tmp_path / "a.h5", "sgd", 0, gaussian(), np.nan)])
    assert figure is not None
    assert figure.axes[0].get_legend().get_texts()[1].get_text() == r"raw: no $\alpha$"


def test_five_methods_fill_rows_of_two(tmp_path: Path) -> None:
    methods = ("sgd", "gc", "sam", "gcsam", "own")
    for method in methods:
        write_tails(tmp_path / f"{method}.h5", method, 0, gaussian())
    figure = figure_tails(load_runs([tmp_path / f"{method}.h5" for method in methods]))
    assert figure is not None
    assert len(figure.axes) == 5
    assert [bool(ax.get_xlabel()) for ax in figure.axes] == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("preset", "methods", "shape"),
    [("two-column", WITH_CONTROLS, (3, 4)), ("one-column", METHODS, (2, 2))],
)
def test_narrow_panels_have_one_legend_of_kinds(
    tmp_path: Path, preset: str, methods: tuple[str, ...], shape: tuple[int, int]
) -> None:
    """Fails if every panel names the kinds, wider than it is, or equal exponents take one entry of a legend."""
    runs = [write_tails(tmp_path / f"{method}.h5", method, 0, gaussian(), 1.0) for method in methods]
    with context(preset):
        figure = figure_tails(runs)
        assert figure is not None
        assert clashes(figure) == []
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Gaussian", "raw", "centralized"]
    legends = [ax.get_legend() for ax in figure.axes]
    assert {legend.get_title().get_text() for legend in legends} == {look(method).label for method in methods}
    exponents = [r"$\alpha$ = 6.00 [5.50, 6.75]", r"$\alpha$ = 1.00 [0.75, 1.50]", r"$\alpha$ = 2.00 [1.75, 2.50]"]
    assert [[text.get_text() for text in legend.get_texts()] for legend in legends] == [exponents] * len(methods)
    assert figure.axes[0].get_subplotspec().get_geometry()[:2] == shape


def test_equal_exponents_are_both_named(ax: Axes) -> None:
    """Fails if what was named is kept by its text instead of its kind."""
    numbers = exceeded(gaussian())
    draw_tails(
        ax, [("raw", "same", numbers), ("raw", "same", numbers), ("centralized", "same", numbers)], (numbers,) * 2
    )
    assert ax.get_legend_handles_labels()[1] == ["Gaussian", "same", "same"]


def test_it_is_drawn_with_the_run(tmp_path: Path) -> None:
    assert FIGURES["tails"] is figure_tails
    run = write_tails(tmp_path / "run.h5", "sgd", 0, gaussian())
    written = draw_run(run.path, tmp_path / "figures")
    assert {path.name for path in written} == {"tails.png", "tails.pdf"}
