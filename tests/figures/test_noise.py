"""Noise of many layers: a row of points each, those that P touches, every mark at its number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from analysis.store import Measurement, write
from figures import Run, style
from figures.noise import MOST_COLUMNS, draw_noise_rows, figure_noise
from figures.style import context
from tests.figures.fit import clashes
from tests.figures.synthetic import KINDS, measurement

LAYERS = [f"layer{i}" for i in range(MOST_COLUMNS + 2)]


def test_points_are_the_numbers_in_their_rows_and_open_ones_are_marked(ax: Axes) -> None:
    numbers = {"raw": (np.array([10.0, np.inf]), np.array([2.0, np.nan])), "control": (np.array([4.0, 8]), np.ones(2))}
    draw_noise_rows(ax, ["conv", "all"], numbers)
    raw, control = ax.containers
    assert raw[0].get_xdata().tolist() == [10.0]
    assert raw[0].get_ydata() == pytest.approx([-0.11])
    assert control[0].get_xdata().tolist() == [4.0, 8.0]
    assert control[0].get_ydata() == pytest.approx([0.11, 1.11])
    assert np.array(raw[2][0].get_segments())[0, :, 0].tolist() == [8.0, 12.0]
    assert [(text.get_text(), text.xy[1]) for text in ax.texts] == [(r"$\infty$", pytest.approx(0.89))]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["conv", "all"]
    assert ax.get_ylim() == (1.5, -0.5)  # the first layer at the top


def test_an_error_as_large_as_the_number_has_no_lower_end(ax: Axes) -> None:
    """Fails if the bar goes to or below zero, where a logarithmic axis ends."""
    draw_noise_rows(ax, ["conv"], {"raw": (np.array([10.0]), np.array([20.0]))})
    assert np.array(ax.containers[0][2][0].get_segments())[0, :, 0].tolist() == [10.0, 30.0]


def noise_of_many(touched: list[int], layers: list[str] = LAYERS, scale: float = 1.0) -> Measurement:
    groups = {}
    for place, kind in enumerate(KINDS):
        trace = np.arange(1.0, len(layers) + 1)
        if kind == "centralized":
            trace[touched] /= 2
        columns = {"trace": trace, "noise_scale": trace * (place + 1) * scale}
        columns |= {f"{name}_standard_error": values / 10 for name, values in columns.items()}
        total = measurement(None, **{name: values.sum() for name, values in columns.items()})
        groups[kind] = measurement({"total": total}, **{name: (values, "layer") for name, values in columns.items()})
    return measurement(groups, layers=(layers, "layer"))


def test_many_layers_are_rows_and_those_that_p_does_not_touch_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "run.h5", "noise", "gradient_noise", noise_of_many([1, 4]))
    figure = figure_noise([Run(tmp_path / "run.h5")])
    assert figure is not None
    relative, absolute = figure.axes
    assert [tick.get_text() for tick in relative.get_yticklabels()] == ["layer1", "layer4", "all"]
    centralized = absolute.containers[1]
    assert centralized[0].get_xdata().tolist() == [1.0, 2.5, 55 - 3.5]
    assert relative.containers[2][0].get_xdata().tolist() == [6.0, 15.0, 165.0]


def test_four_methods_of_many_layers_can_be_read(tmp_path: Path) -> None:
    """Fails if every narrow panel has the label of its quantity, or labels of ticks that lie over one another."""
    runs = []
    for method in ("sgd", "gc", "sam", "gcsam"):
        path = tmp_path / f"{method}.h5"
        write(path, "training", "summary", measurement(None, method=method, seed=0))
        write(path, "noise", "gradient_noise", noise_of_many([1, 4]))
        runs.append(Run(path))
    with context():
        figure = figure_noise(runs)
        assert figure is not None
        assert clashes(figure) == []
    assert [bool(ax.get_xlabel()) for ax in figure.axes] == 2 * [False, True, False, False]


@pytest.mark.parametrize(("layers", "axis"), [(LAYERS[:MOST_COLUMNS], "y"), (LAYERS, "x")])
def test_open_ends_alone_have_no_scale_and_the_legend_its_colors(tmp_path: Path, layers: list[str], axis: str) -> None:
    """Fails if an axis has numbers that mean nothing, or the legend is made of the panel without points."""
    write(tmp_path / "run.h5", "noise", "gradient_noise", noise_of_many([0, 1], layers, np.inf))
    with context():
        figure = figure_noise([Run(tmp_path / "run.h5")])
    assert figure is not None
    figure.draw_without_rendering()
    relative, absolute = figure.axes
    ticks = [getattr(ax, f"{axis}axis").get_major_ticks() for ax in (relative, absolute)]
    shown = [any(tick.label1.get_visible() and tick.label1.get_text() for tick in some) for some in ticks]
    assert shown == [False, True]
    handles = figure.legends[0].legend_handles[: len(KINDS)]
    colors = [np.ravel(handle.get_edgecolor())[:4] for handle in handles]
    assert [to_hex(color) for color in colors] == [style.KINDS[kind].color.lower() for kind in KINDS]
