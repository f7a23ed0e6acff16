"""What a run remembers, and the share of the gradient that P keeps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gcsam.training.history import History, ascent_ratios, centralized_layers

ROW = {
    "epoch": 1,
    "train_loss": 2.0,
    "train_accuracy": 0.5,
    "validation_loss": 1.0,
    "validation_accuracy": 0.25,
    "learning_rate": 0.1,
    "gradient_norm": 4.0,
    "seconds": 3.0,
    "gradient_evaluations": 7,
    "ascent_ratio_total": 0.9,
}


def test_rows_and_steps_survive_storing() -> None:
    history = History(2)
    history.add_epoch(**ROW, ascent_ratio=[0.5, 0.75])
    history.add_step(2.0, 0.25)
    history.add_step(1.0, 0.75)
    stored = history.tensors()
    assert stored["ascent_ratio"].tolist() == [[0.5, 0.75]]
    assert stored["step_loss"].tolist() == [2.0, 1.0]
    again = History(2, stored)
    again.add_epoch(**{**ROW, "epoch": 2}, ascent_ratio=[1.0, 1.0])
    assert again.tensors()["epoch"].tolist() == [1, 2]
    assert again.last() == {**ROW, "epoch": 2}
    assert (again.total("seconds"), again.median("step_seconds")) == (6.0, 0.5)


def test_without_layers_there_are_no_columns() -> None:
    history = History(0)
    history.add_epoch(**ROW, ascent_ratio=[])
    assert history.tensors()["ascent_ratio"].shape == (1, 0)


def test_layers_are_those_that_p_acts_on() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))
    assert centralized_layers(model) == ("0.weight", "3.weight")


def test_ratios_by_hand() -> None:
    """Rows [3, 1] and [1, 1]: P keeps [1, -1] and nothing. The bias [2] is left alone."""
    model = nn.Linear(2, 2)
    model.weight.grad = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    model.bias.grad = torch.tensor([2.0, 0.0])
    total, each = ascent_ratios(model)
    assert each == [pytest.approx(math.sqrt(2 / 12))]
    assert total == pytest.approx(math.sqrt((2 + 4) / (12 + 4)))


def test_no_gradient_has_no_ratio() -> None:
    total, each = ascent_ratios(nn.Linear(2, 2))
    assert math.isnan(total)
    assert math.isnan(each[0])
