"""Budgets: what is read, what is left by count and by a clock that the test moves."""

from __future__ import annotations

import math
from typing import Any

import pytest

from analysis.report import budget
from analysis.report.budget import Limit, Purse, parse, seconds_of_a_gradient
from tests.analysis.report.networks import Counting, relu_network


@pytest.mark.parametrize(
    ("given", "gradients", "seconds"),
    [
        (None, math.inf, math.inf),
        (200, 200.0, math.inf),
        (0.5, 0.5, math.inf),
        (math.inf, math.inf, math.inf),
        ("5 min", math.inf, 300.0),
        (" 1.5h ", math.inf, 5400.0),
        ("30s", math.inf, 30.0),
        (".5 sec", math.inf, 0.5),
    ],
)
def test_what_is_read(given: float | str | None, gradients: float, seconds: float) -> None:
    assert parse(given) == Limit(gradients, seconds)


@pytest.mark.parametrize("given", [0, -1, math.nan, True, "5", "5 days", "0 s", "-5 min", "min", "", [5]])
def test_what_is_refused(given: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^budget must be a time such as '30 s'.* got .*; None sets no limit$"
    ) as told:
        parse(given)
    assert repr(given) in str(told.value)


def test_what_is_left_by_count_and_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(budget.time, "perf_counter", lambda: clock[0])
    objective = relu_network()
    counted, timed, open_ended = (Purse(parse(each), objective) for each in (50, "10 s", None))
    clock[0] += 4
    for purse in (counted, timed, open_ended):
        purse.spend(20)
    assert counted.left(0.5) == 30  # whatever the clock
    assert timed.left(0.5) == 12  # 6 s of 0.5 s each, whatever was counted
    assert open_ended.left(0.5) == math.inf
    clock[0] += 7
    assert timed.left(0.5) < 0


def test_the_time_of_a_gradient_is_the_median_of_three_after_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the first gradient, slow for its allocations, is among them, or their mean is taken."""
    clock, taken = [0.0], iter([100.0, 3.0, 1.0, 50.0])
    objective = Counting(relu_network())
    monkeypatch.setattr(budget.time, "perf_counter", lambda: clock[0])

    def gradient() -> None:
        clock[0] += next(taken)

    monkeypatch.setattr(objective, "gradient", gradient)
    assert seconds_of_a_gradient(objective) == 3.0
    assert next(taken, None) is None
