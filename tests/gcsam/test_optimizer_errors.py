"""One clear line for every mistake: what was given, what is allowed, what to do."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import nn

from gcsam import GCSAM
from tests.gcsam.small import backward_of, network

SGD = torch.optim.SGD


def one_weight():
    return [nn.Parameter(torch.ones(2, 3))]


@pytest.mark.parametrize("rho", [-0.1, math.nan, math.inf, -math.inf, "0.05", None])
def test_rho_out_of_range(rho):
    with pytest.raises(ValueError, match=r"rho must be a finite number >= 0, got .*; 0 is the base optimizer alone"):
        GCSAM(one_weight(), SGD, rho=rho, lr=0.1)
    with pytest.raises(ValueError, match=r"rho must be a finite number >= 0, got"):
        GCSAM([{"params": one_weight(), "rho": rho}], SGD, lr=0.1)


def test_rho_out_of_range_later_is_told_before_the_closure_runs():
    optimizer = GCSAM(one_weight(), SGD, rho=lambda step: 0.1 - step, lr=0.1)
    (weight,) = optimizer.param_groups[0]["params"]
    optimizer.step(lambda: weight.sum().backward())
    with pytest.raises(ValueError, match=r"rho at step 1 must be a finite number >= 0, got -0\.9"):
        optimizer.step(lambda: 1 / 0)
    edited = GCSAM(one_weight(), SGD, lr=0.1)
    edited.param_groups[0]["rho"] = math.nan
    with pytest.raises(ValueError, match=r"rho must be a finite number >= 0, got nan"):
        edited.step(lambda: 1 / 0)
    edited.param_groups[0].update(rho=0.1, radius="publishd")
    with pytest.raises(ValueError, match="radius must be"):
        edited.step(lambda: 1 / 0)


@pytest.mark.parametrize("eta", [-1, math.nan, math.inf])
def test_eta_out_of_range(eta):
    with pytest.raises(ValueError, match=r"eta must be a finite number >= 0, got .*; 0\.01 is the usual offset"):
        GCSAM(one_weight(), SGD, eta=eta, lr=0.1)


def test_unknown_radius():
    with pytest.raises(ValueError, match=r"radius must be 'exact' \(.*\), 'published' or 'matched' \(.*\), got 'raw'"):
        GCSAM(one_weight(), SGD, radius="raw", lr=0.1)


@pytest.mark.parametrize("friendly", [-1, math.nan, math.inf, "yes"])
def test_friendly_out_of_range(friendly):
    with pytest.raises(ValueError, match=r"friendly must be a finite number >= 0, got .*; 0 removes nothing, 1 is"):
        GCSAM(one_weight(), SGD, friendly=friendly, lr=0.1)


@pytest.mark.parametrize("decay", [-0.1, 1, math.nan, None])
def test_friendly_decay_out_of_range(decay):
    with pytest.raises(
        ValueError, match=r"friendly_decay must be a number >= 0 and < 1, got .*; 0\.9 is the usual one"
    ):
        GCSAM(one_weight(), SGD, friendly=1.0, friendly_decay=decay, lr=0.1)


@pytest.mark.parametrize("flag", ["adaptive", "centralize_ascent", "centralize_descent"])
def test_flags_are_true_or_false(flag):
    with pytest.raises(ValueError, match=f"{flag} must be True or False, got 'no'"):
        GCSAM(one_weight(), SGD, lr=0.1, **{flag: "no"})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (SGD(one_weight(), lr=0.1), "got an instance of SGD; give the class itself"),
        (functools.partial(SGD, lr=0.1), "got functools.partial"),
        ("SGD", "got 'SGD'"),
        (nn.Linear, "got <class 'torch.nn"),
    ],
    ids=["instance", "partial", "name", "other class"],
)
def test_base_class_must_be_an_optimizer_class(given, text):
    with pytest.raises(TypeError, match=r"base_class must be an optimizer class such as torch\.optim\.SGD, " + text):
        GCSAM(one_weight(), given)


def test_a_base_that_needs_a_closure_is_refused():
    with pytest.raises(ValueError, match="base_class must step without a closure, and LBFGS needs one"):
        GCSAM(one_weight(), torch.optim.LBFGS)


def test_a_base_with_an_option_of_the_same_name_is_refused():
    """Fails if GCSAM's rho becomes Adadelta's decay in the shared group."""
    with pytest.raises(ValueError, match="base_class Adadelta has an argument 'rho' of its own"):
        GCSAM(one_weight(), torch.optim.Adadelta)


def test_unknown_arguments_are_told_with_the_nearest_name():
    with pytest.raises(TypeError, match="neither GCSAM nor SGD has an argument 'use_gc'; SGD takes lr, momentum"):
        GCSAM(one_weight(), SGD, use_gc=True, lr=0.1)
    with pytest.raises(TypeError, match="argument 'centralise_ascent'; did you mean 'centralize_ascent'"):
        GCSAM(one_weight(), SGD, centralise_ascent=True, lr=0.1)
    with pytest.raises(TypeError, match="nor AdamW has an argument 'momentum'"):
        GCSAM.from_model(nn.Linear(2, 2), torch.optim.AdamW, momentum=0.9)


def test_a_base_that_takes_any_argument_judges_for_itself():
    class Anything(SGD):
        def __init__(self, params, **kwargs):
            super().__init__(params, lr=kwargs["rate"])

    assert GCSAM(one_weight(), Anything, rate=0.3).param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize("dims", [(2,), (-1,), (1, 1), [(1.0,), (1,)], [(1,), (2,)]])
def test_axes_a_parameter_does_not_have(dims):
    group = {"params": [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))], "centralize_dims": dims}
    with pytest.raises(ValueError, match=r"different axes from 0 to 1 for a parameter of shape \(2, 3\), got"):
        GCSAM([group], SGD, lr=0.1)


def test_a_list_of_axes_has_one_entry_per_parameter():
    with pytest.raises(ValueError, match="one entry for each of the group's 1 parameters, got 2"):
        GCSAM([{"params": one_weight(), "centralize_dims": [(1,), (1,)]}], SGD, lr=0.1)


def test_a_lazy_model_is_refused():
    with pytest.raises(ValueError, match="lazy module has no shape yet"):
        GCSAM.from_model(nn.LazyLinear(2), SGD, lr=0.1)


def test_step_without_closure():
    optimizer = GCSAM(one_weight(), SGD, lr=0.1)
    with pytest.raises(RuntimeError, match=r"step\(\) needs a closure, for the gradient is taken twice: give one"):
        optimizer.step()


def test_the_halves_in_the_wrong_order():
    model = network()
    optimizer = GCSAM.from_model(model, SGD, lr=0.1)
    for call in (optimizer.descend, optimizer.second_step):
        with pytest.raises(RuntimeError, match=r"descend\(\) without ascend\(\): the weights are not perturbed. Call"):
            call()
    backward_of(model)()
    optimizer.ascend()
    moved = [parameter.detach().clone() for parameter in model.parameters()]
    order = r"between ascend\(\) and descend\(\): the weights are perturbed. Run backward and descend\(\) first, or"
    for name, call in (
        ("ascend", optimizer.ascend),
        ("ascend", optimizer.first_step),
        ("step", lambda: optimizer.step(backward_of(model))),
    ):
        with pytest.raises(RuntimeError, match=name + r"\(.*\) " + order):
            call()
    assert all(torch.equal(parameter, w) for parameter, w in zip(model.parameters(), moved, strict=True))
    optimizer.descend()
    with pytest.raises(RuntimeError, match="without ascend"):
        optimizer.descend()


@pytest.mark.parametrize("rho", [0, 0.05])
def test_a_closure_that_does_not_call_backward(rho):
    """Also after a good step, whose gradients are still there."""
    model = network()
    optimizer = GCSAM(model.parameters(), SGD, rho=rho, lr=0.1)
    optimizer.step(backward_of(model))
    saved = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(RuntimeError, match=r"the closure left no gradient on any parameter .* must call backward\(\)"):
        optimizer.step(lambda: 1.0)
    calls = []

    def once():
        calls.append(1)
        return backward_of(model)() if len(calls) == 1 else 1.0

    if rho:
        with pytest.raises(RuntimeError, match="the closure left no gradient"):
            optimizer.step(once)
    assert all(torch.equal(parameter, w) for parameter, w in zip(model.parameters(), saved, strict=True))


def test_halves_without_gradients():
    model = network()
    optimizer = GCSAM(model.parameters(), SGD, lr=0.1)
    saved = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(RuntimeError, match=r"ascend\(\) needs gradients, and no parameter has one; call backward"):
        optimizer.ascend()
    backward_of(model)()
    optimizer.ascend(zero_grad=True)
    with pytest.raises(RuntimeError, match=r"descend\(\) needs gradients, .* call backward\(\) after ascend\(\)"):
        optimizer.descend()
    assert all(torch.equal(parameter, w) for parameter, w in zip(model.parameters(), saved, strict=True))
    optimizer.step(backward_of(model))


def test_sparse_and_complex_gradients_are_refused():
    embedding = nn.Embedding(5, 2, sparse=True)
    with pytest.raises(ValueError, match="gradients must be dense and real, got a sparse or complex one; build"):
        GCSAM(embedding.parameters(), SGD, lr=0.1).step(lambda: embedding(torch.arange(3)).sum().backward())
    weight = nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))
    with pytest.raises(ValueError, match="gradients must be dense and real"):
        GCSAM([weight], SGD, lr=0.1).step(lambda: weight.abs().sum().backward())


def test_no_parameters():
    with pytest.raises(ValueError, match="empty parameter list"):
        GCSAM([], SGD, lr=0.1)
