"""What is drawn is what the files hold: lines, bars, dots and their errors."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from figures import Run, load_runs
from figures.accuracy import draw_accuracy, figure_accuracy, mean_interval
from figures.noise import draw_noise, figure_noise
from figures.sharpness import draw_sharpness, figure_sharpness
from figures.spectrum import draw_eigenvalues, figure_eigenvalues
from figures.style import METHODS, context
from figures.training import draw_curves, figure_training


def error_bars(ax: Axes) -> list[np.ndarray]:
    """The segments of each error bar."""
    return [np.array([part for part in bars.get_segments() if len(part)]) for bars in ax.collections]


def test_curves_are_the_seeds_and_their_mean(ax: Axes) -> None:
    draw_curves(ax, {"sam": np.array([[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]])}, "loss")
    *seeds, mean = (line.get_ydata() for line in ax.lines)
    assert np.array_equal(seeds, [[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]], equal_nan=True)
    assert mean.tolist() == [2.0, 3.0, 5.0]
    assert ax.lines[-1].get_xdata().tolist() == [1, 2, 3]
    assert {to_hex(line.get_color()).upper() for line in ax.lines} == {METHODS["sam"].color}


def test_training_has_a_panel_for_each_quantity(runs: list[Run]) -> None:
    figure = figure_training(runs)
    assert figure is not None
    loss, accuracy, ratio = figure.axes
    assert loss.get_yscale() == "log"
    assert accuracy.get_ylabel() == "validation accuracy [%]"
    assert max(line.get_ydata().max() for line in accuracy.lines) == pytest.approx(90.0)  # percent of 1 - 0.5 / 5
    assert len(ratio.lines) == 4 * (2 + 1)


def test_eigenvalue_bars_are_means_and_dots_are_seeds_with_residuals(ax: Axes) -> None:
    values = {"sgd": np.array([[4.0, 2.0], [6.0, np.nan]])}
    draw_eigenvalues(ax, values, {"sgd": np.array([[0.5, 0.25], [1.0, np.nan]])})
    assert [bar.get_height() for bar in ax.patches] == [5.0, 2.0]
    first = error_bars(ax)[0]
    assert first[:, :, 1].tolist() == [[3.5, 4.5], [1.75, 2.25]]  # value -+ residual
    dots = [line.get_ydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert dots[0] == [4.0, 2.0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [r"$\lambda_1$", r"$\lambda_2$"]


def test_on_a_logarithmic_axis_eigenvalues_are_points_and_means_lines(ax: Axes) -> None:
    """Fails if a bar is drawn, whose foot would say nothing, or a residual reaches below what the axis can show."""
    values = {"sgd": np.array([[4.0, 0.2], [6.0, 0.4]]), "sam": np.array([[8.0, 0.1], [8.0, 0.1]])}
    residuals = {"sgd": np.array([[0.5, 0.3], [1.0, 0.1]]), "sam": np.full((2, 2), 0.01)}
    draw_eigenvalues(ax, values, residuals, log=True)
    assert not ax.patches
    assert ax.get_yscale() == "log"
    means, first, *_ = error_bars(ax)
    assert means[:, :, 1].tolist() == [[5.0, 5.0], [pytest.approx(0.3)] * 2]
    assert means[:, :, 0].mean(1) == pytest.approx([0.8, 1.8])  # beside the group's middle, where its dots stand
    assert first[:, :, 1].tolist() == [[3.5, 4.5], [0.2, 0.5]]
    assert ax.get_legend_handles_labels()[1] == ["SGD", "SAM"]


def test_noise_points_are_the_numbers_and_open_ones_are_marked(ax: Axes) -> None:
    """Fails if they are bars, too: on a logarithmic axis the length of one says nothing."""
    numbers = np.array([10.0, np.inf])
    draw_noise(ax, ["conv", "all"], {"raw": (numbers, np.array([2.0, np.nan])), "control": (numbers / 2, numbers / 10)})
    assert [points[0].get_ydata().tolist() for points in ax.containers] == [[10.0], [5.0]]
    assert len(ax.patches) == 0
    assert [bars[:, :, 1].tolist() for bars in error_bars(ax)] == [[[8.0, 12.0]], [[4.0, 6.0]]]
    assert [text.get_text() for text in ax.texts] == [r"$\infty$"] * 2
    assert ax.get_yscale() == "log"


def test_noise_is_averaged_over_seeds_with_combined_errors(runs: list[Run]) -> None:
    figure = figure_noise(runs)
    assert figure is not None
    scale = figure.axes[3]  # relative noise of gcsam
    heights = scale.containers[0][0].get_ydata().tolist()
    mean = (4.0 + 4.1) / 2
    assert heights == pytest.approx([mean, 2 * mean, 3 * mean])  # two layers and all, raw
    low, high = error_bars(scale)[0][0][:, 1]
    assert (high - low) / 2 == pytest.approx(np.hypot(4.0, 4.1) / 2)
    assert [tick.get_text() for tick in figure.axes[4].get_xticklabels()] == ["features.0", "head.1", "all"]


def test_sharpness_dots_are_seeds_with_their_mean(ax: Axes) -> None:
    draw_sharpness(ax, {"gc": np.array([1.0, 3.0])}, {"gc": np.array([0.5, np.nan])})
    assert ax.lines[0].get_ydata().tolist() == [1.0, 3.0]
    assert ax.lines[-1].get_ydata().tolist() == [2.0, 2.0]
    assert error_bars(ax)[0][:, :, 1].tolist() == [[0.5, 1.5], [3.0, 3.0]]
    assert ax.get_yscale() == "log"


def test_sharpness_that_is_not_positive_is_drawn_on_a_linear_axis(ax: Axes) -> None:
    draw_sharpness(ax, {"gc": np.array([0.0, 3.0])}, {})
    assert ax.get_yscale() == "linear"


def test_sharpness_says_its_radius(runs: list[Run]) -> None:
    figure = figure_sharpness(runs)
    assert figure is not None
    assert [ax.get_title().split("\n")[-1] for ax in figure.axes] == [r"$\rho$ = 0.05"] * 4
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx([0.1, 0.11])  # sgd, average case


@pytest.mark.parametrize(("preset", "rows"), [("two-column", 1), ("one-column", 2)])
def test_sharpness_breaks_into_rows_where_the_page_is_narrow(runs: list[Run], preset: str, rows: int) -> None:
    with context(preset):
        figure = figure_sharpness(runs)
    assert figure is not None
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (rows, 4 / rows)
    assert [ax.get_ylabel() != "" for ax in figure.axes] == [True, False, rows == 2, False]


def test_accuracy_joins_what_is_paired_and_gives_the_t_interval(ax: Axes) -> None:
    draw_accuracy(ax, {"sgd": {0: 0.50, 1: 0.54}, "sam": {0: 0.52, 1: 0.56}})
    joined = [line.get_ydata().tolist() for line in ax.lines if line.get_color() == "0.8"]
    assert joined == [pytest.approx([50.0, 52.0]), pytest.approx([54.0, 56.0])]
    low, high = error_bars(ax)[0][0][:, 1]
    # t quantile 12.706 for one degree of freedom (any table), deviation 4 / sqrt 2, n = 2
    assert (high - low) / 2 == pytest.approx(12.7062 * 4 / 2, rel=1e-4)


def test_an_interval_of_accuracies_ends_at_100_percent_and_says_so(runs: list[Run]) -> None:
    """Fails if a bar goes where no accuracy can be, or the reader is not told that it was cut."""
    found = mean_interval([98.0, 100.0])
    # t quantile 12.706 for one degree of freedom, deviation 2 / sqrt 2, n = 2
    assert (found.mean, found.high, found.is_cut) == (99.0, 100.0, True)
    assert found.low == pytest.approx(99 - 12.7062, rel=1e-5)
    assert mean_interval([0.0, 2.0]).low == 0.0
    assert mean_interval([90.0, 90.1]).is_cut is False
    alone = mean_interval([90.0])
    assert (alone.mean, alone.is_cut) == (90.0, False)
    assert np.isnan([alone.low, alone.high]).all()
    few = Figure().subplots()
    draw_accuracy(few, {"sgd": {0: 0.98, 1: 1.0}})
    assert error_bars(few)[0][0][:, 1].tolist() == [found.low, 100.0]
    told = []
    for accuracy in (0.9, 0.999):
        own = load_runs([runs[0].path, runs[4].path])  # of one method; those of all tests are only read
        for run in own:
            run.measurements["training/summary"].variables["test_accuracy"].data[...] = accuracy + 0.001 * run.seed
        figure = figure_accuracy(own)
        assert figure is not None
        told.append("cut at 0 and 100%" in figure.axes[0].get_xlabel())
    assert told == [False, True]


def test_a_single_accuracy_makes_no_figure(runs: list[Run]) -> None:
    assert figure_accuracy(runs[:1]) is None
    assert figure_accuracy(runs[:2]) is not None


@pytest.mark.parametrize("make", [figure_training, figure_eigenvalues, figure_noise, figure_sharpness])
def test_no_measurement_no_figure(make) -> None:
    assert make([]) is None
