"""What outlives a step: groups and state shared with the base, checkpoints, schedulers, hooks, copies.

The oracle of a checkpoint is the uninterrupted run, bit for bit; it cannot see what both runs would forget, so the
content of the file is listed as well.
"""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from gcsam import GCSAM
from tests.gcsam.small import backward_of, epsilon, network
from tests.oracles import gcsam_twin

BASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01}),
}


def rho_of_step(step: int) -> float:
    return 0.05 + 0.02 * step


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def by_step(optimizer, model):
    optimizer.step(backward_of(model))


def by_hand(optimizer, model):
    backward_of(model)()
    optimizer.ascend(zero_grad=True)
    backward_of(model)()
    optimizer.descend(zero_grad=True)


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("take", [by_step, by_hand])
@pytest.mark.parametrize("base", BASES)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(base, take):
    """Fails if momentum, moments, the count of steps or an option is not in the file."""
    base_class, arguments = BASES[base]
    model = network()
    optimizer = GCSAM.from_model(model, base_class, rho=rho_of_step, adaptive=True, **arguments)
    for _ in range(5):
        take(optimizer, model)
    saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    for _ in range(5):
        take(optimizer, model)

    resumed = network()
    other = GCSAM(resumed.parameters(), base_class, rho=rho_of_step, lr=7.0)  # every option comes from the file
    resumed.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    for _ in range(5):
        take(other, resumed)
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
        state, resumed_state = optimizer.state[a], other.state[b]
        assert state.keys() == resumed_state.keys()
        assert all(torch.equal(state[name], resumed_state[name]) for name in state)
    for group, resumed_group in zip(optimizer.param_groups, other.param_groups, strict=True):
        assert {**group, "params": 0} == {**resumed_group, "params": 0}


def test_the_state_is_the_base_state_and_the_options_without_a_copy_of_the_weights():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=rho_of_step, lr=0.1, momentum=0.9)
    optimizer.step(backward_of(model))
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"}
    assert state["state"].keys() == set(range(len(list(model.parameters()))))
    assert all(set(entry) == {"momentum_buffer"} for entry in state["state"].values())
    (group,) = state["param_groups"]
    assert group["rho"] == 0.05
    assert group["gcsam_steps"] == 1
    assert not any(isinstance(value, torch.Tensor) or callable(value) for value in group.values())
    size = sum(tensor.numel() for entry in state["state"].values() for tensor in entry.values())
    assert size == sum(parameter.numel() for parameter in model.parameters())
    assert "Sequential" not in repr(state)


