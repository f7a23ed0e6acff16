"""What a probe saw: the artists hold the records' numbers; thresholds, open-ended ratios, seeds and divergence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.store import Measurement, write
from figures import Run, load_runs
from figures.evolution import PANELS, draw_thresholds, figure_evolution, mean_curve, open_steps, stored_curve
from figures.style import KINDS, METHODS, context
from tests.figures.synthetic import measurement

STEPS = np.array([0, 10, 20, 40])
KEY = "training/probe"


def record(scale: float = 1.0, steps: Any = STEPS, schedule: str = "every:10", **others: Any) -> Measurement:
    """A record whose quantities differ in size, so that one drawn as another is seen."""
    steps = np.asarray(steps)
    rising = scale * (1 + steps / 10.0)
    content: dict[str, Any] = {
        "step": steps,
        "lambda_max": rising,
        "trace": 3 * rising,
        "trace_standard_error": 0.5 * rising,
        "sharpness": 0.01 * rising,
        "threshold": 20.0 + steps,
        "threshold_with_momentum": 1.9 * (20.0 + steps),
        **{f"{name}_status": ["COMPLETE"] * len(steps) for name in ("lambda_max", "trace", "noise", "sharpness")},
    }
    groups = {
        kind: {"noise_scale": (7 + place) * rising, "noise_scale_standard_error": 0.1 * rising}
        for place, kind in enumerate(KINDS)
    }
    for name, value in others.items():
        group, _, field = name.partition("/")
        (groups[group] if field else content)[field or name] = value
    nested = {
        kind: measurement(**{name: (value, "measurement") for name, value in fields.items()})
        for kind, fields in groups.items()
    }
    variables = {name: (value, "measurement") for name, value in content.items()}
    return measurement(nested, "ProbeRecord", **variables, schedule=schedule)


def write_run(path: Path, method: str, seed: int, content: Measurement | None) -> Path:
    write(path, "training", "summary", measurement(method=method, seed=seed))
    if content is not None:
        write(path, *KEY.split("/"), content)
    return path


def drawn(tmp_path: Path, *runs: tuple[str, int, Measurement | None]) -> Figure:
    paths = [write_run(tmp_path / f"{method}-{seed}.h5", method, seed, content) for method, seed, content in runs]
    with context():
        figure = figure_evolution(load_runs(paths))
    assert figure is not None
    figure.canvas.draw()
    return figure


def line_of(ax: Axes, label: str) -> np.ndarray:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(line.get_xydata())


@pytest.fixture
def one(tmp_path: Path) -> Figure:
    return drawn(tmp_path, ("gcsam", 0, record()))


def test_each_panel_holds_its_quantity_over_the_steps(one: Figure) -> None:
    eigenvalue, trace, noise, sharpness = one.axes
    rising = 1 + STEPS / 10.0
    for ax, factor in ((eigenvalue, 1.0), (trace, 3.0), (sharpness, 0.01)):
        np.testing.assert_allclose(line_of(ax, "GCSAM"), np.column_stack([STEPS, factor * rising]))
    for place, style in enumerate(KINDS.values()):
        np.testing.assert_allclose(line_of(noise, style.label)[:, 1], (7 + place) * rising)
    assert [ax.get_ylabel() for ax in one.axes] == [panel.label for panel in PANELS]
    assert sharpness.get_xlabel() == "step"
    assert eigenvalue.get_title() == "GCSAM"


def test_bands_are_two_standard_errors_where_there_are_any(one: Figure) -> None:
    """Fails if the residual of an eigenvalue, which is no standard error, gets a band."""
    eigenvalue, trace, noise, sharpness = one.axes
    assert not eigenvalue.collections
    assert not sharpness.collections
    assert len(noise.collections) == 3
    x, y = trace.collections[0].get_paths()[0].vertices.T
    assert [y[x == 40].min(), y[x == 40].max()] == pytest.approx([5 * (3 - 1), 5 * (3 + 1)])


def test_the_edge_of_stability_is_drawn_with_and_without_momentum(one: Figure) -> None:
    ax = one.axes[0]
    assert line_of(ax, r"$2\,/\,\mathrm{lr}$").tolist() == [[step, 20 + step] for step in STEPS]
    np.testing.assert_allclose(line_of(ax, "with momentum")[:, 1], 1.9 * (20 + STEPS))


def test_without_momentum_there_is_one_line_and_without_a_rate_none(tmp_path: Path, ax: Axes) -> None:
    same, nan = 20.0 + STEPS, np.full(4, np.nan)
    for name, given, labels in (
        ("a", {"threshold_with_momentum": same}, [r"$2\,/\,\mathrm{lr}$"]),
        ("b", {"threshold_with_momentum": nan}, [r"$2\,/\,\mathrm{lr}$"]),
        ("c", {"threshold": nan, "threshold_with_momentum": nan}, []),
    ):
        ax.clear()
        draw_thresholds(ax, Run(write_run(tmp_path / f"{name}.h5", "sgd", 0, record(**given))))
        assert ax.get_legend_handles_labels()[1] == labels


def test_a_threshold_that_grows_without_end_leaves_the_axis_to_the_eigenvalues(tmp_path: Path) -> None:
    """Fails if the axis follows 2 / lr as the learning rate falls to 0."""
    figure = drawn(tmp_path, ("sgd", 0, record(threshold=np.array([20.0, 40.0, 400.0, 1e9]))))
    low, high = figure.axes[0].get_ylim()
    assert low <= 1.0
    assert 20.0 < high <= 40.0


def test_an_open_ended_ratio_is_a_gap_and_a_sign(tmp_path: Path) -> None:
    """Infinite where the signal is not above 0; and 1e6 +- 2e6, which is not told from it, must not stretch it."""
    scale, error = np.array([70.0, np.inf, 1e6, 60.0]), np.array([7.0, np.nan, 2e6, 6.0])
    others = {"raw/noise_scale": scale, "raw/noise_scale_standard_error": error}
    figure = drawn(tmp_path, ("gcsam", 0, record(**others)))
    ax = figure.axes[2]
    assert np.array_equal(line_of(ax, "raw")[:, 1], [70, np.nan, np.nan, 60], equal_nan=True)
    (mark,) = [line for line in ax.lines if line.get_marker() == r"$\infty$"]
    assert mark.get_xdata().tolist() == [10, 20]
    assert ax.get_ylim()[1] < 1e4
    run = Run(tmp_path / "gcsam-0.h5")
    assert open_steps(run, "raw/noise_scale").tolist() == [10, 20]
    assert open_steps(run, "control/noise_scale").tolist() == []
    assert r"$\|G\|^2$ not told from 0" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_where_the_network_diverged_it_is_marked(tmp_path: Path) -> None:
    status = ["COMPLETE", "COMPLETE", "NOT_FINITE", "FAILED"]
    values = np.array([1.0, 2.0, np.nan, np.nan])
    figure = drawn(tmp_path, ("sam", 0, record(trace=values, trace_status=status)))
    (mark,) = [line for line in figure.axes[1].lines if line.get_label() == "diverged"]
    assert mark.get_xdata().tolist() == [20]  # what failed otherwise is a gap


def test_methods_stand_side_by_side_on_common_axes(tmp_path: Path) -> None:
    figure = drawn(tmp_path, ("gcsam", 0, record(1.0)), ("sgd", 0, record(50.0)))
    assert [ax.get_title() for ax in figure.axes[:2]] == ["SGD", "GCSAM"]
    left, right = figure.axes[:2]
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[1] > 250
    assert to_hex(left.lines[0].get_color()).upper() == METHODS["sgd"].color
    assert to_hex(right.lines[0].get_color()).upper() == METHODS["gcsam"].color
    assert left.get_yscale() == right.get_yscale() == "log"
    # bands that reach below 0 end at the bottom of the common axis, not at one of their own within it
    wide = {"trace_standard_error": np.full(4, 1e3)}
    figure = drawn(tmp_path, ("gcsam", 0, record(1.0, **wide)), ("sgd", 0, record(50.0, **wide)))
    lowest = [ax.collections[0].get_paths()[0].vertices[:, 1].min() for ax in figure.axes[2:4]]
    assert lowest == [1.5, 1.5]


def test_seeds_are_thin_lines_and_their_mean_is_bold_at_the_steps_of_all(tmp_path: Path) -> None:
    figure = drawn(tmp_path, ("sam", 0, record(1.0)), ("sam", 1, record(3.0, steps=[0, 20, 30, 40])))
    ax = figure.axes[1]
    assert [len(line.get_xdata()) for line in ax.lines[:2]] == [4, 4]
    assert all(line.get_linewidth() < 1 for line in ax.lines[:2])
    np.testing.assert_allclose(line_of(ax, "SAM"), [[step, 6 * (1 + step / 10)] for step in (0, 20, 40)])


def test_the_error_of_a_mean_over_seeds_is_theirs_combined(tmp_path: Path) -> None:
    runs = [Run(write_run(tmp_path / f"{seed}.h5", "sam", seed, record(scale))) for seed, scale in ((0, 1.0), (1, 3.0))]
    found = mean_curve([stored_curve(run, "trace", "trace_status", METHODS["sam"]) for run in runs])
    np.testing.assert_allclose(found.error, np.hypot(0.5, 1.5) / 2 * (1 + STEPS / 10))


def test_a_logarithmic_schedule_has_a_logarithmic_axis(tmp_path: Path) -> None:
    for schedule, scale in (("log:5", "symlog"), ("every:10", "linear")):
        figure = drawn(tmp_path, ("sgd", 0, record(schedule=schedule)))
        assert {ax.get_xscale() for ax in figure.axes} == {scale}


def test_a_quantity_that_was_not_asked_for_has_no_panel(tmp_path: Path) -> None:
    nan = np.full(4, np.nan)
    others = {f"{kind}/noise_scale": nan for kind in KINDS}
    figure = drawn(tmp_path, ("gcsam", 0, record(lambda_max=nan, **others)))
    assert [ax.get_ylabel() for ax in figure.axes] == [PANELS[1].label, PANELS[3].label]


def test_a_trace_that_crosses_zero_has_a_linear_axis(tmp_path: Path) -> None:
    figure = drawn(tmp_path, ("gcsam", 0, record(trace=np.array([-1.0, 5.0, 50.0, 500.0]))))
    assert figure.axes[1].get_yscale() == "linear"


def test_without_two_measurements_there_is_no_figure(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "none.h5", "sgd", 0, None),
        write_run(tmp_path / "one.h5", "sgd", 1, record(steps=[0], threshold_with_momentum=np.array([9.0]))),
    ]
    assert figure_evolution(load_runs(runs)) is None
    assert figure_evolution([]) is None


def test_a_network_trained_elsewhere_goes_by_its_file(tmp_path: Path) -> None:
    write(tmp_path / "mine.h5", *KEY.split("/"), record())
    with context():
        figure = figure_evolution(load_runs([tmp_path / "mine.h5"]))
    assert figure is not None
    assert figure.axes[0].get_title() == "mine"
