"""The trial against a made-up clock whose fastest plan is known, and the ways in which data refuse a plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from analysis import Plan
from analysis.surface.plan import BUDGET, channels_last, checked, fastest, first_samples

BATCHES = [(torch.randn(200, 2), torch.zeros(200)) for _ in range(3)]


class Clock:
    """Times plans by a formula, in seconds for a point on one sample, and counts what was asked."""

    def __init__(self, cost: Callable[[Plan], float], loss: Callable[[Plan], float] = lambda plan: 1.0) -> None:
        self.cost, self.loss, self.asked, self.spent = cost, loss, [], 0.0

    def __call__(self, plan: Plan, samples: int) -> tuple[float, float]:
        self.asked.append(plan)
        seconds = samples * self.cost(plan)
        self.spent += seconds * plan.stacked
        return seconds, self.loss(plan) * samples


def by_size(best: int) -> Callable[[Plan], float]:
    return lambda plan: 1.0 + abs(math.log2((plan.batch_size or 200) / best))


@pytest.mark.parametrize("best", [16, 64, 128, 512])
def test_the_fastest_batch_size_is_found(best: int) -> None:
    """Fails if only smaller or only larger batches are tried."""
    assert fastest(BATCHES, 10**6, 1e-5, Clock(by_size(best))) == Plan(batch_size=best)


def test_a_size_that_is_no_faster_is_not_the_end() -> None:
    """Fails if the first candidate without a gain ends the search: 128 is near enough to 200 to be like it."""
    costs = {128: 1.0, 64: 0.5, 32: 0.6}
    assert fastest(BATCHES, 10**6, 1e-5, Clock(lambda plan: costs.get(plan.batch_size, 1.0))) == Plan(batch_size=64)


def test_every_part_of_a_plan_is_tried_and_kept_if_it_helps() -> None:
    def cost(plan: Plan) -> float:
        return (
            by_size(64)(plan)
            * (0.5 if plan.channels_last else 1.0)
            * {1: 1.0, 2: 0.8, 4: 0.6, 8: 0.7}.get(plan.stacked, 9.0)
        )

    assert fastest(BATCHES, 10**6, 1e-5, Clock(cost)) == Plan(64, True, 4)


def test_noise_of_two_percent_decides_nothing() -> None:
    assert fastest(BATCHES, 10**6, 1e-5, Clock(lambda plan: 1.0 if plan == Plan() else 0.98)) == Plan()


def test_a_plan_that_changes_the_loss_is_dropped() -> None:
    """Fails if speed alone decides: a contrastive loss depends on how the data are cut."""
    clock = Clock(by_size(64), lambda plan: 1.0 if plan.batch_size == 0 else 1.1)
    assert fastest(BATCHES, 10**6, 1e-5, clock).batch_size == 0


def test_a_plan_that_fails_is_dropped() -> None:
    def cost(plan: Plan) -> float:
        if plan.stacked > 1 or plan.batch_size == 64:
            raise RuntimeError("out of memory")
        return by_size(64)(plan)

    assert fastest(BATCHES, 10**6, 1e-5, Clock(cost)) == Plan(batch_size=128)


@pytest.mark.parametrize("num_points", [100, 2000])
def test_the_trial_stays_within_its_budget(num_points: int) -> None:
    """Fails if candidates are tried whatever they cost."""
    clock = Clock(lambda plan: 1.0)
    fastest(BATCHES, num_points, 1e-5, clock)
    expected = 600 * num_points
    a_candidate = 2 * 600  # its two passes: the one being tried when the budget is spent, and the two passes as given
    assert clock.spent <= BUDGET * expected + 2 * a_candidate


def test_a_scan_of_seconds_is_not_worth_a_trial() -> None:
    """Fails if the first pass of a process, which is slow only once, decides."""
    clock = Clock(by_size(64))
    seconds = 600 * by_size(64)(Plan()) * 100  # of a hundred points
    assert fastest(BATCHES, 100, 1e-5, clock, seconds * 1.01) == Plan()
    assert clock.asked == [Plan(), Plan()]
    assert fastest(BATCHES, 10**4, 1e-5, clock, seconds) == Plan(batch_size=64)


def test_batches_that_cannot_be_cut_stay_as_given() -> None:
    clock = Clock(by_size(64))
    assert fastest([({"x": torch.ones(3), "names": "abc"}, torch.ones(3))], 10**6, 1e-5, clock) == Plan()
    assert clock.asked == []


def test_arranged_batches_hold_the_same_samples_in_the_same_order() -> None:
    batches = [{"x": torch.arange(n * 2.0).reshape(n, 2) + 100 * n, "y": (torch.arange(n),)} for n in (5, 3)]
    found = Plan(batch_size=4).arranged(batches)
    assert [len(batch["x"]) for batch in found] == [4, 4]
    assert torch.equal(torch.cat([batch["x"] for batch in found]), torch.cat([batch["x"] for batch in batches]))
    assert torch.equal(torch.cat([batch["y"][0] for batch in found]), torch.cat([batch["y"][0] for batch in batches]))
    assert Plan().arranged(batches)[0] is batches[0]


def test_samples_of_different_shapes_are_not_put_together() -> None:
    batches = [(torch.ones(2, 5), torch.ones(2)), (torch.ones(2, 7), torch.ones(2))]
    with pytest.raises(ValueError, match="samples of different shapes cannot be put together; leave them as given"):
        Plan(batch_size=4).arranged(batches)


def test_images_lie_channels_last_and_nothing_else() -> None:
    image, label, volume = torch.ones(2, 3, 4, 5), torch.ones(2, 3, 4, 5, dtype=torch.int64), torch.ones(2, 3, 4)
    ((found, same, other),) = Plan(channels_last=True).arranged([(image, label, volume)])
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert same is label
    assert other is volume


@pytest.mark.parametrize("shape", [(5, 1, 3, 4), (5, 6, 1, 1), (5, 6, 3, 4), (1, 1, 1, 1)])
def test_one_channel_or_one_pixel_has_the_strides_of_its_order_too(shape: tuple[int, ...]) -> None:
    """Fails with `contiguous` alone, by which a convolution takes the kernel for the other order."""
    tensor = torch.randn(shape)
    found = channels_last(tensor)
    assert torch.equal(found, tensor)
    assert found.stride() == torch.empty(shape, memory_format=torch.channels_last).stride()


def test_the_first_samples_are_the_first() -> None:
    found = first_samples(BATCHES, 250)
    assert [len(x) for x, _ in found] == [200, 50]
    assert torch.equal(found[1][0], BATCHES[1][0][:50])
    assert len(first_samples(BATCHES, 10**6)) == 3


@pytest.mark.parametrize("plan", ["fast", None, 3])
def test_what_is_no_plan_is_one_line(plan: Any) -> None:
    with pytest.raises(ValueError, match=r"plan must be 'auto', 'given' or an analysis\.Plan, got .*'given' repeats"):
        checked(plan)
    assert checked(Plan(3)) == Plan(3)


@pytest.mark.parametrize("numbers", [{"batch_size": -1}, {"stacked": 0}])
def test_a_plan_out_of_range_is_one_line(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a plan needs batch_size >= 0"):
        Plan(**numbers)
