"""Batches cut along their samples: any form, and what has no samples is refused."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch

from analysis.cutting import batch_length, cut

X, Y = torch.randn(4, 2), torch.zeros(4, 2)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((X, Y[:3]), r"what I do needs batches .* samples along their first axis, got shapes \(4, 2\), \(3, 2\)"),
        (
            (X, torch.tensor(1.0)),
            r"what I do needs batches .* samples along their first axis, got shapes \(4, 2\), \(\)",
        ),
        ({"names": ["a"]}, r"got shapes \(none\)"),
        ({"x": X, "names": ["a", "b"]}, "batches of tensors, which can be cut into samples, got a str"),
    ],
)
def test_batches_that_cannot_be_cut_are_refused(batch: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        batch_length(batch, "what I do")
    assert "\n" not in str(caught.value)


def test_cutting_keeps_the_form_of_a_batch() -> None:
    Pair = namedtuple("Pair", ["x", "y"])  # what torch's collate makes of a user's class
    batch = Pair({"a": X, "flag": True, "none": None}, [Y])
    assert batch_length(batch, "what I do") == 4
    part = cut(batch, 1, 3)
    assert type(part) is Pair
    assert part.x["flag"] is True
    assert part.x["none"] is None
    assert torch.equal(part.x["a"], X[1:3])
    assert torch.equal(part.y[0], Y[1:3])
