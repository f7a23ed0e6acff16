"""The drift as drawn: each line the mean over seeds, its band their deviation, the level below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.store import write
from figures import Run, load_runs
from figures.drift import draw_hours, figure_drift
from figures.style import METHODS, PRESETS, context, look
from tests.figures.fit import clashes
from tests.figures.synthetic import WITH_CONTROLS, measurement

LEVEL = np.array([0.0, 0.0, 1.5, 3.0])


def drifting(folder: Path, seeds: int = 2, methods: Sequence[str] = ("sgd", "gcsam")) -> list[Run]:
    """Two clean epochs, two hours; accuracies differ by method, seed and panel."""
    paths = []
    for place, method in enumerate(methods):
        for seed in range(seeds):
            online = np.array([np.nan, np.nan, 0.5, 0.4]) + 0.1 * place / (len(methods) - 1) + 0.02 * seed
            history = measurement(
                severity=(LEVEL, "epoch"), online_accuracy=(online, "epoch"), current_accuracy=(online + 0.2, "epoch")
            )
            paths.append(folder / f"{method}-{seed}.h5")
            write(paths[-1], "training", "history", history)
            write(paths[-1], "training", "summary", measurement(method=method, seed=seed))
    return load_runs(paths)


def test_a_line_is_the_mean_and_the_band_the_deviation_over_seeds(ax: Axes) -> None:
    draw_hours(ax, {"sam": np.array([[50.0, 40.0, 99.0], [54.0, 48.0, 95.0]])})
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata().tolist() == [52.0, 44.0, 97.0]
    assert to_hex(line.get_color()).upper() == METHODS["sam"].color
    (band,) = ax.collections
    edges = {round(y, 6) for x, y in band.get_paths()[0].vertices if x == 2}
    deviation = 4 * 2**0.5  # of 40 and 48, with one degree of freedom
    assert edges == {round(44 - deviation, 6), round(44 + deviation, 6)}
    assert max(y for x, y in band.get_paths()[0].vertices) <= 100


def test_a_single_seed_has_no_band(ax: Axes) -> None:
    draw_hours(ax, {"sam": np.array([[50.0, 40.0]])})
    assert not ax.collections
    assert ax.lines[0].get_ydata().tolist() == [50.0, 40.0]


def test_panels_hold_both_accuracies_and_the_level(tmp_path: Path) -> None:
    with context():
        figure = figure_drift(drifting(tmp_path))
    assert figure is not None
    online, now, first, second = figure.axes
    assert online.lines[1].get_ydata() == pytest.approx([61.0, 51.0])  # gcsam, percent
    assert now.lines[0].get_ydata() == pytest.approx([71.0, 61.0])  # sgd
    for lower in (first, second):
        (level,) = lower.patches
        assert level.get_data().values.tolist() == [1.5, 3.0]  # the clean epochs before are left out
        assert level.get_data().edges.tolist() == [0.5, 1.5, 2.5]
    assert [ax.get_ylabel() for ax in figure.axes] == ["accuracy [%]", "", "severity", ""]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["SGD", "GCSAM", "± 1 s.d."]


def test_one_seed_is_told_by_the_legend(tmp_path: Path) -> None:
    figure = figure_drift(drifting(tmp_path, seeds=1))
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SGD", "GCSAM"]


def test_runs_of_uneven_length_end_where_they_end(ax: Axes) -> None:
    """A run that was stopped leaves a gap, not a mean over fewer seeds."""
    draw_hours(ax, {"sam": np.array([[50.0, 40.0], [60.0, np.nan]])})
    assert ax.lines[0].get_ydata()[0] == 55.0
    assert np.isnan(ax.lines[0].get_ydata()[1])


def test_without_a_drift_there_is_no_figure(runs: list[Run]) -> None:
    assert figure_drift(runs) is None


@pytest.mark.parametrize("preset", PRESETS)
def test_ten_methods_are_named_in_several_lines(tmp_path: Path, preset: str) -> None:
    """Fails if the legend is one line, wider than the paper."""
    runs = drifting(tmp_path, methods=WITH_CONTROLS)
    with context(preset):
        figure = figure_drift(runs)
        assert figure is not None
        assert clashes(figure) == []
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert names == {"± 1 s.d.", *(look(method).label for method in WITH_CONTROLS)}


def test_of_many_methods_not_every_hour_has_a_mark(ax: Axes) -> None:
    hours = np.linspace(50.0, 60.0, 24)
    draw_hours(ax, {method: hours[None] for method in METHODS})
    assert {line.get_markevery() for line in ax.lines} == {4}
    few = Figure().subplots()
    draw_hours(few, {"sam": hours[None]})
    assert few.lines[0].get_markevery() is None
