"""What is said about the noise follows from the intervals, and every number is that of its layer."""

from __future__ import annotations

import math

import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from analysis import GradientNoise, Objective, gradient_noise
from analysis.store import Measurement
from landscape.tables.noise import (
    ALL,
    HIGHER,
    LEGEND,
    LOWER,
    NEITHER,
    OPEN,
    UNTOUCHED,
    Row,
    answer,
    layer_table,
    rows,
    training_answer,
    training_table,
    with_error,
)


def text(table: Table) -> str:
    console = Console(width=140)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def measured(along_ones: float, beside: float, noise: float = 0.5, seed: int = 0) -> GradientNoise:
    """One row of 8 weights, loss -w.x: g = -x, with a signal along ones, which P takes away, and one beside it."""
    x = noise * torch.randn(400, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + along_ones
    x[:, :4] += beside
    x[:, 4:] -= beside
    model = nn.Linear(8, 1, bias=False).double()
    return gradient_noise(Objective(model, lambda output, _: -output.mean(), [(x, torch.zeros(400))]))


def noisy_along_ones() -> GradientNoise:
    """Noise along ones, signal beside it: what P is for."""
    x = torch.randn(400, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).repeat(1, 8)
    x = x + 0.1 * torch.randn(400, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[:, :4] += 1
    x[:, 4:] -= 1
    model = nn.Linear(8, 1, bias=False).double()
    return gradient_noise(Objective(model, lambda output, _: -output.mean(), [(x, torch.zeros(400))]))


def stored(found: GradientNoise) -> Measurement:
    return found.to_measurement()


def row(to_raw: tuple[float, float, float], to_control: tuple[float, float, float], kept: float = 0.9) -> Row:
    return Row("layer", (10.0, 1.0), kept, 0.8, to_raw, 1.0, to_control)


@pytest.mark.parametrize(
    ("to_raw", "to_control", "words"),
    [
        ((0.8, 0.7, 0.9), (0.8, 0.7, 0.9), LOWER),
        ((0.8, 0.7, 0.9), (0.9, 0.8, 1.1), NEITHER),  # no more than by chance
        ((0.9, 0.8, 1.1), (0.8, 0.7, 0.9), NEITHER),
        ((1.2, 1.1, 1.3), (1.2, 1.1, 1.3), HIGHER),
        ((1.2, 1.1, 1.3), (1.2, 0.9, 1.3), NEITHER),
        ((0.8, 0.0, math.inf), (0.8, 0.7, 0.9), OPEN),
        ((math.nan, 0.0, math.inf), (math.nan, 0.0, math.inf), OPEN),
    ],
)
def test_the_words_follow_from_both_intervals(
    to_raw: tuple[float, float, float], to_control: tuple[float, float, float], words: str
) -> None:
    assert row(to_raw, to_control).words == words


def test_where_p_does_nothing_it_says_so() -> None:
    assert row((1.0, 0.0, math.inf), (1.0, 0.0, math.inf), kept=1.0).words == UNTOUCHED


def test_every_number_is_that_of_its_layer() -> None:
    found = measured(1.0, 0.5)
    (layer, total) = rows(stored(found))
    assert (layer.label, total.label) == ("Linear", ALL)
    assert layer.noise_scale == (float(found.raw.noise_scale[0]), float(found.raw.noise_scale_standard_error[0]))
    assert total.noise_kept == found.centralized.total.trace / found.raw.total.trace
    assert total.signal_kept == found.centralized.total.signal / found.raw.total.signal
    pair = found.centralized_to_raw.total
    assert total.to_raw == (pair.ratio, pair.low, pair.high)
    assert total.control == found.control_to_raw.total.ratio
    pair = found.centralized_to_control.total
    assert total.to_control == (pair.ratio, pair.low, pair.high)
    shown = text(layer_table(stored(found)))
    assert f"{100 * total.noise_kept:.0f} %" in shown
    assert f"{total.to_raw[0]:.3f} [{total.to_raw[1]:.3f}, {total.to_raw[2]:.3f}]" in shown
    assert "from 400 samples" in shown


def test_a_signal_along_ones_is_answered_no() -> None:
    said = answer(stored(measured(1.0, 0.2)))
    assert said.startswith("No, the opposite: P keeps ")
    assert "of what a random projection leaves" in said


def test_noise_along_ones_is_answered_yes() -> None:
    said = answer(stored(noisy_along_ones()))
    assert said.startswith("Yes: P keeps 1 % of the noise and 100 % of the signal")


def test_isotropic_noise_and_signal_make_no_difference() -> None:
    """P takes an eighth of the noise and, of a signal in the first weight alone, an eighth too."""
    x = torch.randn(400, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x[:, 0] += 1
    objective = Objective(
        nn.Linear(8, 1, bias=False).double(), lambda output, _: -output.mean(), [(x, torch.zeros(400))]
    )
    assert answer(stored(gradient_noise(objective))).startswith("No difference seen: ")


def test_without_a_signal_the_answer_is_open_and_says_what_to_do() -> None:
    found = stored(measured(0.0, 0.0))
    said = answer(found)
    assert said.startswith("Open: P keeps ")
    assert "--over-training" in said
    assert "not told from zero" in said
    assert text(layer_table(found)).count(OPEN) >= 4


def test_layers_that_p_does_not_touch_share_a_line() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Tanh(), nn.LayerNorm(3), nn.Linear(3, 2)).double()
    data = [(torch.randn(50, 4, dtype=torch.float64), torch.randint(2, (50,)))]
    shown = text(layer_table(stored(gradient_noise(Objective(model, nn.CrossEntropyLoss(), data)))))
    assert "3 more" in shown  # the norms, and the layer that one of them feeds
    assert shown.count(UNTOUCHED) == 1
    only = nn.Linear(1, 2).double()
    pairs = [(torch.randn(50, 1, dtype=torch.float64), torch.randint(2, (50,)))]
    found = stored(gradient_noise(Objective(only, nn.CrossEntropyLoss(), pairs)))
    assert answer(found).startswith("P changes nothing here")


def test_training_has_a_row_for_each_checkpoint_and_a_sum() -> None:
    found = {
        "epoch 0": stored(measured(1.0, 0.2)),
        "epoch 1": stored(noisy_along_ones()),
        "epoch 2": stored(measured(0, 0)),
    }
    shown = text(training_table(found)).splitlines()
    for name, words in zip(found, (HIGHER, LOWER, OPEN), strict=True):
        assert any(name in line and words in line for line in shown)
    said = answer_parts(training_answer(found))
    assert said == {"lower in 1", "higher in 1", "open in 1 of 3 checkpoints"}
    low, high = sorted(rows(one)[-1].to_raw[0] for one in list(found.values())[:2])
    assert f"between {low:.3f} and {high:.3f}" in training_answer(found)


def answer_parts(said: str) -> set[str]:
    return set(said.removeprefix("Over training: relative noise under P is ").split(";")[0].split(", "))


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (12.0, 2.1, "12.0 +- 2.1"),
        (520.3, 702.0, "520 +- 700"),
        (5.0, math.nan, "5"),
        (1.0, 99.0, OPEN),
        (math.inf, math.nan, OPEN),
    ],
)
def test_values_have_the_digits_of_their_errors(value: float, error: float, expected: str) -> None:
    assert with_error(value, error) == expected


def test_the_legend_explains_every_heading() -> None:
    for word in ("noise scale:", "kept:", "P / raw:", "random:", "relative noise:", "open:"):
        assert any(word in line for line in LEGEND)
