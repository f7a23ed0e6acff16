"""Measures over checkpoints: the artists hold the stored numbers, in the order of training, with their bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.store import write
from figures import Run, draw_checkpoints
from figures.checkpoints import PANELS, figure_checkpoints, in_order
from figures.style import context
from tests.figures.synthetic import measurement


def stored(path: Path, scale: float, position: int | None = None, trace_error: float = 2.0) -> Path:
    """Numbers that tell measures and checkpoints apart."""
    write(
        path,
        "curvature",
        "eigenvalues",
        measurement(values=(scale * np.array([7.0, 3.0]), "pair"), residuals=(np.array([0.25, 0.5]), "pair")),
    )
    write(path, "curvature", "trace", measurement(value=20.0 * scale, standard_error=trace_error))
    for place, name in enumerate(("worst", "average", "worst_adaptive", "average_adaptive"), start=1):
        error = np.nan if name.startswith("worst") else 0.01
        write(path, "sharpness", name, measurement(value=place * scale, standard_error=error, base_loss=0.5 * scale))
    if position is not None:
        write(path, "training", "checkpoint", measurement(position=position))
    return path


def runs(folder: Path, *names: str, positions: tuple[int | None, ...] = ()) -> list[Run]:
    places = positions or (None,) * len(names)
    return [
        Run(stored(folder / f"{name}.h5", 1.0 + i, place))
        for i, (name, place) in enumerate(zip(names, places, strict=True))
    ]


def drawn(found: list[Run], preset: str = "two-column") -> Figure:
    with context(preset):
        figure = figure_checkpoints(found)
        assert figure is not None
        figure.canvas.draw()
    return figure


def test_each_panel_holds_its_measure_over_the_epochs(tmp_path: Path) -> None:
    figure = drawn(runs(tmp_path, "epoch-10", "epoch-2"))
    axes = [ax for ax in figure.axes if ax.has_data()]
    assert [ax.get_title() for ax in axes] == [panel.label for panel in PANELS]
    for ax, factor in zip(axes, (0.5, 7.0, 20.0, 1.0, 2.0, 3.0, 4.0), strict=True):
        np.testing.assert_allclose(ax.lines[0].get_xydata(), [[2, 2 * factor], [10, factor]])
    assert figure.get_supxlabel() == "epoch"


def test_bars_are_two_standard_errors_and_the_residual_bound_of_an_eigenvalue(tmp_path: Path) -> None:
    """Fails if a residual is drawn as a standard error, or a single maximum gets a bar."""
    figure = drawn(runs(tmp_path, "epoch-1", "epoch-2"))
    loss, eigenvalue, trace, worst, average, *_ = figure.axes
    for ax, middle, half in ((eigenvalue, 7.0, 0.25), (trace, 20.0, 4.0), (average, 2.0, 0.02)):
        (bars,) = ax.collections
        np.testing.assert_allclose(bars.get_segments()[0], [[1, middle - half], [1, middle + half]])
        assert len(bars.get_segments()) == 2
    assert not [bar for ax in (loss, worst) for bars in ax.collections for bar in bars.get_segments()]
    (text,) = figure.legends[0].get_texts()
    assert text.get_text() == r"± 2 standard errors; of $\lambda_1$: its residual bound"


@pytest.mark.parametrize(
    ("names", "unit", "places"),
    [
        (("epoch-10", "epoch-2"), "epoch", [2, 10]),
        (("epoch=3-step=40", "epoch=12-step=9"), "epoch", [3, 12]),
        (("epoch=3-step=40", "epoch=3-step=9"), "step", [9, 40]),  # two of one epoch
        (("checkpoint-1000", "checkpoint-500"), "step", [500, 1000]),
        (("net_iter7", "net_iter3"), "step", [3, 7]),
        (("final", "init"), "checkpoint", [1, 2]),
        (("epoch-3", "final"), "checkpoint", [1, 2]),
        (("footstep-2", "footstep-1"), "checkpoint", [1, 2]),
    ],
)
def test_where_a_checkpoint_stands_is_said_by_its_name(
    tmp_path: Path, names: tuple[str, ...], unit: str, places: list[float]
) -> None:
    found_unit, found, ordered = in_order(runs(tmp_path, *names))
    assert (found_unit, found.tolist()) == (unit, places)
    is_turned = unit != "checkpoint" and names != ("epoch=3-step=40", "epoch=12-step=9")
    assert [run.path.stem for run in ordered] == list(reversed(names) if is_turned else names)


def test_without_numbers_in_the_names_it_is_the_order_in_which_they_were_measured(tmp_path: Path) -> None:
    found = runs(tmp_path, "final", "init", "middle", "unknown", positions=(2, 0, 1, None))
    figure = drawn(found)
    trace = figure.axes[2].lines[0].get_xydata()
    np.testing.assert_allclose(trace, [[1, 40], [2, 60], [3, 20], [4, 80]])
    assert figure.get_supxlabel() == "checkpoint\n1: init, 2: middle, 3: final, 4: unknown"


def test_many_names_are_left_out(tmp_path: Path) -> None:
    assert drawn(runs(tmp_path, *(f"net{chr(97 + i)}" for i in range(13)))).get_supxlabel() == "checkpoint"


def test_what_one_has_not_is_a_gap_and_what_none_has_no_panel(tmp_path: Path) -> None:
    for i in (1, 2, 3):
        write(tmp_path / f"epoch-{i}.h5", "curvature", "other", measurement(value=1.0))
        if i != 2:
            write(tmp_path / f"epoch-{i}.h5", "curvature", "trace", measurement(value=float(i), standard_error=0.1))
    figure = drawn([Run(tmp_path / f"epoch-{i}.h5") for i in (1, 2, 3)])
    assert [ax.get_title() for ax in figure.axes if ax.has_data()] == ["trace of the Hessian"]
    assert np.array_equal(figure.axes[0].lines[0].get_ydata(), [1.0, np.nan, 3.0], equal_nan=True)
    (text,) = figure.legends[0].get_texts()
    assert text.get_text() == "± 2 standard errors"


def test_a_bar_that_reaches_below_0_ends_within_a_logarithmic_axis(tmp_path: Path) -> None:
    paths = [stored(tmp_path / f"epoch-{i}.h5", scale, trace_error=50.0) for i, scale in ((1, 1.0), (2, 100.0))]
    ax = drawn([Run(path) for path in paths]).axes[2]
    assert ax.get_yscale() == "log"
    (bars,) = ax.collections
    np.testing.assert_allclose(bars.get_segments()[0], [[1, 10], [1, 120]])


def test_negative_values_are_not_cut_off(tmp_path: Path) -> None:
    paths = [stored(tmp_path / f"epoch-{i}.h5", scale) for i, scale in ((1, -1.0), (2, 1.0))]
    ax = drawn([Run(path) for path in paths]).axes[2]
    assert ax.get_ylim()[0] <= -20


def test_a_single_checkpoint_or_nothing_measured_has_no_figure(tmp_path: Path) -> None:
    assert figure_checkpoints(runs(tmp_path, "epoch-1")) is None
    for name in ("a", "b"):
        write(tmp_path / f"{name}.h5", "noise", "other", measurement(value=1.0))
    assert figure_checkpoints([Run(tmp_path / f"{name}.h5") for name in ("a", "b")]) is None


@pytest.mark.parametrize(("preset", "width", "columns"), [("two-column", 6.9, 4), ("one-column", 5.5, 3)])
def test_it_has_the_width_of_the_paper_and_no_text_overlaps(
    tmp_path: Path, preset: str, width: float, columns: int
) -> None:
    figure = drawn(runs(tmp_path, "epoch-1", "epoch-2"), preset)
    assert figure.get_size_inches()[0] == width
    assert figure.axes[0].get_subplotspec().get_gridspec().ncols == columns
    titles = [ax.title.get_window_extent() for ax in figure.axes if ax.has_data()]
    assert not [(i, k) for i, a in enumerate(titles) for k, b in enumerate(titles) if i < k and a.overlaps(b)]


def test_files_are_written_in_the_formats_asked_for(tmp_path: Path) -> None:
    paths = [run.path for run in runs(tmp_path, "epoch-1", "epoch-2")]
    written = draw_checkpoints(paths, tmp_path / "figures", formats=("png", "pdf"))
    assert written == [tmp_path / "figures" / f"checkpoints.{form}" for form in ("png", "pdf")]
    assert draw_checkpoints(paths[:1], tmp_path / "none") == []
