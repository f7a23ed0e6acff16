"""Changing places with w: nobody can tell it from a step in place, and who could gets a step in place.

The step itself is held against the slow twin elsewhere, on networks that climb this way; here the two ways are held
against each other, and what others see of the memory of a parameter.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gcsam import GCSAM, exchange, perturbation
from tests.gcsam.small import backward_of, epsilon, network

SGD = torch.optim.SGD


class Stop(BaseException):
    """What a test raises in the place of Ctrl-C."""


def in_place(monkeypatch):
    monkeypatch.setattr(perturbation, "is_exchangeable", lambda _: False)


def addresses(model):
    return [parameter.data_ptr() for parameter in model.parameters()]


def test_weights_change_places_and_come_back():
    model = network()
    optimizer = GCSAM.from_model(model, SGD, lr=0.1)
    before = addresses(model)
    backward_of(model)()
    optimizer.ascend()
    assert not set(before) & set(addresses(model))
    optimizer.descend()
    assert addresses(model) == before


LOOKS = {
    "a view": lambda weight: weight.view(-1),
    ".data": lambda weight: weight.data,
    "an array": lambda weight: torch.from_numpy(weight.detach().numpy()),
    "a part": lambda weight: weight[0],
    "shared memory": lambda weight: weight.share_memory_(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_who_looks_at_a_weight_sees_it_move(look):
    """Fails if a parameter changes places although something else shows its memory."""
    model = network(torch.float32)
    weight = next(model.parameters())
    optimizer = GCSAM.from_model(model, SGD, lr=0.1)
    with torch.no_grad():
        seen = LOOKS[look](weight)
    backward_of(model)()
    before, address = seen.clone(), weight.data_ptr()
    optimizer.ascend()
    assert weight.data_ptr() == address
    assert not torch.equal(seen, before)
    optimizer.restore()
    assert torch.equal(seen, before)


def test_a_parameter_that_is_part_of_a_larger_tensor_moves_within_it():
    flat = torch.arange(6.0)
    first, second = nn.Parameter(flat[:3]), nn.Parameter(flat[3:])
    optimizer = GCSAM([first, second], SGD, rho=1.0, lr=0.1)
    (first.sum() + second.sum()).backward()
    optimizer.ascend()
    # a gradient of ones on 6 numbers: epsilon is 1 / sqrt(6) in each
    torch.testing.assert_close(flat, torch.arange(6.0) + 6**-0.5)
    optimizer.restore()
    assert torch.equal(flat, torch.arange(6.0))


@pytest.mark.parametrize("switches", [{}, {"centralize_ascent": False}, {"radius": "published"}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_ways_give_the_same_epsilon(monkeypatch, switches, dtype):
    model = network(dtype)
    optimizer = GCSAM.from_model(model, SGD, rho=0.1, lr=0.1, **switches)
    apart = epsilon(optimizer, model)
    in_place(monkeypatch)
    within = epsilon(optimizer, model)
    eps = torch.finfo(dtype).eps
    for a, b in zip(apart, within, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=4 * eps)  # w + epsilon is rounded at eps of |w| < 1, both times


@pytest.mark.parametrize("kept", [0.9, 0.4, 1e-3])
def test_the_radius_is_exact_however_little_p_keeps(kept):
    """Fails if the norm of P g is a difference of squares where that has lost its digits (at 1e-3: all but one)."""
    noise = torch.randn(50, 4096, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noise -= noise.mean(1, keepdim=True)
    noise /= noise.norm()
    gradient = kept * noise + math.sqrt((1 - kept**2) / noise.numel())
    weight = nn.Parameter(torch.zeros(50, 4096))
    weight.grad = gradient.float()
    optimizer = GCSAM([weight], SGD, rho=0.05, lr=0.1)
    optimizer.ascend()
    rounded = weight.grad.double()
    expected = (rounded - rounded.mean(1, keepdim=True)).norm()
    assert float(weight.detach().double().norm()) == pytest.approx(0.05, rel=1e-6)
    assert optimizer.ascent_ratio() == pytest.approx(float(expected / rounded.norm()), rel=1e-6)


def test_a_graph_of_the_first_pass_is_not_used_with_other_weights():
    """It would give a gradient of neither pass; in place torch refuses it, and so it must here."""
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = GCSAM([weight], SGD, rho=0.1, lr=0.1)
    loss = weight.square().sum()
    loss.backward(retain_graph=True)
    optimizer.ascend()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("at", [1, 3])
def test_stopped_half_way_those_that_changed_places_change_back(monkeypatch, at):
    model = network()
    optimizer = GCSAM.from_model(model, SGD, lr=0.1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    where, calls = addresses(model), []

    def stop(_):
        calls.append(1)
        if len(calls) == at:
            raise Stop

    backward_of(model)()
    monkeypatch.setattr(exchange, "increment_version", stop)
    with pytest.raises(Stop):
        optimizer.ascend()
    assert addresses(model) == where
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    monkeypatch.undo()
    optimizer.step(backward_of(model))