def test_no_state_is_given_or_taken_between_the_halves():
    """Fails if perturbed weights can be saved in silence."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    state = optimizer.state_dict()
    backward_of(model)()
    optimizer.ascend()
    text = r"between ascend\(\) and descend\(\): the weights are perturbed"
    with pytest.raises(RuntimeError, match=r"^state_dict\(\) " + text):
        optimizer.state_dict()
    with pytest.raises(RuntimeError, match=r"^load_state_dict\(\) " + text):
        optimizer.load_state_dict(state)
    for copying in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match="^copying the optimizer " + text):
            copying(optimizer)
    optimizer.descend()
    assert optimizer.state_dict()["param_groups"][0]["gcsam_steps"] == 1


def test_a_run_of_the_base_optimizer_can_be_continued():
    """Options of GCSAM that the file does not hold keep their present values."""
    model = network()
    base = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    backward_of(model)()
    base.step()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.2, lr=0.1, momentum=0.9)
    optimizer.load_state_dict(base.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert all("momentum_buffer" in optimizer.state[parameter] for parameter in model.parameters())
    assert gcsam_twin.norm(epsilon(optimizer, model)) == pytest.approx(0.2)


def test_a_state_of_other_groups_is_refused():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    other = GCSAM([nn.Parameter(torch.ones(1))], torch.optim.SGD, lr=0.1)
    with pytest.raises(ValueError, match="doesn't match the size"):
        optimizer.load_state_dict(other.state_dict())
    optimizer.step(backward_of(model))


def test_a_base_that_loads_in_its_own_way_is_asked():
    """Fails if the state is cast like a weight before an 8-bit optimizer, say, can see it."""

    class OwnForm(torch.optim.SGD):
        def load_state_dict(self, state_dict):
            super().load_state_dict({**state_dict, "state": {}})
            self.was_asked = True

    model = network()
    optimizer = GCSAM.from_model(model, OwnForm, lr=0.1, momentum=0.9)
    optimizer.step(backward_of(model))
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.base_optimizer.was_asked
    assert not optimizer.state
    assert optimizer.state is optimizer.base_optimizer.state


def test_hooks_on_states_are_run():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    seen = []
    optimizer.register_state_dict_post_hook(lambda _, state: seen.append("saved") or {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(lambda _, state: seen.append(state.pop("extra")))
    optimizer.register_load_state_dict_pre_hook(lambda _, state: {**state, "param_groups": changed(state)})
    optimizer.register_load_state_dict_post_hook(lambda _: seen.append("loaded"))

    def changed(state):
        return [{**group, "lr": 5.0} for group in state["param_groups"]]

    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert seen == ["saved", 1, "loaded"]
    assert optimizer.param_groups[0]["lr"] == 5.0
    assert "extra" in state  # the one given is not written to


# --- shared with the base --------------------------------------------------------------------------------------------


def test_groups_and_state_are_those_of_the_base_before_and_after_loading():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.Adam, lr=0.1)
    for _ in range(2):
        assert optimizer.param_groups is optimizer.base_optimizer.param_groups
        assert optimizer.state is optimizer.base_optimizer.state
        assert isinstance(optimizer.base_optimizer, torch.optim.Adam)
        optimizer.step(backward_of(model))
        optimizer.load_state_dict(optimizer.state_dict())
    optimizer.param_groups[0]["lr"] = 0.0
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.step(backward_of(model))
    assert all(torch.equal(parameter, w) for parameter, w in zip(model.parameters(), before, strict=True))


def test_zero_grad_clears_and_zeroes():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    backward_of(model)()
    optimizer.zero_grad(set_to_none=False)
    assert all(not parameter.grad.any() for parameter in model.parameters())
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("take", [by_step, by_hand])
@pytest.mark.parametrize("on_base", [False, True])
def test_schedulers_change_the_learning_rate_without_a_warning(take, on_base):
    """Fails if `descend()` is not counted as a step: torch then warns of a scheduler that steps too early."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=1.0)
    schedule = lr_scheduler.StepLR(optimizer.base_optimizer if on_base else optimizer, step_size=1, gamma=0.0)
    moves = []
    for _ in range(2):
        before = next(model.parameters()).detach().clone()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            take(optimizer, model)
            schedule.step()
        moves.append(not torch.equal(next(model.parameters()), before))
    assert moves == [True, False]


def test_one_cycle_finds_the_momentum_it_cycles():
    """Fails if `defaults` hides those of the base optimizer."""
    for base_class, name in ((torch.optim.SGD, "momentum"), (torch.optim.AdamW, "betas")):
        model = network()
        arguments = {"momentum": 0.9} if name == "momentum" else {}
        optimizer = GCSAM.from_model(model, base_class, lr=0.1, **arguments)
        schedule = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=4)
        seen = set()
        for _ in range(3):
            optimizer.step(backward_of(model))
            schedule.step()
            seen.add(str(optimizer.param_groups[0][name]))
        assert len(seen) == 3


@pytest.mark.parametrize("take", [by_step, by_hand])
def test_hooks_on_step_run_once_a_step(take):
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    optimizer.base_optimizer.register_step_post_hook(lambda *_: seen.append("base"))
    take(optimizer, model)
    assert seen == ["before", "base", "after"]


# --- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["deepcopy", "pickle"]
)
def test_a_copy_of_model_and_optimizer_goes_on_alone(copied):
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.AdamW, rho=rho_of_step, skip_nonfinite=False, lr=0.01)
    optimizer.step(backward_of(model))
    other, other_optimizer = copied((model, optimizer))
    for net, steps in ((model, optimizer), (other, other_optimizer)):
        assert steps.param_groups is steps.base_optimizer.param_groups
        for _ in range(2):
            steps.step(backward_of(net))
        steps.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert a is not b
        assert torch.equal(a, b)
    assert other_optimizer._model is other
    assert other_optimizer.skip_nonfinite is False
