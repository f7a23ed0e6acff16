"""Networks that break each condition of a form, one by one: none of their weights may be taken for a clear one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from analysis import Objective
from analysis.noise.recording import Recorded, record
from tests.compare import assert_close


class Net(nn.Module):
    """Two layers, put together as told."""

    def __init__(self, use: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.use = nn.Linear(3, 3), nn.Linear(3, 3), use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self, x)


def recorded(use: Callable[[Any, Tensor], Tensor], *shape: int) -> Recorded:
    model = Net(use).double()
    x = torch.randn(*(shape or (4, 3)), dtype=torch.float64)
    objective = Objective(model, lambda output, _: output.square().sum() / len(output), [(x, x)])
    with objective.measuring(with_grad=True):
        state = objective.state()
        return record(objective, state, (x, x), len(x), [name for name in objective.names if "first" in name])


def test_a_plain_call_is_clear_and_holds_input_and_slope() -> None:
    found = recorded(lambda net, x: net.second(net.first(x)))
    assert list(found.calls) == ["first.weight", "first.bias"]
    call = found.calls["first.weight"]
    x = call.inputs.clone()
    leaf = call.module(x).detach().requires_grad_()
    second = Net(lambda net, x: x).second.double()  # the same seed
    (slope,) = torch.autograd.grad(second(leaf).square().sum(), leaf)
    assert_close(call.slopes, slope, relative=1e-12)  # a few float64 roundings
    assert float(found.loss_sum) == pytest.approx(float(second(leaf).detach().square().sum()), rel=1e-12)


CLEAR = {
    "in place after": lambda net, x: net.second(net.first(x).relu_()),
    "by keyword": lambda net, x: net.second(net.first(input=x)),
    "checkpoint": lambda net, x: net.second(checkpoint(net.first, x, use_reentrant=False)),
}
UNCLEAR = {
    "called twice": lambda net, x: net.first(net.first(x)),
    "called not at all": lambda net, x: net.second(x),
    "without effect": lambda net, x: net.second(x) + 0 * net.first(x).detach(),
    "outside its layer": lambda net, x: F.linear(x, net.first.weight, net.first.bias),
    "also outside": lambda net, x: net.first(x) + net.first.weight.sum() + net.first.bias.sum(),
    "samples not first": lambda net, x: net.first(torch.stack([x, x]))[0],
    "no axis for samples": lambda net, x: net.first(x[0]) + x,
}


@pytest.mark.parametrize("name", CLEAR)
def test_a_single_use_is_clear(name: str) -> None:
    assert list(recorded(CLEAR[name]).calls) == ["first.weight", "first.bias"]


@pytest.mark.parametrize("name", UNCLEAR)
def test_any_other_use_is_not(name: str) -> None:
    assert not recorded(UNCLEAR[name]).calls


def test_a_layer_that_computes_in_another_precision_is_not_clear() -> None:
    def use(net: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net.first(x).float()

    x = torch.randn(4, 3)
    objective = Objective(Net(use), nn.MSELoss(), [(x, x)])
    with objective.measuring(with_grad=True):
        assert not record(objective, objective.state(), (x, x), 4, ["first.weight", "first.bias"]).calls


def test_an_operation_in_place_after_the_layer_does_not_change_its_slope() -> None:
    """Fails if the gradient is taken by the output tensor, which relu_ has made its own output."""
    plain = recorded(lambda net, x: net.second(net.first(x).relu()))
    in_place = recorded(lambda net, x: net.second(net.first(x).relu_()))
    assert torch.equal(plain.calls["first.weight"].slopes, in_place.calls["first.weight"].slopes)


def test_an_input_that_is_written_to_after_the_call_is_refused() -> None:
    """A bias alone does not make autograd keep the input, so nothing else would notice."""

    def use(net: Any, x: Tensor) -> Tensor:
        x = x.clone()
        found = F.linear(x, net.second.weight) + net.first(x)
        x.zero_()
        return found

    model = Net(use).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    objective = Objective(model, nn.MSELoss(), [(x, x)], parameters=["first.bias"])
    with objective.measuring(with_grad=True):
        assert not record(objective, objective.state(), (x, x), 4, ["first.bias"]).calls


def test_hooks_are_gone_afterwards_also_when_the_loss_raises() -> None:
    def use(net: Any, x: Tensor) -> Tensor:
        net.first(x)
        raise ZeroDivisionError

    model = Net(use)
    x = torch.zeros(4, 3)
    objective = Objective(model, nn.MSELoss(), [(x, x)])
    with pytest.raises(ZeroDivisionError):
        record(objective, objective.tensors(), (x, x), 4, ["first.weight"])
    assert not any(module._forward_hooks for module in model.modules())


def test_the_users_own_hook_comes_after_ours() -> None:
    """Fails if the recorded output is the hook's and not the layer's."""
    model = Net(lambda net, x: net.first(x))
    model.first.register_forward_hook(lambda module, args, output: 3 * output)
    x = torch.randn(4, 3)
    objective = Objective(model, lambda output, _: output.sum() / len(output), [(x, x)])
    with objective.measuring(with_grad=True):
        call = record(objective, objective.state(), (x, x), 4, ["first.weight"]).calls["first.weight"]
    assert torch.equal(call.slopes, torch.full((4, 3), 3.0))
