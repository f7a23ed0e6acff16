"""The pool: samples by index, in any form of batch; what cannot be mixed is refused in the words of who asked."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import Objective
from analysis.pool import Pool

Pair = namedtuple("Pair", ["x", "y"])


def objective_of(data: list[Any]) -> Objective:
    return Objective(nn.Linear(2, 1), batch_loss=lambda model, batch: (model.weight.sum(), 1), data=data)


def numbered(start: int, stop: int) -> Tensor:
    return torch.arange(start, stop, dtype=torch.float32)[:, None].expand(-1, 2)


def test_samples_come_by_index_across_batches_in_their_order() -> None:
    pool = Pool(objective_of([{"x": numbered(0, 5), "flag": None}, {"x": numbered(5, 8), "flag": None}]), "it")
    assert pool.num_samples == 8
    (batch,) = pool.batches(torch.tensor([6, 0, 3]))
    assert batch["x"][:, 0].tolist() == [6.0, 0.0, 3.0]
    assert batch["flag"] is None


def test_batches_are_no_larger_than_those_given() -> None:
    """Fails if many samples are put into one batch, which may not fit into memory."""
    pool = Pool(objective_of([(numbered(0, 3),), (numbered(3, 7),)]), "it")
    assert [len(x) for (x,) in pool.batches(torch.arange(7))] == [4, 3]


def test_named_tuples_stay_named() -> None:
    data = [Pair(numbered(0, 3), [torch.arange(3)]), Pair(numbered(3, 5), [torch.arange(3, 5)])]
    (batch,) = Pool(objective_of(data), "it").batches(torch.tensor([4, 1]))
    assert isinstance(batch, Pair)
    assert batch.y[0].tolist() == [4, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            [(numbered(0, 3), torch.arange(2))],
            "it needs batches whose tensors have the samples along their first axis, got lengths [2, 3] in one batch",
        ),
        (
            [(numbered(0, 3),), (torch.ones(2, 3),)],
            "it needs samples of one shape to mix batches, got [(2,), (3,)]; pad them",
        ),
        (
            [{"x": numbered(0, 3), "name": "a"}, {"x": numbered(0, 3), "name": "b"}],
            "it needs batches of tensors, got a str that differs between batches",
        ),
    ],
)
@pytest.mark.parametrize("otherwise", ["", "leave it"])
def test_data_that_cannot_be_mixed_are_refused(data: list[Any], message: str, otherwise: str) -> None:
    with pytest.raises(ValueError, match="needs") as caught:
        Pool(objective_of(data), "it", otherwise)
    assert str(caught.value) == message + (f"; {otherwise}" if otherwise else "")
