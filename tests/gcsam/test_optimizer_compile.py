"""`torch.compile` around a step, and around its halves: the same weights, and no more graphs after the first steps.

On a CPU a step reads whether the gradients are finite, which splits a graph; without that reading the ascent is one.
"""

from __future__ import annotations

import pytest
import torch
from torch import _dynamo

from gcsam import GCSAM
from tests.gcsam.small import backward_of, network

# torch's own compiler meets what torch itself has deprecated
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

STEPS = 10
SWITCHES = [
    {},
    {"adaptive": True},
    {"centralize_descent": True, "radius": "published"},
    {"projection": "random"},
    {"centralize_ascent": False, "radius": "matched"},
    {"friendly": 1.0},
]


@pytest.fixture(autouse=True)
def fresh_compiler():
    _dynamo.reset()
    yield
    _dynamo.reset()


def weights_after(steps, compiled, switches, base=torch.optim.SGD, **compile_options):
    """Take steps; `compiled` says what is compiled: nothing, the step or its halves."""
    model = network()
    closure = backward_of(model)
    optimizer = GCSAM.from_model(model, base, rho=0.1, lr=0.1, **switches)
    # directions and averages are made in the first step, which no compiler can trace
    if {"projection", "friendly"} & switches.keys():
        optimizer.step(closure)
    ascend, descend, step = optimizer.ascend, optimizer.descend, optimizer.step
    if compiled == "halves":
        ascend, descend = torch.compile(ascend, **compile_options), torch.compile(descend, **compile_options)
    if compiled == "step":
        step = torch.compile(step, **compile_options)
    for _ in range(steps):
        if compiled == "halves":
            optimizer.zero_grad()
            closure()
            ascend(zero_grad=True)
            closure()
            descend()
        else:
            step(closure)
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


@pytest.mark.slow
@pytest.mark.parametrize("compiled", ["step", "halves"])
def test_compiled_steps_are_the_same_steps(compiled):
    """With the default compiler; the sums are taken in another order, in float64: 1e-16 a step of numbers below 1."""
    expected = weights_after(4, None, {})
    torch.testing.assert_close(weights_after(4, compiled, {}), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_switch_can_be_traced_and_traces_are_used_again(switches):
    """Traced without making kernels, which is quick. Fails if a graph depends on the number of steps done.

    There are more steps than graphs that a function may have, by default 8.
    """
    assert _dynamo.config.recompile_limit < STEPS
    expected = weights_after(STEPS, None, switches)
    with _dynamo.config.patch(fail_on_recompile_limit_hit=True):
        found = weights_after(STEPS, "halves", switches, backend="eager")
    # compiled, the weights stay in place: sums in another order, in float64
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_ascent_is_one_graph_where_nothing_is_read(switches):
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.1, lr=0.1, skip_nonfinite=False, **switches)
    backward_of(model)()
    optimizer.ascend()
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.restore()
    torch.compile(optimizer.ascend, backend="eager", fullgraph=True)()
    for a, b in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(a.detach(), b, rtol=0, atol=1e-13)
