"""A bad gradient where the device may not be waited for: steps on the CPU, made to take the way of an accelerator.

The kernels of an accelerator, and that nothing waits there, are in `test_optimizer_gpu.py`.
"""

from __future__ import annotations

import math

import pytest
import torch

from gcsam import GCSAM, ascent, perturbation, two_pass
from gcsam.guard import keep_if, step_if
from tests.gcsam.small import backward_of, network

ADAM = {"lr": 0.01}
MOMENTUM = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr(two_pass, "may_wait_for", lambda _: False)
    monkeypatch.setattr(ascent, "_is_one_by_one", lambda _: False)


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def closure_with(model, value, at_pass, seen):
    def closure():
        loss = backward_of(model)()
        seen.append(weights(model))
        if len(seen) == at_pass:
            next(model.parameters()).grad[0, 0, 0, 0] = value
        return loss

    return closure


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("at_pass", [1, 2])
def test_a_fused_base_leaves_the_step_out(no_waiting, value, at_pass):
    """Weights and moments as if the step had not been; fails if found_inf is not handed over, or stays there."""
    model, clean = network(torch.float32), network(torch.float32)
    optimizer = GCSAM.from_model(model, torch.optim.Adam, fused=True, **ADAM)
    expected = GCSAM.from_model(clean, torch.optim.Adam, fused=True, **ADAM)
    seen = []
    before = weights(model)
    optimizer.step(closure_with(model, value, at_pass, seen))
    assert same(seen[1], before) == (at_pass == 1)  # a bad first gradient moves nothing
    assert same(weights(model), before)
    assert optimizer.num_skipped == 1
    for _ in range(2):
        optimizer.step(backward_of(model))
        expected.step(backward_of(clean))
    assert same(weights(model), weights(clean))
    for a, b in zip(model.parameters(), clean.parameters(), strict=True):
        assert same(optimizer.state[a].values(), expected.state[b].values())


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("at_pass", [1, 2])
@pytest.mark.parametrize("switches", [{}, {"adaptive": True}, {"centralize_descent": True}])
def test_another_base_steps_with_a_gradient_of_zero(no_waiting, value, at_pass, switches):
    """That is: its momentum and its weight decay go on. The oracle is the base optimizer given zeros."""
    model, twin = network(), network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, **MOMENTUM, **switches)
    optimizer.step(backward_of(model))
    optimizer.step(closure_with(model, value, at_pass, []))
    expected = GCSAM.from_model(twin, torch.optim.SGD, **MOMENTUM, **switches)
    expected.step(backward_of(twin))
    for parameter in twin.parameters():
        parameter.grad = torch.zeros_like(parameter)
    expected.base_optimizer.step()
    assert same(weights(model), weights(twin))
    assert optimizer.num_skipped == 1


@pytest.mark.parametrize("arguments", [MOMENTUM, {**MOMENTUM, "fused": True}])
def test_a_clean_step_is_the_same_bit_for_bit(no_waiting, monkeypatch, arguments):
    monkeypatch.setattr(perturbation, "is_exchangeable", lambda _: False)  # as on an accelerator
    model, twin = network(), network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, **arguments)
    expected = GCSAM.from_model(twin, torch.optim.SGD, **arguments)
    for _ in range(3):
        optimizer.step(backward_of(model))
        with monkeypatch.context() as waiting:
            waiting.setattr(two_pass, "may_wait_for", lambda _: True)
            expected.step(backward_of(twin))
    assert same(weights(model), weights(twin))
    assert optimizer.num_skipped == 0


def test_a_base_that_raises_is_left_as_it_was():
    """Fails if the two attributes of a GradScaler stay on it."""
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(3)[:2]
    base = torch.optim.Adam([weight], fused=True)
    base.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step_if(torch.tensor(True), base, [weight.grad], may_wait=False, step=base.step)
    assert not hasattr(base, "found_inf")
    assert not hasattr(base, "grad_scale")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_are_kept_bit_for_bit_or_become_zero(dtype):
    """NaN times zero is NaN, and -0.0 plus 0.0 is 0.0: fails if numbers are multiplied or added instead of bits."""
    bits = torch.int16 if dtype.itemsize == 2 else torch.int32 if dtype.itemsize == 4 else torch.int64
    numbers = torch.tensor([1.5, -0.0, math.inf, math.nan, torch.finfo(dtype).tiny], dtype=dtype)
    kept, dropped = numbers.clone(), numbers.clone()
    keep_if(torch.tensor(True), [kept])
    keep_if(torch.tensor(False), [dropped])
    assert torch.equal(kept.view(bits), numbers.view(bits))
    assert torch.equal(dropped.view(bits), torch.zeros(5, dtype=bits))
