"""The way back: weights restored bit for bit in every circumstance, and steps skipped where numbers are not finite."""

from __future__ import annotations

import math
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gcsam import GCSAM
from tests.gcsam.small import backward_of, network

NOT_FINITE = [math.inf, -math.inf, math.nan]


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(model, saved):
    return all(torch.equal(parameter, w) for parameter, w in zip(model.parameters(), saved, strict=True))


@pytest.mark.parametrize("adaptive", [False, True])
def test_after_a_thousand_steps_without_learning_rate_the_weights_are_the_first_ones(adaptive):
    """Fails if epsilon is subtracted instead of a copy put back."""
    model = nn.Linear(7, 5)
    saved = weights(model)
    x, y = torch.randn(4, 7), torch.arange(4)
    optimizer = GCSAM(model.parameters(), torch.optim.SGD, rho=0.3, adaptive=adaptive, lr=0.0)
    for _ in range(1000):
        optimizer.step(backward_of(model, x, y))
    assert equal(model, saved)


@pytest.mark.parametrize("adaptive", [False, True])
def test_addresses_are_the_same_after_a_step(adaptive):
    """Averages, tied weights and captured graphs hold on to a parameter's memory. Adaptive steps are in place."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, adaptive=adaptive, centralize_descent=True, lr=0.1)
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    optimizer.step(backward_of(model))
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses


def test_a_gradient_in_the_first_pass_only_moves_and_comes_back():
    """Fails if only parameters with a gradient in the second pass are restored."""
    a, b = (nn.Parameter(torch.tensor([1.0, 3.0])) for _ in range(2))
    optimizer = GCSAM([a, b], torch.optim.SGD, rho=1.0, lr=0.0)
    (a.sum() + b.sum()).backward()
    optimizer.ascend(zero_grad=True)
    assert not torch.equal(b, torch.tensor([1.0, 3.0]))
    a.sum().backward()
    optimizer.descend()
    assert torch.equal(b, torch.tensor([1.0, 3.0]))
    assert torch.equal(a, torch.tensor([1.0, 3.0]))


def test_a_gradient_in_the_second_pass_only_steps_from_where_it_is():
    a, b = (nn.Parameter(torch.tensor([1.0, 3.0])) for _ in range(2))
    optimizer = GCSAM([a, b], torch.optim.SGD, rho=1.0, lr=0.5)
    a.sum().backward()
    optimizer.ascend(zero_grad=True)
    assert torch.equal(b, torch.tensor([1.0, 3.0]))
    b.sum().backward()
    optimizer.descend()
    assert torch.equal(a, torch.tensor([1.0, 3.0]))
    assert torch.equal(b, torch.tensor([0.5, 2.5]))


def closure_with(model, value, at_pass):
    """Put one number into one gradient in the first or in the second pass."""
    calls = []

    def closure():
        loss = backward_of(model)()
        calls.append(loss)
        if len(calls) == at_pass:
            next(model.parameters()).grad[0, 0, 0, 0] = value
        return loss

    return closure, calls


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("at_pass", [1, 2])
@pytest.mark.parametrize("switches", [{}, {"adaptive": True}, {"radius": "published", "centralize_descent": True}])
def test_a_gradient_that_is_not_finite_skips_the_step(value, at_pass, switches):
    """Fails if NaN reaches the weights, in either pass, or the base optimizer's state."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.Adam, **switches)
    saved = weights(model)
    closure, calls = closure_with(model, value, at_pass)
    optimizer.step(closure)
    assert len(calls) == 2
    assert equal(model, saved)
    assert not optimizer.state
    assert optimizer.num_skipped == 1
    assert not any(parameter.grad is None for parameter in model.parameters())
    other = network()
    optimizer.step(backward_of(model))  # the next clean step is the first step of a fresh optimizer
    GCSAM.from_model(other, torch.optim.Adam, **switches).step(backward_of(other))
    assert equal(model, weights(other))
    assert optimizer.num_skipped == 1


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("at_pass", [1, 2])
def test_a_gradient_that_is_not_finite_skips_the_step_by_hand(value, at_pass):
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.Adam)
    saved = weights(model)
    closure, _ = closure_with(model, value, at_pass)
    closure()
    optimizer.ascend(zero_grad=True)
    assert equal(model, saved) == (at_pass == 1)
    closure()
    optimizer.descend()
    assert equal(model, saved)
    assert not optimizer.state
    assert optimizer.num_skipped == 1
    optimizer.step(backward_of(model))
    assert not equal(model, saved)


