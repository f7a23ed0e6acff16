"""The repeated loss against `Objective.loss`, which has tests of its own; blind to what both get wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import Objective
from analysis.surface import evaluate
from analysis.surface.evaluate import held, repeated_loss
from tests.analysis.test_objective import assert_same, everything
from tests.cases import CASES, IDS, Case


class Counting:
    """Batches that count how often they are read."""

    def __init__(self, batches: list) -> None:
        self.batches, self.passes = batches, 0

    def __iter__(self) -> Any:
        self.passes += 1
        return iter(self.batches)


def points_around(objective: Objective) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [objective.weights() + torch.randn(objective.num_parameters, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("num_bytes", [2**30, 0], ids=["held", "read anew"])
def test_equals_the_objective_bit_for_bit(case: Case, num_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "HELD_BYTES", num_bytes)
    model, loss_fn, batches = case.make(torch.float32)
    objective = Objective(model, loss_fn, batches)
    points = points_around(objective)
    before = everything(model)
    with repeated_loss(objective) as loss:
        found = [loss(at) for at in points]
    assert found == [objective.loss(at) for at in points]
    assert len(set(found)) == 3
    assert_same(before, everything(model))


def test_the_model_is_as_found_after_an_exception() -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    before = everything(model)

    def stopped() -> None:
        with repeated_loss(objective) as loss:
            loss(torch.zeros(objective.num_parameters))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert_same(before, everything(model))


def test_the_data_are_read_once() -> None:
    model, loss_fn, batches = CASES[1].make()
    data = Counting(batches)
    objective = Objective(model, loss_fn, data)
    objective.loss()  # one more pass, of its first batch, checks that the loss repeats
    data.passes = 0
    with repeated_loss(objective) as loss:
        for at in points_around(objective):
            loss(at)
    assert data.passes == 1


def test_batches_that_are_tensors_are_not_taken_for_one() -> None:
    """Fails if held batches are a list: a list of tensors means one batch with several entries."""
    batches = [torch.ones(2, 3), torch.ones(5, 3)]
    seen = []

    def batch_loss(model: Any, batch: Tensor) -> tuple[Tensor, int]:
        seen.append(tuple(batch.shape))
        return model(batch).sum(), len(batch)

    objective = held(Objective(nn.Linear(3, 1), batch_loss=batch_loss, data=Counting(batches)))
    seen.clear()
    objective.gradient()
    assert seen[-2:] == [(2, 3), (5, 3)]


def test_data_too_large_to_hold_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    sizes = [x.numel() * 8 + y.numel() * 8 for x, y in batches]
    monkeypatch.setattr(evaluate, "HELD_BYTES", sum(sizes) - 1)
    assert held(objective) is objective
    monkeypatch.setattr(evaluate, "HELD_BYTES", sum(sizes))
    assert held(objective) is not objective
    assert held(objective).loss() == objective.loss()


def test_a_method_of_the_model_sees_the_given_weights() -> None:
    """Fails if only `forward` does: a loss through `model.encode` would be the same everywhere."""

    class Encoder(nn.Linear):
        def encode(self, x: Tensor) -> Tensor:
            return x @ self.weight.T

    objective = Objective(Encoder(3, 1), batch_loss=lambda m, x: (m.encode(x).sum(), len(x)), data=torch.ones(4, 3))
    with repeated_loss(objective) as loss:
        assert loss(torch.ones(4)) == 3.0


def test_a_buffer_that_the_model_writes_starts_afresh_at_each_point() -> None:
    class Drifting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 1)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x) + self.calls

    model = Drifting()
    objective = Objective(model, batch_loss=lambda m, x: (m(x).sum(), len(x)), data=torch.zeros(2, 2))
    with repeated_loss(objective) as loss:
        assert [loss(torch.zeros(3)) for _ in range(3)] == [1.0, 1.0, 1.0]
    assert float(model.calls) == 0
