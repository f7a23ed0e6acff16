"""Mixed precision: the scale of a GradScaler must not be seen, an overflow in either pass must be.

The CPU form of the scaler is used; its arithmetic is that of the accelerator's. bfloat16 autocast needs no scaler.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gcsam import GCSAM
from tests.gcsam.small import Y, backward_of, network

X = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def scaled(model, scaler, overflow_at=None, calls=None):
    """Return a closure for a scaled loss; the gradient of one pass may overflow."""
    calls = [] if calls is None else calls

    def closure():
        loss = nn.functional.cross_entropy(model(X), Y)
        scaler.scale(loss).backward()
        calls.append(1)
        if len(calls) == overflow_at:
            next(model.parameters()).grad.fill_(math.inf)
        return loss

    return closure


def by_step(optimizer, closure, scaler):
    optimizer.step(closure, scaler=scaler)


def by_hand(optimizer, closure, scaler):
    optimizer.zero_grad()
    closure()
    optimizer.ascend(zero_grad=True, scaler=scaler)
    closure()
    optimizer.descend(scaler=scaler)


def by_scaler(optimizer, closure, scaler):
    """Let the scaler call `step()`, as trainers do."""
    optimizer.zero_grad()
    closure()
    optimizer.ascend(zero_grad=True, scaler=scaler)
    closure()
    scaler.step(optimizer)


def by_hand_unscaled(optimizer, closure, scaler):
    """Unscale by hand, for example in order to clip."""
    optimizer.zero_grad()
    closure()
    scaler.unscale_(optimizer.base_optimizer)
    optimizer.ascend(zero_grad=True)
    closure()
    scaler.unscale_(optimizer)
    optimizer.descend()


def by_scaler_unscaled(optimizer, closure, scaler):
    optimizer.zero_grad()
    closure()
    scaler.unscale_(optimizer.base_optimizer)
    optimizer.ascend(zero_grad=True)
    closure()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)


WAYS = [by_step, by_hand, by_scaler, by_hand_unscaled, by_scaler_unscaled]


@pytest.mark.parametrize("take", WAYS)
@pytest.mark.parametrize("rho", [0.1, 0])
def test_the_scale_is_not_seen(take, rho):
    """Fails if a pass is not unscaled, or twice: scales of a power of two leave every bit alone."""
    model, plain = network(torch.float32), network(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=rho, adaptive=True, lr=0.1, momentum=0.9)
    expected = GCSAM.from_model(plain, torch.optim.SGD, rho=rho, adaptive=True, lr=0.1, momentum=0.9)
    for _ in range(4):
        take(optimizer, scaled(model, scaler), scaler)
        scaler.update()
        expected.step(backward_of(plain, X, Y))
    assert scaler.get_scale() == 2048.0  # one step counts once, although gradients were unscaled twice
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("take", WAYS)
@pytest.mark.parametrize("overflow_at", [1, 2])
def test_an_overflow_in_either_pass_skips_restores_and_backs_off(take, overflow_at):
    model = network(torch.float32)
    saved = [parameter.detach().clone() for parameter in model.parameters()]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = GCSAM.from_model(model, torch.optim.Adam)
    take(optimizer, scaled(model, scaler, overflow_at), scaler)
    scaler.update()
    assert scaler.get_scale() == 512.0
    assert all(torch.equal(parameter, w) for parameter, w in zip(model.parameters(), saved, strict=True))
    assert not optimizer.state
    assert optimizer.num_skipped == 1
    take(optimizer, scaled(model, scaler), scaler)
    scaler.update()
    fresh = network(torch.float32)
    GCSAM.from_model(fresh, torch.optim.Adam).step(backward_of(fresh, X, Y))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("take", WAYS)
def test_a_scaler_that_is_switched_off_changes_nothing(take):
    model, plain = network(torch.float32), network(torch.float32)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    take(GCSAM.from_model(model, torch.optim.SGD, lr=0.1), scaled(model, scaler), scaler)
    scaler.update()
    GCSAM.from_model(plain, torch.optim.SGD, lr=0.1).step(backward_of(plain, X, Y))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_the_scaler_cannot_take_both_halves():
    """It has one gradient only; the message says how to do it."""
    model = network(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    scaled(model, scaler)()
    with pytest.raises(RuntimeError, match=r"step\(\) needs a closure, .* \(and scaler=, if there is a GradScaler\)"):
        scaler.step(optimizer)


def test_bfloat16_autocast_needs_no_scaler():
    """The weights stay float32, so does epsilon: its length is rho."""
    model = network(torch.float32)
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.1, lr=0.1)
    before = nn.utils.parameters_to_vector(model.parameters()).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(model(X), Y)
    loss.backward()
    optimizer.ascend()
    moved = nn.utils.parameters_to_vector(model.parameters()).detach() - before
    assert moved.dtype == torch.float32
    # w + epsilon is rounded at 6e-8 of |w| = 0.3, 100 numbers: 2e-7 of 0.1 together
    assert float(moved.norm()) == pytest.approx(0.1, rel=1e-5)
