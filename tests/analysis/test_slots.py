"""Tensors put in place beside `torch.func.functional_call`, for tied weights, recurrent layers, buffers, under vmap.

Blind to what both share: the names that torch gives to parameters and buffers.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from analysis.slots import Slots


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.again = self.first  # a module in two places
        self.register_buffer("shift", torch.ones(3))
        self.register_buffer("alias", self.shift)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(torch.tanh(self.again(x))) @ self.first.weight + self.shift * self.alias
        return found


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.lstm(x[:, None])[0]
        return found


MODELS = {
    "tied": Tied,
    "recurrent": Recurrent,
    "normalized": lambda: nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5, affine=False), nn.Linear(5, 2, bias=False)),
}


def other_state(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, moved by noise."""
    draw = torch.Generator().manual_seed(1)
    named = [*model.named_parameters(), *model.named_buffers()]
    return {
        name: tensor.detach() + torch.rand(tensor.shape, generator=draw)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in named
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_model_computes_what_functional_call_does_and_is_as_found(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    x, before = torch.randn(6, 3), [*model.parameters(), *model.buffers()]
    own, slots = model(x), Slots(model)
    state = other_state(model)
    expected = functional_call(copy.deepcopy(model), state, (x,))  # it would leave a module in two places changed
    assert not torch.allclose(expected, own)  # else nothing would be told
    with slots.holding(state):
        assert torch.equal(model(x), expected)
    assert torch.equal(model(x), own)
    assert all(a is b for a, b in zip(before, [*model.parameters(), *model.buffers()], strict=True))


def test_the_model_is_as_found_when_the_block_raises() -> None:
    model = Tied()
    before = model.first.weight
    seen: list[Tensor] = []

    def failing() -> None:
        with Slots(model).holding(other_state(model)):
            seen.extend([model.first.weight, model.second.weight])
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert seen[0] is seen[1] is not before
    assert model.second.weight is model.first.weight is before


def test_what_a_state_leaves_out_stays() -> None:
    model = nn.Linear(2, 2)
    weight, bias = model.weight, model.bias
    with Slots(model).holding({"bias": torch.ones(2)}):
        assert model.weight is weight
        assert model.bias.tolist() == [1, 1]
    assert model.bias is bias


def test_points_together_hold_their_own_tensors() -> None:
    """Fails if vmap's tensors do not reach a tied weight."""
    torch.manual_seed(0)
    model, x = Tied(), torch.randn(4, 3)
    slots = Slots(model)
    weights = torch.randn(5, 3, 3)

    def at(weight: Tensor) -> Tensor:
        with slots.holding({"first.weight": weight}):
            found: Tensor = model(x)
            return found

    with torch.no_grad():
        together = torch.vmap(at)(weights)
        for weight, found in zip(weights, together, strict=True):
            # float32 sums of three products in another order, twice
            torch.testing.assert_close(found, at(weight), rtol=1e-5, atol=1e-5)
