"""The stability threshold against torch's own optimizers on a quadratic. Blind to what networks do at the threshold."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from analysis.probe.threshold import threshold_of
from gcsam import GCSAM

LR = 0.1
WAYS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.5, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True},
    {"dampening": 0.5},  # which torch ignores without momentum
]


def final(curvature: float, options: dict[str, Any]) -> float:
    """|w| after 1000 steps on curvature * w^2 / 2 from w = 1."""
    w = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=LR, **options)
    for _ in range(1000):
        w.grad = curvature * w.detach()
        optimizer.step()
    return abs(w.item())


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_a_quadratic_converges_below_it_and_diverges_above(options: dict[str, Any]) -> None:
    """3 % off, the root of the recursion is off 1 by about 3 % * (1 - beta) / 2 or more: e^-1.5 in 1000 steps at worst.

    Fails if momentum, dampening or Nesterov's term is left out of the threshold.
    """
    groups = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=LR, **options).param_groups
    threshold = threshold_of(groups).with_momentum
    assert final(0.97 * threshold, options) < 0.5
    assert final(1.03 * threshold, options) > 2.0


def test_the_plain_one_is_2_over_the_learning_rate_and_wrappers_are_read() -> None:
    optimizer = GCSAM([torch.nn.Parameter(torch.ones(1))], torch.optim.SGD, lr=LR, momentum=0.9)
    assert threshold_of(optimizer.param_groups) == (LR, 20.0, pytest.approx(38.0))
    assert threshold_of(optimizer.param_groups, 0.2) == (0.2, 10.0, pytest.approx(19.0))


def test_of_several_groups_the_first_to_diverge_counts() -> None:
    a, b = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    groups = [{"params": [a], "lr": 0.1, "momentum": 0.9}, {"params": [b], "lr": 0.2}]
    built = torch.optim.SGD(groups, lr=1.0).param_groups
    assert threshold_of(built) == (0.2, 10.0, pytest.approx(10.0))
    assert threshold_of(built, [0.4, 0.1]) == (0.4, 5.0, pytest.approx(9.5))


@pytest.mark.parametrize("base", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
def test_an_adaptive_method_has_none_here(base: Any) -> None:
    found = threshold_of(base([torch.nn.Parameter(torch.ones(1))], lr=0.01).param_groups)
    assert found.learning_rate == 0.01
    assert math.isnan(found.plain)
    assert math.isnan(found.with_momentum)


def test_without_an_optimizer_a_rate_alone_is_plain_gradient_descent() -> None:
    found = threshold_of([], 0.1)
    assert (found.learning_rate, found.plain) == (0.1, 20.0)
    assert math.isnan(found.with_momentum)
    assert all(math.isnan(value) for value in threshold_of([]))
    stopped = threshold_of(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.0).param_groups)
    assert stopped.learning_rate == 0.0
    assert math.isnan(stopped.plain)
    assert math.isnan(stopped.with_momentum)
