"""The figure of corrupted images holds the means of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from figures.reading import load_runs
from figures.robustness import figure_robustness, stored_robustness
from figures.style import PRESETS, context
from tests.figures.fit import clashes
from tests.figures.report.conftest import write_conditions

# [method, seed]: one number per run, in percent at severity 0; each severity takes ten points, each kind one.
CLEAN = {"sgd": (90.0, 92.0), "gcsam": (95.0, 97.0)}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_conditions(tmp_path_factory.mktemp("robustness"), CLEAN)


def test_lines_and_dots_are_means_over_seeds(paths: list[Path]) -> None:
    """Fails if the clean images count among the corrupted, or kinds and severities change places."""
    with context():
        figure = figure_robustness(load_runs(paths))
    assert figure is not None
    left, right = figure.axes
    lines = {str(line.get_label()): line for line in left.lines}
    assert lines["SGD"].get_ydata() == pytest.approx([90.5, 80.5, 70.5])  # 91, less half a point for the second kind
    assert lines["GCSAM"].get_ydata() == pytest.approx([95.5, 85.5, 75.5])
    assert lines["SGD"].get_xdata() == pytest.approx([0.0, 1.0, 3.0])
    dots = np.array([line.get_xdata() for line in right.lines])
    assert dots == pytest.approx(np.array([[76.0, 75.0], [81.0, 80.0]]))
    assert [text.get_text() for text in right.get_yticklabels()] == ["gaussian noise", "blur"]


def test_a_run_at_other_severities_is_left_out(tmp_path: Path) -> None:
    """Fails if numbers of different corruptions are averaged."""
    paths = write_conditions(tmp_path / "a", {"sgd": (90.0,)})
    paths += write_conditions(tmp_path / "b", {"sam": (50.0,)}, severity=(0.0, 2.0, 5.0))
    found = stored_robustness(load_runs(paths))
    assert found is not None
    assert list(found.accuracy) == ["sgd"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["blur", "elastic transformation"])
def test_labels_stay_in_the_figure(paths: list[Path], preset: str, kind: str) -> None:
    """Fails if the label at the right is one line in the narrow preset, where names leave its panel less room."""
    runs = load_runs(paths)
    for run in runs:
        run.measurements["training/robustness"].variables["corruption"].data[1] = kind
    with context(preset):
        figure = figure_robustness(runs)
        assert figure is not None
        assert clashes(figure) == []
    label = figure.axes[1].get_xlabel()
    assert label.replace("\n", " ") == "test accuracy, mean over severities [%]"
    assert ("\n" in label) == (preset == "one-column")


def test_without_the_measurement_there_is_no_figure(tmp_path: Path) -> None:
    assert figure_robustness([]) is None
