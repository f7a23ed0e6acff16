"""Noise beside curvature: what is drawn are the stored numbers, averaged over seeds; what is missing leaves a gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from analysis.store import Measurement, write
from figures import Run, draw_study, load_runs
from figures.covariance import draw_alignment, draw_cosines, draw_shares, figure_covariance
from figures.style import KINDS, context, look
from tests.figures.fit import clashes
from tests.figures.synthetic import METHODS, WITH_CONTROLS, measurement

COSINES = np.array([[0.9, 0.3, 0.0], [0.1, 0.7, 0.2], [0.05, 0.15, 1.0]])


def spectrum(scale: float, alignment: float) -> Measurement:
    return measurement(
        trace=10.0 * scale,
        values=(scale * np.array([5.0, 2.0, 1.0]), "pair"),
        cosines=(COSINES, "pair", "hessian_pair"),
        overlap=0.25,
        alignment=alignment,
        alignment_standard_error=0.3,
    )


def covariance(scale: float = 1.0, alignment: float = 8.0, **others: Any) -> Measurement:
    groups = {kind: spectrum(scale, alignment + place) for place, kind in enumerate(KINDS)}
    content: dict[str, Any] = {"hessian_values": (np.array([40.0, 20.0, 10.0]), "hessian_pair"), "hessian_trace": 100.0}
    return measurement(groups, of="NoiseCovariance", **{**content, **others})


def run_file(path: Path, method: str, seed: int, content: Measurement) -> Path:
    write(path, "training", "summary", measurement(method=method, seed=seed))
    write(path, "noise", "covariance", content)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        run_file(tmp_path / "a.h5", "gcsam", 0, covariance(alignment=4.0)),
        run_file(tmp_path / "b.h5", "sgd", 0, covariance(alignment=8.0)),
        run_file(tmp_path / "c.h5", "sgd", 1, covariance(scale=3.0, alignment=10.0)),
    ]


def test_shares_are_lines_of_means_with_a_dot_for_each_seed(ax: Axes) -> None:
    noise, curvature = np.array([[0.5, 0.2], [0.3, 0.1]]), np.array([[0.4, -0.1], [0.2, 0.1]])
    draw_shares(ax, noise, curvature)
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}
    np.testing.assert_allclose(drawn[r"noise $\Sigma$"], [0.4, 0.15])
    np.testing.assert_allclose(drawn["Hessian $H$"], [0.3, 0.1])  # a share below 0 has no place on a logarithmic axis
    dots = [np.asarray(line.get_ydata()).tolist() for line in ax.lines if line.get_linestyle() == "None"]
    np.testing.assert_array_equal(dots, [[0.5, 0.2], [0.3, 0.1], [0.4, np.nan], [0.2, 0.1]])
    assert ax.get_yscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == [r"$\lambda_{1}$", r"$\lambda_{2}$"]


def test_boxes_hold_cosines_with_noise_down_and_curvature_across(ax: Axes) -> None:
    """Fails if the matrix is transposed, or its colours depend on the numbers at hand."""
    cosines = COSINES.copy()
    cosines[2, 0] = np.nan
    image = draw_cosines(ax, cosines)
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), cosines)
    assert image.get_clim() == (0.0, 1.0)
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert (texts[1, 0], texts[0, 1], texts[2, 2]) == (".30", ".10", "1.00")
    assert (0, 2) not in texts
    assert ax.get_xticklabels()[0].get_text() == "$v_{1}$"
    assert ax.get_yticklabels()[0].get_text() == "$u_{1}$"


def test_many_boxes_have_no_numbers(ax: Axes) -> None:
    draw_cosines(ax, np.eye(9))
    assert not ax.texts


def test_a_bar_for_each_kind_and_a_gap_for_none(ax: Axes) -> None:
    draw_alignment(ax, {"raw": (8.0, 0.5), "centralized": (np.nan, np.nan), "control": (7.0, np.nan)})
    found = {round(bar.get_x() + bar.get_width() / 2): bar for bar in ax.patches}
    assert {place: bar.get_height() for place, bar in found.items()} == {0: 8.0, 2: 7.0}
    assert to_hex(found[2].get_facecolor()) == to_hex(KINDS["control"].color)
    assert ax.get_legend_handles_labels()[1] == ["raw", "random projection"]
    low, high = np.asarray(ax.collections[0].get_segments()[0])[:, 1]
    assert (low, high) == (7.5, 8.5)


def test_methods_have_columns_and_seeds_are_averaged(files: list[Path]) -> None:
    figure = figure_covariance(load_runs(files))
    assert figure is not None
    axes = np.array(figure.axes[:6]).reshape(3, 2)
    assert [ax.get_title() for ax in axes[0]] == ["SGD", "GCSAM"]
    shares = [np.asarray(line.get_ydata()) for line in axes[0, 0].lines if line.get_linestyle() != "None"]
    np.testing.assert_allclose(shares[0], [0.5, 0.2, 0.1])  # of each run's own trace: the scale is gone
    np.testing.assert_allclose(shares[-1], [0.4, 0.2, 0.1])
    assert [bar.get_height() for bar in axes[2, 0].patches] == [9.0, 10.0, 11.0]
    assert [bar.get_height() for bar in axes[2, 1].patches] == [4.0, 5.0, 6.0]
    low, high = np.asarray(axes[2, 0].collections[0].get_segments()[0])[:, 1]
    assert high - low == pytest.approx(2 * 0.3 / 2**0.5)  # of the mean of two runs
    assert axes[1, 1].get_xlabel().endswith("overlap 0.25")


@pytest.mark.parametrize(("methods", "columns"), [(METHODS, 4), (WITH_CONTROLS, 5)])
def test_methods_can_be_read_in_a_narrow_figure(tmp_path: Path, methods: tuple[str, ...], columns: int) -> None:
    """Fails if texts below a column are one line, or ten methods stand in one row."""
    runs = [run_file(tmp_path / f"{m}.h5", m, 0, covariance(alignment=4.0 + i)) for i, m in enumerate(methods)]
    with context("one-column"):
        figure = figure_covariance(load_runs(runs))
        assert figure is not None
        assert clashes(figure) == []
    titled = [ax for ax in figure.axes if ax.get_title()]
    assert {ax.get_title().replace("\n", " ") for ax in titled} == {look(method).label for method in methods}
    assert len({ax.get_ylim() for ax in titled}) == 1
    assert max(ax.get_subplotspec().get_geometry()[1] for ax in titled) == columns
    bars = [ax for ax in figure.axes if ax.patches and ax.axison]
    assert len({ax.get_ylim() for ax in bars if ax.get_xlim()[0] == -0.6}) == 1


def test_boxes_without_room_have_no_numbers(ax: Axes) -> None:
    draw_cosines(ax, COSINES, 2)
    assert not ax.texts


def test_an_overlap_that_is_unknown_is_said(tmp_path: Path) -> None:
    raw = spectrum(1.0, 8.0)
    nothing = measurement(
        **{name: v.data for name, v in raw.variables.items() if name not in ("values", "cosines", "overlap")},
        values=(raw.variables["values"].data, "pair"),
        cosines=(np.full((3, 3), np.nan), "pair", "hessian_pair"),
        overlap=np.nan,
    )
    content = covariance()
    content.groups["raw"] = nothing  # type: ignore[index]
    figure = figure_covariance([Run(run_file(tmp_path / "a.h5", "sgd", 0, content))])
    assert figure is not None
    assert figure.axes[1].get_xlabel().endswith("overlap unknown")
    assert not figure.axes[1].texts


def test_the_study_draws_it_where_there_is_any_noise(files: list[Path], tmp_path: Path) -> None:
    written = draw_study(files, tmp_path / "drawn", formats=("png",))
    assert "noise_spectrum.png" in [path.name for path in written]
    empty = covariance()
    empty.groups["raw"].variables["values"].data[:] = np.nan
    assert figure_covariance([Run(run_file(tmp_path / "d.h5", "sgd", 0, empty))]) is None
    write(tmp_path / "e.h5", "training", "summary", measurement(method="sgd", seed=0))
    assert figure_covariance([Run(tmp_path / "e.h5")]) is None
