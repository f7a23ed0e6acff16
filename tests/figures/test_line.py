"""Lines: a panel for each quantity, a column for each line or method, one scale where they are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.store import write
from figures import Run, draw_run
from figures.curves import Curve
from figures.line import SPLITS, draw_line, figure_lines
from figures.style import PRESETS, context, look
from tests.figures.fit import clashes
from tests.figures.synthetic import WITH_CONTROLS, curve, measurement

T = np.linspace(-1, 1, 5)


def run_with(path: Path, method: str, steepness: float, *names: str) -> Run:
    write(path, "training", "summary", measurement(method=method, seed=0))
    for name in names:
        metrics = {"accuracy": 1 - T**2 / 2, "test/loss": 2 + steepness * T**2}
        write(path, "surface", name, curve("Line", T, 1 + steepness * T**2, 0.25, metrics))
    return Run(path)


def drawn(ax: Axes) -> dict[str, list[float]]:
    return {str(line.get_label()): line.get_ydata().tolist() for line in ax.lines if len(line.get_xdata()) == len(T)}


def test_losses_share_the_upper_panel_and_metrics_stand_below(tmp_path: Path) -> None:
    figure = figure_lines([run_with(tmp_path / "run.h5", "sgd", 4.0, "line")])
    assert figure is not None
    loss, accuracy = figure.axes
    assert drawn(loss) == {"measured data": (1 + 4 * T**2).tolist(), "test": (2 + 4 * T**2).tolist()}
    assert drawn(accuracy) == {"measured data": (1 - T**2 / 2).tolist()}
    styles = {(line.get_color(), line.get_linestyle()) for line in loss.lines if len(line.get_xdata()) == len(T)}
    assert styles == {(SPLITS[0].color, "-"), (SPLITS[1].color, "--")}
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
    assert loss.get_shared_x_axes().joined(loss, accuracy)
    assert (loss.get_xlabel(), accuracy.get_xlabel()) == ("", "multiple of the direction")
    assert loss.get_title() == "line"
    (legend,) = figure.subfigs[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["measured data", "test", "± 2 standard errors"]


def test_methods_stand_side_by_side_on_one_scale(tmp_path: Path) -> None:
    """Fails if each panel decides for itself: alone both would be linear."""
    runs = [run_with(tmp_path / f"{m}.h5", m, s, "line") for m, s in (("gcsam", 2.0), ("sgd", 5.0))]
    write(runs[1].path, "surface", "line", curve("Line", T, 31 + T))
    runs.append(run_with(tmp_path / "again.h5", "sgd", 5.0, "line"))
    figure = figure_lines(runs)
    assert figure is not None
    sgd, gcsam = figure.axes[:2]
    assert [sgd.get_title(), gcsam.get_title()] == ["SGD", "GCSAM"]
    assert drawn(sgd)["measured data"][0] == 30.0  # of the first seed
    assert sgd.get_yscale() == gcsam.get_yscale() == "log"
    assert sgd.get_ylim() == gcsam.get_ylim()


def test_a_band_that_is_cut_leaves_the_other_methods_their_room(tmp_path: Path) -> None:
    """Fails if the panel that cuts its band ends the axis for those drawn after it, above or below."""
    runs = [run_with(tmp_path / f"{m}.h5", m, 1.0) for m in ("sgd", "gcsam")]
    write(runs[0].path, "surface", "line", curve("Line", T, 0.1 + T**2, 0.2))
    write(runs[1].path, "surface", "line", curve("Line", T, 0.01 + 50 * T**2, 0.001))
    figure = figure_lines(runs)
    assert figure is not None
    low, high = figure.axes[0].get_ylim()
    assert low < 0.01
    assert high > 50.01
    bands = [band.get_paths()[0].vertices[:, 1].min() for ax in figure.axes[:2] for band in ax.collections[:1]]
    assert bands == pytest.approx([0.005, 0.008])  # the first is cut at half the least value of all, not of its own


@pytest.mark.parametrize("preset", PRESETS)
def test_lines_of_ten_methods_stand_in_blocks_on_one_scale(tmp_path: Path, preset: str) -> None:
    runs = [run_with(tmp_path / f"{m}.h5", m, 1.0 + place, "line") for place, m in enumerate(WITH_CONTROLS)]
    with context(preset):
        figure = figure_lines(runs)
        assert figure is not None
        assert clashes(figure) == []
    top = [ax for ax in figure.axes if ax.get_title()]
    assert {ax.get_title() for ax in top} == {look(method).label for method in WITH_CONTROLS}
    assert len({ax.get_ylim() for ax in top}) == 1
    rows = {"two-column": (5, 5), "one-column": (4, 4, 2)}[preset]
    assert [sum(bool(ax.get_title()) for ax in part.axes) for part in figure.subfigs] == list(rows)
    assert [len(part.legends) for part in figure.subfigs] == [0] * (len(rows) - 1) + [1]


@pytest.mark.parametrize("preset", PRESETS)
def test_labels_of_four_methods_have_room(tmp_path: Path, preset: str) -> None:
    """Fails in the narrow figure if the coordinate below a column is one line, or has five ticks."""
    runs = [run_with(tmp_path / f"{m}.h5", m, 1.0, "line") for m in WITH_CONTROLS[:4]]
    with context(preset):
        figure = figure_lines(runs)
        assert figure is not None
        assert clashes(figure) == []
    assert [len(part.axes) for part in figure.subfigs] == [8]


def test_lines_of_one_run_have_scales_of_their_own_and_three_to_a_row(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run.h5", "sgd", 4.0, "a", "b", "c", "d")
    write(run.path, "surface", "a", curve("Line", T, 100 + T))
    figure = figure_lines([Run(run.path)])
    assert figure is not None
    assert len(figure.subfigs) == 2
    titled = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
    assert list(titled) == ["a", "b", "c", "d"]
    assert titled["a"].get_ylim()[0] > 90 > titled["b"].get_ylim()[1]
    assert titled["a"].get_xlabel() == "multiple of the direction"  # there is no panel below it
    assert titled["a"].xaxis.get_tick_params()["labelbottom"]
    assert not titled["b"].xaxis.get_tick_params()["labelbottom"]
    assert [ax.axison for ax in figure.subfigs[0].axes] == [True, True, True, False, True, True]


def test_the_trained_weights_are_marked(ax: Axes) -> None:
    draw_line(ax, [Curve(SPLITS[0], T, T**2, np.full(5, np.nan), np.zeros(5, dtype=bool))])
    assert ax.lines[0].get_xdata() == [0, 0]
    assert ax.get_yscale() == "linear"


def test_a_run_with_a_line_gets_its_figure_and_another_gets_none(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run.h5", "sgd", 4.0, "line")
    assert "lines.png" in [path.name for path in draw_run(run.path, tmp_path / "drawn", formats=("png",))]
    assert figure_lines([run_with(tmp_path / "none.h5", "sgd", 4.0)]) is None


@pytest.mark.parametrize("types", [("Line",), ("Line", "Surface"), ("Block",)])
def test_measurements_are_found_by_type(tmp_path: Path, types: tuple[str, ...]) -> None:
    run = run_with(tmp_path / "run.h5", "sgd", 4.0, "line")
    assert run.of_type(*types) == (["surface/line"] if "Line" in types else [])