def test_a_bad_gradient_given_up_does_not_skip_the_next_step():
    """Fails if restore() keeps what was found in the pass that was given up."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0, lr=0.1)
    optimizer.param_groups[0]["rho"] = 0.05
    closure_with(model, math.nan, 1)[0]()
    optimizer.ascend()
    optimizer.restore()
    optimizer.param_groups[0]["rho"] = 0.0
    saved = weights(model)
    optimizer.step(backward_of(model))
    assert not equal(model, saved)


def test_without_the_check_a_bad_gradient_goes_through():
    """skip_nonfinite=False reads nothing back, so the NaN arrives, as it would with the base optimizer alone."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, skip_nonfinite=False, lr=0.1)
    optimizer.step(closure_with(model, math.nan, 2)[0])
    assert next(model.parameters()).isnan().any()
    assert optimizer.num_skipped == 0


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("radius", ["exact", "published"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_a_zero_gradient_gives_the_base_step(check, radius, adaptive):
    """Fails if 0 / 0 makes epsilon NaN."""
    model = network()
    optimizer = GCSAM.from_model(
        model, torch.optim.SGD, radius=radius, adaptive=adaptive, skip_nonfinite=check, lr=0.1, weight_decay=0.5
    )
    saved = weights(model)

    def closure():
        sum((0 * parameter).sum() for parameter in model.parameters()).backward()

    optimizer.step(closure)
    assert math.isnan(optimizer.ascent_ratio())
    for parameter, w in zip(model.parameters(), saved, strict=True):
        torch.testing.assert_close(parameter.detach(), 0.95 * w, rtol=0, atol=1e-15)


def test_a_gradient_that_p_removes_whole_gives_the_base_step():
    """A constant row: Pg = 0 and g is not; epsilon is 0 for both radii."""
    for radius in ("exact", "published"):
        weight = nn.Parameter(torch.ones(2, 4))
        optimizer = GCSAM([weight], torch.optim.SGD, radius=radius, lr=0.5)
        weight.sum().backward()
        optimizer.ascend()
        assert torch.equal(weight, torch.ones(2, 4))
        assert optimizer.ascent_ratio() == 0
        optimizer.descend()
        assert torch.equal(weight, torch.full((2, 4), 0.5))


class Stop(BaseException):
    """Like KeyboardInterrupt: not an Exception."""


def test_an_exception_in_the_second_pass_puts_the_weights_back():
    """Fails if only Exception is caught, or none."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    saved = weights(model)
    calls = []

    def closure():
        calls.append(1)
        if len(calls) == 2:
            assert not equal(model, saved)
            raise Stop
        return backward_of(model)()

    with pytest.raises(Stop):
        optimizer.step(closure)
    assert equal(model, saved)
    optimizer.step(backward_of(model))
    assert not equal(model, saved)


@pytest.mark.parametrize("where", ["write_directions", "perturb"])
def test_an_exception_on_the_way_up_puts_the_weights_back(monkeypatch, where):
    """In place; where weights change places instead, in `test_exchange.py`."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, adaptive=True, lr=0.1)
    saved = weights(model)

    def stop(pieces, *_):
        pieces[0].parameter.fill_(7)
        raise Stop

    monkeypatch.setattr(f"gcsam.in_place.{where}", torch.no_grad()(stop))
    backward_of(model)()
    with pytest.raises(Stop):
        optimizer.ascend()
    assert equal(model, saved)
    monkeypatch.undo()
    optimizer.step(backward_of(model))


def test_restore_gives_a_step_up_and_does_nothing_otherwise():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    saved = weights(model)
    optimizer.restore()
    backward_of(model)()
    optimizer.ascend()
    optimizer.restore()
    assert equal(model, saved)
    optimizer.step(backward_of(model))
    assert not equal(model, saved)


def test_the_copy_follows_a_model_that_is_cast_or_moved():
    """Fails if the memory kept between steps is used although its dtype is another."""
    model = network().float()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.0)
    optimizer.step(backward_of(model))
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-12)  # lost in float32
    saved = weights(model)
    optimizer.step(backward_of(model))
    assert equal(model, saved)


class LiveBytes(TorchDispatchMode):
    """Follow every new tensor that an operation returns, and remember the largest total alive at once."""

    def __init__(self, known):
        super().__init__()
        self.known = {tensor.data_ptr() for tensor in known}
        self.seen, self.peak = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = result if isinstance(result, (list, tuple)) else [result]
        self.seen += [weakref.ref(tensor) for tensor in tensors if isinstance(tensor, torch.Tensor)]
        alive = [tensor for tensor in (reference() for reference in self.seen) if tensor is not None]
        self.seen = [weakref.ref(tensor) for tensor in alive]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in alive}
        self.peak = max(self.peak, sum(size for address, size in storages.items() if address not in self.known))
        return result


@pytest.mark.parametrize("switches", [{}, {"adaptive": True}, {"centralize_descent": True}])
def test_memory_is_one_copy_of_the_weights(switches):
    """Fails if epsilon, the direction or the scale is formed for all tensors beside the copy."""
    parameters = [nn.Parameter(torch.randn(64, 64)) for _ in range(20)]
    optimizer = GCSAM(parameters, torch.optim.SGD, foreach=False, lr=0.1, **switches)
    for parameter in parameters:
        parameter.grad = torch.randn(64, 64)
    counter = LiveBytes([*parameters, *(parameter.grad for parameter in parameters)])
    with counter:
        for _ in range(2):
            optimizer.ascend()
            optimizer.descend()
    copy, largest = 20 * 64 * 64 * 4, 64 * 64 * 4
    assert copy <= counter.peak <= copy + 3 * largest  # one tensor at a time has temporaries
