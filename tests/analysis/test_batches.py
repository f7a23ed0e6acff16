"""Forms of data, moving them, and the fingerprint of a pass."""

from __future__ import annotations

from collections import UserDict, namedtuple

import pytest
import torch
from torch import Tensor

from analysis.batches import Fingerprint, NotRepeatable, as_batches, check_same, moved

Pair = namedtuple("Pair", "x y")  # as in users' data sets


def fingerprint(batches: list) -> tuple[float, float]:
    seen = Fingerprint()
    for batch in batches:
        seen.add(batch)
    return seen.value()


def test_one_batch_in_every_form_is_wrapped() -> None:
    x = torch.ones(2)
    for batch in (x, (x, x), [x, x], {"x": x}, UserDict(x=x)):
        assert as_batches(batch) == [batch] or as_batches(batch)[0] is batch
    batches = [(x, x)]
    assert as_batches(batches) is batches


def test_moving_keeps_the_form_and_casts_only_floats() -> None:
    given = {"a": Pair(torch.ones(2), torch.ones(2, dtype=torch.int64)), "b": [torch.ones(1), "text"]}
    got = moved(given, torch.device("cpu"), torch.float64)
    assert type(got["a"]) is Pair
    assert got["a"].x.dtype == torch.float64
    assert got["a"].y.dtype == torch.int64
    assert got["b"][1] == "text"
    assert given["a"].x.dtype == torch.float32
    assert isinstance(moved(UserDict(x=torch.ones(1)), torch.device("cpu"), None), UserDict)


def test_fingerprint_sees_a_change_and_not_an_order() -> None:
    x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(8))
    y = torch.arange(1000)
    first = fingerprint([(x[:300], y[:300]), (x[300:], y[300:])])
    order = torch.randperm(1000)
    check_same(first, fingerprint([(x[order], y[order])]))
    changed: Tensor = x.clone()
    changed[5, 1] += 1.0
    with pytest.raises(NotRepeatable, match="the data change between passes"):
        check_same(first, fingerprint([(changed, y)]))
    for value in (torch.nan, torch.inf):
        check_same(fingerprint([torch.tensor([value])]), fingerprint([torch.tensor([value])]))
    assert fingerprint(["text"]) == (0.0, 0.0)
