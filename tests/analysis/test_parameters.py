"""The flat layout: a bijection between vectors and named tensors."""

from __future__ import annotations

import torch
from torch import nn

from analysis.parameters import Layout, select


def test_split_and_join_are_inverse_and_split_is_a_view() -> None:
    layout = Layout(("a", "b"), (torch.Size((2, 3)), torch.Size(())), torch.float32, torch.device("cpu"))
    vector = torch.arange(7.0)
    parts = layout.split(vector)
    assert parts["a"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert float(parts["b"]) == 6.0
    assert torch.equal(layout.join(parts), vector)
    parts["a"].zero_()
    assert vector[:6].sum() == 0
    assert layout.num_parameters == 7


def test_selection_follows_the_order_of_the_model() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    assert select(model, ["1.*", "0.bias"]) == ("0.bias", "1.weight", "1.bias")
    assert select(model, "*weight") == ("0.weight", "1.weight")
