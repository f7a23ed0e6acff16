"""The heat map of q: every cell is its layer's and epoch's, the scale tells 0.95 from 0.99, and names can be read."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.store import Measurement, write
from figures import load_runs
from figures.ratio import draw_ratios, figure_ratio, ratio_norm, short_names, stored_ratios
from figures.style import context, sizes
from tests.figures.synthetic import measurement

LAYERS = ("conv.weight", "head.weight")
Q = np.array([[0.5, 0.99], [0.7, 0.995], [0.9, 0.999]])  # [epoch, layer]


def history(q: Any = Q, layers: tuple[str, ...] = LAYERS) -> Measurement:
    q = np.asarray(q, dtype=float)
    return measurement(
        epoch=(np.arange(1, len(q) + 1), "epoch"), ascent_ratio=(q, "epoch", "layer"), layers=(list(layers), "layer")
    )


def write_run(path: Path, method: str, seed: int = 0, **measurements: Measurement) -> Path:
    write(path, "training", "summary", measurement(method=method, seed=seed))
    for name, content in measurements.items():
        write(path, "training", name, content)
    return path


def drawn(*paths: Path) -> Figure:
    with context():
        figure = figure_ratio(load_runs(paths))
    assert figure is not None
    figure.canvas.draw()
    return figure


def parts(ax: Axes) -> np.ndarray:
    """What the mesh holds: 1 - q, [layer, epoch], NaN where it is masked."""
    return np.ma.filled(ax.collections[0].get_array(), np.nan)


def test_every_cell_is_the_q_of_its_layer_and_epoch(tmp_path: Path) -> None:
    """Fails if layers and epochs are swapped, or the first layer is at the bottom."""
    ax = drawn(write_run(tmp_path / "run.h5", "gcsam", history=history())).axes[0]
    np.testing.assert_allclose(parts(ax), 1 - Q.T)
    assert ax.yaxis_inverted()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["conv", "head"]
    edges = ax.collections[0].get_coordinates()
    assert edges[0, :, 0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert edges[:, 0, 1].tolist() == [-0.5, 0.5, 1.5]
    assert (ax.get_xlabel(), ax.get_title()) == ("epoch", "GCSAM")


def test_from_95_to_100_percent_has_half_of_the_colors(tmp_path: Path) -> None:
    """Fails on a scale linear in q, where that is a tenth of them."""
    path = write_run(tmp_path / "run.h5", "gcsam", history=history([[0.5, 0.999]]))
    norm = ratio_norm(stored_ratios(load_runs([path])))
    assert float(norm(1 - 0.95)) == pytest.approx(0.63, abs=0.01)
    assert float(norm(1 - 0.99)) - float(norm(1 - 0.995)) > 0.1


def test_the_bar_is_labelled_with_q(tmp_path: Path) -> None:
    figure = drawn(write_run(tmp_path / "run.h5", "gcsam", history=history()))
    bar = figure.axes[-1]
    texts = {label.get_text() for label in bar.get_yticklabels()}
    assert {"0.5", "0.9", "0.95", "0.99", "0.999"} <= texts
    assert bar.yaxis_inverted()  # q grows upwards
    assert "Pg" in bar.get_ylabel()


def test_a_ratio_of_1_is_drawn_at_the_end_of_the_scale(tmp_path: Path) -> None:
    """1 - q is 0 there, and below by rounding, which no logarithm takes."""
    ax = drawn(write_run(tmp_path / "run.h5", "gcsam", history=history([[1.0, 0.9], [1.0 + 1e-12, 0.9]]))).axes[0]
    mesh = ax.collections[0]
    assert parts(ax)[0].tolist() == [1e-4, 1e-4]
    assert mesh.norm.vmin == 1e-4
    only = ratio_norm(stored_ratios(load_runs([write_run(tmp_path / "flat.h5", "sam", history=history([[1.0, 1.0]]))])))
    assert (only.vmin, only.vmax) == (1e-4, 2e-4)


def test_where_the_gradient_was_zero_it_is_grey_and_said(tmp_path: Path) -> None:
    figure = drawn(write_run(tmp_path / "run.h5", "gcsam", history=history([[0.5, np.nan], [0.6, 0.7]])))
    assert np.isnan(parts(figure.axes[0])[1, 0])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["$g = 0$"]
    assert not drawn(write_run(tmp_path / "other.h5", "gcsam", history=history())).legends


def test_methods_share_the_scale_and_the_names(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / f"{method}.h5", method, history=history(Q**power))
        for method, power in (("gcsam", 1), ("sam", 2))
    ]
    figure = drawn(*paths)
    sam, gcsam, _ = figure.axes
    assert [ax.get_title() for ax in (sam, gcsam)] == ["SAM", "GCSAM"]
    assert sam.collections[0].norm is gcsam.collections[0].norm
    assert not any(label.get_visible() for label in gcsam.get_yticklabels())
    np.testing.assert_allclose(parts(sam), 1 - Q.T**2)


def test_another_network_has_names_of_its_own(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "a.h5", "gcsam", history=history()),
        write_run(tmp_path / "b.h5", "sam", history=history([[0.5], [0.6]], ("fc.weight",))),
    ]
    sam, gcsam, _ = drawn(*paths).axes
    assert [label.get_text() for label in sam.get_yticklabels()] == ["fc"]
    assert [label.get_text() for label in gcsam.get_yticklabels() if label.get_visible()] == ["conv", "head"]


def test_seeds_are_averaged(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / f"{seed}.h5", "sam", seed, history=history(Q - 0.1 * seed)) for seed in range(2)]
    np.testing.assert_allclose(parts(drawn(*paths).axes[0]), 1 - (Q - 0.05).T)


def test_without_a_history_the_probe_speaks_over_steps(tmp_path: Path) -> None:
    probe = measurement(
        step=(np.array([0, 10, 40]), "measurement"),
        ascent_ratio=(Q, "measurement", "layer"),
        layers=(["0", "2"], "layer"),
    )
    figure = drawn(write_run(tmp_path / "run.h5", "gcsam", probe=probe))
    ax = figure.axes[0]
    np.testing.assert_allclose(parts(ax), 1 - Q.T)
    assert ax.collections[0].get_coordinates()[0, :, 0].tolist() == [-5, 5, 25, 55]
    assert ax.get_xlabel() == "step"
    both = write_run(tmp_path / "both.h5", "gcsam", history=history(), probe=probe)
    assert [ax.get_xlabel() for ax in drawn(both).axes] == ["epoch", ""]  # one map and its bar


def test_twenty_names_are_as_far_apart_as_their_letters_are_high(tmp_path: Path) -> None:
    layers = tuple(f"blocks.{i}.conv1.weight" for i in range(22))
    figure = drawn(write_run(tmp_path / "run.h5", "gcsam", history=history(np.full((3, 22), 0.9), layers)))
    labels = figure.axes[0].get_yticklabels()
    boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) == 22
    assert all(above.y0 >= below.y1 - 1 for above, below in itertools.pairwise(boxes))
    assert labels[0].get_fontsize() == sizes().small


def test_names_lose_the_ending_all_of_them_share() -> None:
    assert short_names(["a.weight", "b.c.weight"]) == ["a", "b.c"]
    assert short_names(["a.weight", "b.bias"]) == ["a.weight", "b.bias"]
    assert short_names(["0", "2"]) == ["0", "2"]


def test_without_any_there_is_no_figure(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.h5", "sgd", history=history(np.full((2, 2), np.nan)))
    assert figure_ratio(load_runs([path])) is None
    assert figure_ratio([]) is None


def test_one_epoch_is_a_column(ax: Axes, tmp_path: Path) -> None:
    (found,) = stored_ratios(load_runs([write_run(tmp_path / "run.h5", "sgd", history=history([[0.5, 0.9]]))]))
    mesh = draw_ratios(ax, found, ratio_norm([found]))
    assert mesh.get_coordinates()[0, :, 0].tolist() == [0.5, 1.5]
