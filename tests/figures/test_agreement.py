"""Agreement by batch size: what the artists hold is what the files hold, means over seeds, predictions, gaps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from analysis.store import Measurement, write
from figures import FIGURES, Run, draw_study, load_runs
from figures.agreement import SIDE, draw_predictions, figure_agreement
from figures.style import KINDS
from tests.figures.synthetic import measurement

SIZES = (2, 8, 32)


def minibatch(shift: float = 0.0, sizes: tuple[int, ...] = SIZES, noise_scale: float = 30.0) -> Measurement:
    """Cosines that tell kinds and sizes apart; all errors are 0.03, of the gains 0.001."""
    values = shift + 0.1 * np.arange(1, len(sizes) + 1)

    def columns(cosine: Any, error: float) -> dict[str, Any]:
        return {"cosine": (cosine, "size"), "cosine_standard_error": (np.full(len(sizes), error), "size")}

    groups = {
        kind: measurement(**columns(values + 0.01 * place, 0.03), noise_scale=noise_scale * (1 + place))
        for place, kind in enumerate(KINDS)
    }
    gains = {"centralized_gain": 0.01, "control_gain": 0.02}
    groups.update({name: measurement(**columns(np.full(len(sizes), gain), 0.001)) for name, gain in gains.items()})
    return measurement(groups, batch_sizes=(np.array(sizes), "size"))


def run_of(path: Path, content: Measurement, method: str = "gcsam", seed: int = 0) -> Run:
    write(path, "training", "summary", measurement(method=method, seed=seed))
    write(path, "noise", "minibatch", content)
    return load_runs([path])[0]


def drawn(ax: Axes) -> list[tuple[list[float], list[float], list[float]]]:
    """Return batch sizes, values and half-lengths of the bars of each kind."""
    found = []
    for container in ax.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (bars,) = container
        halves = [float(np.ptp(bar[:, 1])) / 2 for bar in bars.get_segments()]
        found.append((list(line.get_xdata()), list(line.get_ydata()), halves))
    return found


def figure_of(runs: list[Run]) -> Figure:
    figure = figure_agreement(runs)
    assert figure is not None
    return figure


def test_points_and_bars_are_those_of_the_file(tmp_path: Path) -> None:
    top, below = figure_of([run_of(tmp_path / "run.h5", minibatch())]).axes
    for place, (sizes, values, halves) in enumerate(drawn(top)):
        assert sizes == pytest.approx(np.array(SIZES) * SIDE ** (place - 1))
        assert values == pytest.approx(np.array([0.1, 0.2, 0.3]) + 0.01 * place)
        assert halves == pytest.approx([0.06] * 3)  # two standard errors
    (_, centralized, halves), (_, control, _) = drawn(below)
    assert centralized == pytest.approx([0.01] * 3)
    assert control == pytest.approx([0.02] * 3)
    assert halves == pytest.approx([0.002] * 3)
    assert top.get_xscale() == "log"


def test_seeds_are_averaged_where_they_hold_a_size(tmp_path: Path) -> None:
    """Fails if runs of other batch sizes are mixed up, or their errors are not combined."""
    runs = [
        run_of(tmp_path / "0.h5", minibatch()),
        run_of(tmp_path / "1.h5", minibatch(shift=0.2, sizes=(8, 64)), seed=1),
    ]
    top, _ = figure_of(runs).axes
    _, values, halves = drawn(top)[0]
    assert values == pytest.approx([0.1, (0.2 + 0.3) / 2, 0.3, 0.4])
    assert halves == pytest.approx([0.06, 0.06 / math.sqrt(2), 0.06, 0.06])


def test_a_column_for_each_method(tmp_path: Path) -> None:
    methods = ("gcsam", "sgd")
    runs = [run_of(tmp_path / f"{m}.h5", minibatch(shift=0.1 * len(m)), m) for m in methods]
    axes = figure_of(runs).axes
    assert [ax.get_title() for ax in axes[:2]] == ["SGD", "GCSAM"]
    assert drawn(axes[0])[0][1] == pytest.approx([0.4, 0.5, 0.6])


def test_the_prediction_is_that_of_the_noise_scale(ax: Axes) -> None:
    draw_predictions(ax, {"raw": np.array([10.0, 30.0]), "control": np.array([math.inf, math.inf])}, np.array([2, 32]))
    (curve,) = ax.lines
    sizes, values = curve.get_data()
    assert (sizes[0], sizes[-1]) == pytest.approx((2, 32))
    assert values == pytest.approx((1 / (1 + 10 / sizes) + 1 / (1 + 30 / sizes)) / 2)
    assert curve.get_color() == KINDS["raw"].color
    assert not ax.texts


def test_without_a_noise_scale_the_panel_says_so(tmp_path: Path) -> None:
    top, _ = figure_of([run_of(tmp_path / "run.h5", minibatch(noise_scale=math.inf))]).axes
    assert [text.get_text().startswith("no prediction") for text in top.texts] == [True]
    assert len(drawn(top)) == 3


def test_an_error_that_is_not_there_has_no_bar(tmp_path: Path) -> None:
    content = minibatch()
    content.groups["raw"].variables["cosine_standard_error"].data[2] = math.nan
    top, _ = figure_of([run_of(tmp_path / "run.h5", content)]).axes
    assert drawn(top)[0][2] == pytest.approx([0.06, 0.06, 0.0])


def test_labels_are_batch_sizes_and_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    sizes = (1, 2, 4, 8, 16, 32, 64)
    _, below = figure_of([run_of(tmp_path / "run.h5", minibatch(sizes=sizes))]).axes
    assert below.get_xticks().tolist() == [1, 4, 16, 64]


def test_the_legend_names_every_kind_and_the_bars(tmp_path: Path) -> None:
    (legend,) = figure_of([run_of(tmp_path / "run.h5", minibatch())]).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "raw: SAM",
        "centralized: GCSAM",
        "random projection",
        "± 2 standard errors",
        "predicted by the noise scale",
    ]


def test_it_is_drawn_with_a_study_where_files_hold_it(tmp_path: Path, runs: list[Run]) -> None:
    path = run_of(tmp_path / "run.h5", minibatch()).path
    assert [file.name for file in draw_study([path], tmp_path / "figures", formats=("png",))] == ["agreement.png"]
    assert FIGURES["agreement"](runs) is None
