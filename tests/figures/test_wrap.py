"""Ten methods, a study with all its controls: every figure can be read, and with four it is as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.store import Measurement, write
from figures import FIGURES, Run, load_runs
from figures.noise import MOST_METHODS
from figures.plane import Plane
from figures.style import PRESETS, context, look, sizes
from figures.surface import heights
from figures.wrap import (
    LEGEND_LINE,
    MOST_IN_ROW,
    broken,
    grid_shape,
    hide_empty,
    legend_above,
    legend_columns,
    parts_of,
    share_rows,
)
from tests.figures.fit import clashes
from tests.figures.report.conftest import write_conditions
from tests.figures.synthetic import METHODS, WITH_CONTROLS, measurement, write_run
from tests.figures.test_agreement import minibatch
from tests.figures.test_evolution import record

Draw = Callable[..., Figure]
AXIS = np.linspace(-1, 1, 21)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("many")
    return load_runs([write_run(folder / f"{method}.h5", method, 0) for method in WITH_CONTROLS])


@pytest.fixture
def drawn(many: list[Run]) -> Draw:
    def draw(name: str, runs: Sequence[Run] = many, preset: str = "two-column") -> Figure:
        with context(preset):
            figure = FIGURES[name](runs)
            assert figure is not None
            assert clashes(figure) == []
        return figure

    return draw


def titles(figure: Figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def labels(methods: Sequence[str] = WITH_CONTROLS) -> set[str]:
    return {look(method).label for method in methods}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["training", "eigenvalues", "accuracy"])
def test_no_text_of_ten_methods_is_covered_or_cut_off(drawn: Draw, name: str, preset: str) -> None:
    """Fails if the legend stays in one row, or the names of methods stand side by side without a slant."""
    assert drawn(name, preset=preset).get_size_inches()[0] == PRESETS[preset].wide


def test_panels_of_sharpness_are_wide_enough_for_ten_names(drawn: Draw) -> None:
    drawn("sharpness")


def test_surfaces_stand_in_rows_and_are_named_at_the_left_and_below(drawn: Draw) -> None:
    figure = drawn("surfaces")
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_subplotspec().get_geometry()[:2] for ax in panels] == [(2, MOST_IN_ROW)] * 10
    assert set(titles(figure)) == labels()
    assert [bool(ax.get_ylabel()) for ax in panels] == ([True] + [False] * 4) * 2
    assert [bool(ax.get_xlabel()) for ax in panels] == [False] * 5 + [True] * 5


def test_of_seven_surfaces_each_column_is_named_below_its_last_one(drawn: Draw, many: list[Run]) -> None:
    figure = drawn("surfaces", [run for run in many if run.method in WITH_CONTROLS[:7]])
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [bool(ax.get_xlabel()) for ax in panels] == [False] * 3 + [True] * 4


def test_noise_stands_in_blocks_on_one_axis(drawn: Draw) -> None:
    figure = drawn("noise")
    panels = [ax for ax in figure.axes if ax.axison]
    assert len(panels) == 2 * 10
    assert max(ax.get_subplotspec().get_geometry()[1] for ax in panels) == MOST_METHODS
    assert len({ax.get_ylim() for ax in panels}) <= 2  # one of each quantity
    assert len(figure.subfigs) == 3


def test_labels_of_noise_have_room_below_one_another_in_a_narrow_figure(drawn: Draw, many: list[Run]) -> None:
    """Fails if a block is as high for text of 9 pt as for text of 8 pt."""
    drawn("noise", [run for run in many if run.method in WITH_CONTROLS[:5]], "one-column")


def test_a_ratio_of_ten_methods_stands_in_two_rows(drawn: Draw, tmp_path: Path) -> None:
    history = measurement(
        epoch=(np.arange(1, 4), "epoch"),
        ascent_ratio=(np.full((3, 2), 0.9), "epoch", "layer"),
        layers=(["features.0", "head.1"], "layer"),
    )
    paths = []
    for method in WITH_CONTROLS:
        paths.append(tmp_path / f"{method}.h5")
        write(paths[-1], "training", "summary", measurement(method=method, seed=0))
        write(paths[-1], "training", "history", history)
    figure = drawn("ascent_ratio", load_runs(paths))
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert set(titles(figure)) == labels()
    assert [bool(ax.get_xlabel()) for ax in panels] == [False] * 5 + [True] * 5
    shown = [any(tick.label1.get_visible() for tick in ax.yaxis.get_major_ticks()) for ax in panels]
    assert shown == ([True] + [False] * 4) * 2


def test_ten_surfaces_in_three_dimensions_fit_a_page(drawn: Draw) -> None:
    figure = drawn("surfaces_3d")
    assert set(titles(figure)) == labels()
    assert figure.get_size_inches()[1] < 9


def test_the_label_of_a_high_bar_is_one_line() -> None:
    """Fails if it is cut off: two lines are wider than the room beside the bar."""
    loss = 1e3 * np.add.outer(AXIS**2, 4 * AXIS**2) ** 4 + 1e-12
    with context():
        figure = heights([Plane("", AXIS, AXIS, loss) for _ in range(10)])
    assert " and " in figure.axes[-1].get_ylabel()  # cut at both ends
    assert clashes(figure) == []


def measured(
    folder: Path, kind: str, name: str, content: Measurement, methods: Sequence[str] = WITH_CONTROLS
) -> list[Run]:
    paths = []
    for method in methods:
        paths.append(folder / f"{method}.h5")
        write(paths[-1], "training", "summary", measurement(method=method, seed=0))
        write(paths[-1], kind, name, content)
    return load_runs(paths)


def test_agreement_of_ten_methods_stands_in_two_blocks_on_one_axis(drawn: Draw, tmp_path: Path) -> None:
    figure = drawn("agreement", measured(tmp_path, "noise", "minibatch", minibatch()))
    assert set(titles(figure)) == labels()
    assert len(figure.axes) == 2 * 10
    assert len({ax.get_ylim() for ax in figure.axes}) == 2


def test_evolution_of_ten_methods_stands_in_two_blocks_on_one_axis(drawn: Draw, tmp_path: Path) -> None:
    figure = drawn("evolution", measured(tmp_path, "training", "probe", record()))
    assert set(titles(figure)) == labels()
    rows = len(figure.axes) // 10
    assert len({ax.get_ylim() for ax in figure.axes}) == rows
    assert sum(ax.get_xlabel() == "step" for ax in figure.axes) == 10
    named = [any(tick.label1.get_visible() for tick in ax.yaxis.get_major_ticks()) for ax in figure.axes]
    assert named == ([True] + [False] * 4) * 2 * rows


def test_the_legend_of_evolution_fits_a_narrow_figure(drawn: Draw, tmp_path: Path) -> None:
    drawn("evolution", measured(tmp_path, "training", "probe", record(), METHODS[:2]), "one-column")


def test_robustness_names_ten_methods_in_its_legend(drawn: Draw, tmp_path: Path) -> None:
    paths = write_conditions(tmp_path, {method: (90.0,) for method in WITH_CONTROLS})
    figure = drawn("robustness", load_runs(paths))
    assert {text.get_text() for text in figure.legends[0].get_texts()} == labels()


def test_eigenvalues_of_many_methods_are_logarithmic_where_all_are_positive(drawn: Draw, tmp_path: Path) -> None:
    """Fails if a negative eigenvalue is lost on a logarithmic axis."""
    assert drawn("eigenvalues").axes[0].get_yscale() == "log"
    paths = []
    for place, method in enumerate(WITH_CONTROLS):
        paths.append(tmp_path / f"{method}.h5")
        write(paths[-1], "training", "summary", measurement(method=method, seed=0))
        values = measurement(values=([2.0, 1.0 - place], "pair"), residuals=([0.1, 0.1], "pair"))
        write(paths[-1], "curvature", "eigenvalues", values)
    assert drawn("eigenvalues", load_runs(paths)).axes[0].get_yscale() == "linear"


def test_seeds_of_many_methods_are_thinner(drawn: Draw, runs: list[Run]) -> None:
    few, many_lines = drawn("training", runs).axes[0].lines, drawn("training").axes[0].lines
    assert few[0].get_linewidth() == 0.5
    assert many_lines[0].get_linewidth() < 0.5


@pytest.mark.parametrize("preset", PRESETS)
def test_four_methods_keep_one_row(runs: list[Run], preset: str) -> None:
    """Fails if the figures of a study without controls change their shape."""
    with context(preset):
        made = {name: FIGURES[name](runs) for name in ("surfaces", "noise", "eigenvalues", "training", "accuracy")}
    assert all(figure is not None and not figure.subfigs for figure in made.values())
    shapes = {name: figure.axes[0].get_subplotspec().get_geometry()[:2] for name, figure in made.items() if figure}
    assert (shapes["surfaces"], shapes["noise"]) == ((1, 4), (2, 4))
    size = {name: figure.get_size_inches().tolist() for name, figure in made.items() if figure}
    assert (size["eigenvalues"], size["accuracy"]) == ([PRESETS[preset].narrow, 2.6], [PRESETS[preset].narrow, 2.5])
    assert (size["training"], size["noise"]) == ([PRESETS[preset].wide, 2.3], [PRESETS[preset].wide, 4.0])
    assert made["accuracy"].axes[0].get_xticklabels()[0].get_rotation() == 0


def test_rows_are_even_and_a_legend_fits() -> None:
    assert [grid_shape(count) for count in (1, 5, 6, 7, 10, 11)] == [(1, 1), (1, 5), (2, 3), (2, 4), (2, 5), (3, 4)]
    assert grid_shape(10, 4) == (3, 4)
    four, ten = ([look(method).label for method in names] for names in (METHODS, WITH_CONTROLS))
    assert [legend_columns(four, sizes().wide), legend_columns(ten, sizes().wide)] == [4, 5]
    assert legend_columns(["a word far longer than the figure is wide"] * 3, 1.0) == 1


def test_a_text_is_broken_as_late_and_as_evenly_as_can_be() -> None:
    """Fails if lines are filled from the left, or a long word is cut."""
    assert broken("one two three four", 9.0) == "one two three four"
    assert broken("one two three four", 1.0, 10) == "one two\nthree four"
    assert broken("one two three four", 0.01) == "one\ntwo\nthree\nfour"
    assert broken("axes of $H$", 0.5, 8).split("\n") == ["axes", "of $H$"]


def test_lines_of_a_legend_make_a_figure_higher() -> None:
    heights_of = []
    for names in (METHODS, WITH_CONTROLS):
        with context():
            figure = Figure(figsize=(sizes().wide, 2.0))
            legend_above(figure, *zip(*((Line2D([], []), look(name).label) for name in names), strict=True))
        heights_of.append(figure.get_size_inches()[1])
    assert heights_of == [2.0, pytest.approx(2.0 + LEGEND_LINE)]


def test_rows_share_their_axis_over_all_blocks_and_no_other() -> None:
    """Fails if a block keeps an axis of its own, two rows have one, or every panel tells it."""
    figure = Figure()
    blocks = [part.subplots(2, 2, squeeze=False) for part in parts_of(figure, 2)]
    share_rows(blocks)
    blocks[0][0, 0].plot([0, 1], [0.0, 1.0])
    blocks[1][0, 0].plot([0, 1], [0.0, 50.0])
    blocks[1][0, 0].set_yscale("log")
    blocks[0][1, 1].plot([0, 1], [0.0, 3.0])
    hide_empty(blocks)
    upper, lower = ([ax for block in blocks for ax in block[row]] for row in (0, 1))
    assert {ax.get_yscale() for ax in upper} == {"log"}
    assert {ax.get_yscale() for ax in lower} == {"linear"}
    assert len({ax.get_ylim() for ax in upper}) == len({ax.get_ylim() for ax in lower}) == 1
    assert upper[0].get_ylim()[1] >= 50 > lower[0].get_ylim()[1]
    assert [ax.axison for ax in upper + lower] == [True, False, True, False, False, True, False, False]
    told = [ax.yaxis.get_tick_params()["labelleft"] for ax in upper + lower]
    assert told == [True, False] * 4
