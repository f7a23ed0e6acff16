"""What is said of batches, tails, weights and the spectrum follows from the numbers in the file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from analysis import Objective, gradient_snr, gradient_tails, minibatch_noise, noise_covariance
from analysis.evidence import Result
from landscape.tables.noise_details import (
    AS_GAUSSIAN,
    BETTER,
    HEAVIER,
    NEITHER,
    WORSE,
    agreement,
    batch_report,
    heaviness,
    spectrum_report,
    tail_report,
    weight_report,
)
from landscape.tables.noise_lines import noise_line
from tests.landscape.tables.test_noise import measured as noise_of


def text(things: Iterable[Table | str]) -> str:
    console = Console(width=140)
    with console.capture() as captured:
        for thing in things:
            console.print(thing, soft_wrap=isinstance(thing, str), highlight=False)
    return captured.get()


@pytest.fixture(scope="module")
def objective() -> Objective:
    torch.manual_seed(0)
    x = torch.randn(60, 4, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    return Objective(model, nn.CrossEntropyLoss(), [(x, (x[:, 0] > 0).long())])


@pytest.mark.parametrize(
    ("to_raw", "to_control", "words"),
    [
        ((0.1, 0.04), (0.1, 0.04), BETTER),
        ((0.1, 0.06), (0.1, 0.04), NEITHER),
        ((0.1, 0.04), (0.1, 0.06), NEITHER),  # no more than by chance
        ((-0.1, 0.04), (-0.1, 0.04), WORSE),
        ((-0.1, 0.04), (0.1, 0.04), NEITHER),
        ((0.1, math.nan), (0.1, math.nan), NEITHER),
    ],
)
def test_batches_agree_better_only_beyond_both_errors(to_raw: Any, to_control: Any, words: str) -> None:
    assert agreement(to_raw, to_control) == words


def test_every_batch_size_has_its_cosines_and_gains(objective: Objective) -> None:
    found = minibatch_noise(objective, [2, 8], draws=16)
    shown = text(batch_report(found.to_measurement()))
    rows = [line for line in shown.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["2", "8"]
    for i, row in enumerate(rows):
        cells = [cell.strip() for cell in row.split("│")[2:7]]
        columns = [found.raw, found.centralized, found.control, found.centralized_gain, found.gain_beyond_control]
        for cell, column in zip(cells, columns, strict=True):
            value, error = (float(part) for part in cell.split(" +- "))
            assert value == pytest.approx(float(column.cosine[i]), abs=6e-3)  # two digits of the error, at least
            assert error == pytest.approx(float(column.cosine_standard_error[i]), abs=6e-3)
    assert "two disjoint batches of 60 samples" in shown
    assert "rho 0.05" in shown


@pytest.mark.parametrize(
    ("high", "gaussian_low", "words"),
    [(1.5, 1.9, HEAVIER), (1.95, 1.9, AS_GAUSSIAN), (math.nan, math.nan, "not told")],
)
def test_tails_are_heavier_only_outside_the_gaussian_range(high: float, gaussian_low: float, words: str) -> None:
    value = high if math.isnan(high) else high - 0.1
    assert heaviness({"value": value, "interval_high": high, "gaussian_low": gaussian_low}) == words


def test_tails_are_shown_with_their_gaussian_counterparts(objective: Objective) -> None:
    found = gradient_tails(objective)
    shown = text(tail_report(found.to_measurement()))
    index = found.raw.total.norm_hill
    assert f"{index.value:.2f} [{index.interval_low:.2f}, {index.interval_high:.2f}]" in shown
    assert f"{index.gaussian:.2f} [{index.gaussian_low:.2f}, {index.gaussian_high:.2f}]" in shown
    assert "60 gradients" in shown
    assert "random batches" not in shown
    assert "Of random batches of 3 samples." in text(
        tail_report(gradient_tails(objective, batch_size=3).to_measurement())
    )


def test_weights_are_shown_by_layer(objective: Objective) -> None:
    found = gradient_snr(objective)
    shown = text(weight_report(found.to_measurement()))
    rows = [line.split("│") for line in shown.splitlines() if line.startswith("│")]
    assert [row[1].strip() for row in rows] == ["0", "2", "all weights"]
    assert rows[1][2].strip() == f"{float(found.raw.mean[1]):.1e} +- {float(found.raw.mean_standard_error[1]):.0e}"
    total = found.centralized.total
    assert rows[2][3].strip() == f"{total.mean:.1e} +- {total.mean_standard_error:.0e}"
    assert rows[2][6].strip() == "0 %"


def test_the_spectrum_is_shown_for_each_kind(objective: Objective) -> None:
    found = noise_covariance(objective, k=2)
    shown = text(spectrum_report(found.to_measurement()))
    assert f"{100 * found.raw.share:.0f} %" in shown
    for kind, title in (("raw", "raw"), ("centralized", "centralized"), ("control", "random")):
        (row,) = [line for line in shown.splitlines() if line.startswith(f"│ {title} ")]
        assert f"{getattr(found, kind).overlap:.2f}" in row
    assert "of the 2 noisiest directions" in shown


def test_each_measurement_has_a_line_of_its_own(objective: Objective) -> None:
    found: dict[str, Result] = {
        "noise scale: raw": noise_of(1.0, 0.5),
        "noise scale: raw ": minibatch_noise(objective, [4], draws=8),
        "tail index of norms: raw": gradient_tails(objective),
        "alignment with the Hessian: raw": noise_covariance(objective, k=1),
        "mean ratio of weights: raw": gradient_snr(objective),
    }
    for start, result in found.items():
        value, evidence = noise_line(result.to_measurement())
        assert value.startswith(start.strip())
        numbers = [float(part.split()[-1]) for part in value.partition(":")[2].split(",")]
        assert len(numbers) == 3
        assert np.isfinite(numbers[0])
        assert "raw" in evidence
