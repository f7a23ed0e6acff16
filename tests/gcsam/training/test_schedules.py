"""Learning rates by closed form, and against torch's own schedule."""

from __future__ import annotations

import math

import pytest
import torch

from gcsam.training.schedules import SCHEDULES, learning_rate


def test_cosine_has_its_closed_form() -> None:
    found = [learning_rate("cosine", 0.8, step, 10) for step in range(10)]
    assert found[0] == 0.8
    assert found[5] == pytest.approx(0.4)
    assert found == pytest.approx([0.8 * math.cos(math.pi * step / 20) ** 2 for step in range(10)])
    assert min(found) > 0


def test_constant_is_constant() -> None:
    assert {learning_rate("constant", 0.8, step, 10) for step in range(10)} == {0.8}


@pytest.mark.parametrize("total", [2, 3, 7, 40])
def test_one_cycle_is_that_of_torch(total: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.4, total_steps=total, cycle_momentum=False)
    for step in range(total):
        assert learning_rate("onecycle", 0.4, step, total) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        if step + 1 < total:
            scheduler.step()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_has_a_rate_for_a_single_step(schedule: str) -> None:
    assert 0 < learning_rate(schedule, 0.4, 0, 1) <= 0.4
