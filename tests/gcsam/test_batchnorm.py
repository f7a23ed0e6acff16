"""Running statistics advance once a step, from the pass at w: all three buffers against a run of one pass."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gcsam import GCSAM, hold_statistics

X = torch.randn(8, 2, 4, generator=torch.Generator().manual_seed(3))
Y = torch.arange(8) % 3


def network(momentum=0.1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv1d(2, 3, 2),
            nn.BatchNorm1d(3, momentum=momentum),
            nn.InstanceNorm1d(3, track_running_stats=True),
            nn.Flatten(),
            nn.Linear(9, 3),
        )


def buffers(model):
    return {name: value.clone() for name, value in model.named_buffers()}


def equal(model, saved):
    return all(torch.equal(value, saved[name]) for name, value in model.named_buffers())


def backward_of(model):
    def closure():
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_one_update_a_step_equal_to_that_of_one_pass(momentum):
    """Fails if the second pass counts, or if only the means are held."""
    model, base = network(momentum), network(momentum)
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.5, lr=0.0)
    for _ in range(3):
        optimizer.step(backward_of(model))
        base(X)
    assert int(model[1].num_batches_tracked) == 3
    assert equal(model, buffers(base))


def test_without_the_model_both_passes_count():
    """What the docstring says of plain parameters(): the optimizer cannot know the layers."""
    model = network()
    GCSAM(model.parameters(), torch.optim.SGD, lr=0.0).step(backward_of(model))
    assert int(model[1].num_batches_tracked) == 2


def test_a_hand_written_loop_holds_them_with_the_context():
    model, base = network(), network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.5, lr=0.0)
    backward_of(model)()
    optimizer.ascend(zero_grad=True)
    with hold_statistics(model):
        loss = F.cross_entropy(model(X), Y)
    loss.backward()  # after the block: the statistics must not count as modified
    optimizer.descend()
    base(X)
    assert equal(model, buffers(base))


def test_the_gradient_inside_is_that_of_batch_statistics():
    """Fails if layers are put into eval mode instead."""
    model = network()
    expected = torch.autograd.grad(F.cross_entropy(model(X), Y), list(model.parameters()))
    with hold_statistics(model):
        got = torch.autograd.grad(F.cross_entropy(model(X), Y), list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_blocks_nest(momentum):
    """Fails if the inner block hands out what it should still hold, or leaves a momentum changed."""
    model = network(momentum)
    saved = buffers(model)
    with hold_statistics(model):
        model(X)
        with hold_statistics(model):
            model(X)
        model(X)
    assert equal(model, saved)
    assert model[1].momentum == momentum
    model(X)
    assert not equal(model, saved)


def test_an_exception_leaves_them_as_before():
    model = network()
    saved = buffers(model)

    def interrupted():
        with hold_statistics(model):
            model(X)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert equal(model, saved)


def test_an_exception_in_the_second_pass_leaves_them_after_the_first():
    model, base = network(), network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.5, lr=0.1)
    calls = []

    def closure():
        calls.append(1)
        loss = backward_of(model)()
        if len(calls) == 2:
            raise KeyboardInterrupt
        return loss

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    base(X)
    assert equal(model, buffers(base))


def test_statistics_that_became_nan_inside_come_back():
    """Fails if they are held by a momentum of 0: 0 * NaN is NaN."""
    model = network()
    saved = buffers(model)
    with hold_statistics(model):
        model(X * float("inf"))
    assert equal(model, saved)


def test_addresses_modes_and_other_buffers_are_left_alone():
    class Custom(nn.Module):
        """A layer of another library with the same buffer names, and a buffer of its own."""

        def __init__(self):
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(1))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.running_mean.add_(1)
            self.calls.add_(1)
            return x

    model = nn.Sequential(Custom(), nn.BatchNorm1d(2, track_running_stats=False), nn.BatchNorm1d(2).eval())
    addresses = [buffer.data_ptr() for buffer in model.buffers()]
    with hold_statistics(model):
        model(X)
        assert [module.training for module in model] == [True, True, False]
    assert [buffer.data_ptr() for buffer in model.buffers()] == addresses
    assert float(model[0].running_mean) == 0
    assert float(model[0].calls) == 1
