"""What only a CUDA device can show: kernels of many tensors, no waiting, captured graphs, float16 with its scaler.

The oracle is the same step on the CPU, which has oracles of its own.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM
from tests.gcsam.small import X, Y, network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
BASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "adam": (torch.optim.Adam, {"lr": 0.01}),
    "fused": (torch.optim.Adam, {"lr": 0.01, "fused": True}),
}
SWITCHES = [
    {},
    {"adaptive": True},
    {"radius": "published", "centralize_descent": True},
    {"projection": "random"},
    {"centralize_ascent": False},
]


def built(device, base="sgd", dtype=torch.float64, **switches):
    """Return a network on a device, its optimizer, and a closure."""
    model = network(dtype).to(device)
    base_class, arguments = BASES[base]
    optimizer = GCSAM.from_model(model, base_class, rho=0.1, **arguments, **switches)
    x, y = X.to(device, dtype), Y.to(device)

    def closure():
        loss = cross_entropy(model(x), y)
        loss.backward()
        return loss

    return model, optimizer, closure


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("switches", SWITCHES)
def test_steps_are_those_of_the_cpu(base, switches):
    """float64; sums in another order, which Adam lifts by up to 1e5 in small gradients."""
    here, there = built("cpu", base, **switches), built("cuda", base, **switches)
    for _ in range(5):
        here[1].step(here[2])
        there[1].step(there[2])
    for a, b in zip(here[0].parameters(), there[0].parameters(), strict=True):
        torch.testing.assert_close(a.detach(), b.detach().cpu(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("switches", SWITCHES)
def test_a_step_waits_for_nothing(base, switches):
    """Fails if any number is read from the device. The first steps make room and draw directions."""
    _, optimizer, closure = built("cuda", base, torch.float32, **switches)
    for _ in range(2):
        optimizer.step(closure)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step(closure)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert optimizer.num_skipped == 0


@pytest.mark.parametrize("base", ["sgd", "fused"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("at_pass", [1, 2])
def test_a_bad_gradient_spoils_nothing(base, value, at_pass):
    """A fused base skips, the other steps with a gradient of zero; `test_guard.py` has the same without a device."""
    model, optimizer, closure = built("cuda", base)
    calls = []

    def bad():
        loss = closure()
        calls.append(1)
        if len(calls) == at_pass:
            next(model.parameters()).grad.view(-1)[0] = value
        return loss

    before = weights(model)
    optimizer.step(bad)
    assert same(weights(model), before)  # without momentum yet, a gradient of zero moves nothing either
    assert optimizer.num_skipped == 1
    optimizer.step(closure)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    assert not same(weights(model), before)


@pytest.mark.parametrize("base", ["sgd", "fused"])
def test_a_step_can_be_captured_in_a_graph(base):
    """Replayed steps are the steps; capturable is what Adam asks for."""
    arguments = {"capturable": True} if base == "fused" else {}
    model, optimizer, closure = built("cuda", base, torch.float32, **arguments)
    expected = built("cuda", base, torch.float32, **arguments)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimizer.step(closure)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step(closure)
    for _ in range(4):
        graph.replay()
    for _ in range(3 + 4):
        expected[1].step(expected[2])
    for a, b in zip(model.parameters(), expected[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)  # float32, 7 steps, kernels may be chosen otherwise


@pytest.mark.parametrize("overflow_at", [None, 1, 2])
def test_float16_with_a_scaler(overflow_at):
    model, optimizer, _ = built("cuda", dtype=torch.float32)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    x, y = X.float().cuda(), Y.cuda()
    before = weights(model)
    for at_pass in (1, 2):
        with torch.autocast("cuda", dtype=torch.float16):
            loss = cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        if at_pass == overflow_at:
            next(model.parameters()).grad.fill_(math.inf)
        if at_pass == 1:
            optimizer.ascend(zero_grad=True, scaler=scaler)
            if overflow_at is None:
                moved = [a - b for a, b in zip(weights(model), before, strict=True)]
                # rho in true units: w + epsilon is rounded at 6e-8 of |w| < 1
                assert float(nn.utils.parameters_to_vector(moved).norm()) == pytest.approx(0.1, rel=1e-5)
    scaler.step(optimizer)
    scaler.update()
    assert same(weights(model), before) == (overflow_at is not None)
    assert scaler.get_scale() == (1024.0 if overflow_at is None else 512.0)


def test_memory_is_one_copy_of_the_weights():
    """The most that a step allocates, beyond what the base optimizer does: fails if a second copy is made."""

    def peak(rho):
        torch.cuda.empty_cache()
        model = nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(16)]).cuda()
        optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=rho, lr=0.1, momentum=0.9)
        x = torch.ones(1, 1024, device="cuda")
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(2):
            optimizer.step(lambda: model(x).sum().backward())
        return torch.cuda.max_memory_allocated() - before

    size = 4 * 16 * 1024 * 1025
    assert size <= peak(0.1) - peak(0.0) < 1.1 * size  # temporary memory is bounded by 64 MiB, a whole model here
