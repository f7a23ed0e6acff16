"""The budget by a clock that the test moves: what is allowed when, and what counts as training."""

from __future__ import annotations

import math

import pytest

from analysis.probe.budget import Budget
from tests.analysis.probe.clock import Clock


def spend(budget: Budget, clock: Clock, quantity: str, seconds: float) -> None:
    with budget.spending(quantity):
        clock.forward(seconds)


def test_the_first_measurement_is_always_allowed_and_the_next_when_training_has_paid_for_both() -> None:
    """Fails if the expected cost, or what was spent before, is left out of the sum."""
    clock = Clock()
    budget = Budget(0.1, clock)
    assert budget.allows(["a"])  # at second 0
    spend(budget, clock, "a", 1.0)
    assert not budget.allows(["a"])
    clock.forward(19.0)
    assert not budget.allows(["a"])  # 1 spent and 1 expected need 20 seconds of training
    clock.forward(1.0)
    assert budget.allows(["a"])


def test_time_spent_measuring_is_no_training() -> None:
    clock = Clock()
    budget = Budget(0.5, clock)
    spend(budget, clock, "a", 10.0)
    assert (budget.elapsed(), budget.trained(), budget.spent) == (10.0, 0.0, 10.0)
    clock.forward(30.0)
    assert (budget.elapsed(), budget.trained()) == (40.0, 30.0)
    assert not budget.allows(["a"])
    clock.forward(10.0)
    assert budget.allows(["a"])  # 10 + 10 <= 0.5 * 40


def test_quantities_are_counted_together_each_at_its_latest_cost() -> None:
    clock = Clock()
    budget = Budget(0.5, clock)
    spend(budget, clock, "a", 100.0)  # the first call of anything is slow
    spend(budget, clock, "a", 1.0)
    assert budget.allows(["a", "b"])  # b was never measured
    spend(budget, clock, "b", 2.0)
    assert (budget.last("a"), budget.last("b")) == (1.0, 2.0)
    clock.forward(2 * (103 + 3) - 0.5)
    assert not budget.allows(["a", "b"])
    assert budget.allows(["a"])
    clock.forward(0.5)
    assert budget.allows(["a", "b"])


def test_over_a_long_training_the_share_is_kept() -> None:
    """The law itself: with steps of 1 second and a measurement of 3, asked for after every step."""
    clock = Clock()
    budget = Budget(0.05, clock)
    for _ in range(5000):
        if budget.allows(["a"]):
            spend(budget, clock, "a", 3.0)
        clock.forward(1.0)
    assert 0.049 < budget.spent / budget.trained() <= 0.05


def test_a_block_that_raises_is_counted() -> None:
    clock = Clock()
    budget = Budget(0.05, clock)

    def failing() -> None:
        with budget.spending("a"):
            clock.forward(2.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert budget.spent == budget.last("a") == 2.0


def test_it_goes_on_where_it_was() -> None:
    """Fails if a resumed training starts with an empty account."""
    clock = Clock()
    budget = Budget(0.1, clock, trained=95.0, spent=5.0, expected={"a": 5.0})
    assert (budget.elapsed(), budget.trained()) == (100.0, 95.0)
    assert not budget.allows(["a"])
    clock.forward(5.0)
    assert budget.allows(["a"])
    assert math.isnan(budget.last("b"))


def test_without_a_limit_everything_is_allowed() -> None:
    clock = Clock()
    budget = Budget(math.inf, clock)
    spend(budget, clock, "a", 1e6)
    clock.forward(1e-3)
    assert budget.allows(["a"])


@pytest.mark.parametrize("share", [0, -0.1, math.nan, "5 %", True, None])
def test_what_is_no_share_is_refused(share: object) -> None:
    with pytest.raises(ValueError, match=rf"budget must be a share of the training time, a number > 0, got {share!r};"):
        Budget(share, Clock())  # type: ignore[arg-type]
