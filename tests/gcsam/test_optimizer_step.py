"""What `step(closure)` and the two halves do around the formulas: closures, rho = 0, the gradients left behind."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gcsam import GCSAM
from gcsam.centralize import module_dims
from tests.gcsam.small import X, Y, backward_of, epsilon, network
from tests.oracles import gcsam_twin

BASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    "adam": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "amsgrad": True}),
}

# --- step(closure) ---------------------------------------------------------------------------------------------------


def test_step_returns_the_loss_at_w_and_zero_is_a_loss_like_any_other():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = GCSAM([weight], torch.optim.SGD, rho=0.5, lr=0.1)
    seen = []

    def closure():
        loss = weight.square().sum() - 4
        loss.backward()
        seen.append((loss.item(), weight.item(), torch.is_grad_enabled()))
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 0.0
    assert seen == [(0.0, 2.0, True), (2.25, 2.5, True)]
    assert weight.item() == pytest.approx(2 - 0.1 * 5)


def test_step_returns_whatever_the_closure_returns():
    model = network()
    optimizer = GCSAM(model.parameters(), torch.optim.SGD, lr=0.1)

    def closure():
        output = model(X)
        loss = F.cross_entropy(output, Y)
        loss.backward()
        return loss, output

    expected = model(X)
    loss, output = optimizer.step(closure=closure)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(loss, F.cross_entropy(expected, Y))


def test_a_closure_with_or_without_zero_grad_makes_no_difference():
    """Fails if the gradients of the first pass are still there in the second."""
    model, other = network(), network()
    for net, clears in ((model, True), (other, False)):
        optimizer = GCSAM(net.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)

        def closure(net=net, clears=clears, optimizer=optimizer):
            if clears:
                optimizer.zero_grad(set_to_none=False)
            return backward_of(net)()

        for _ in range(3):
            optimizer.step(closure)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cuts", [(3, 3), (1, 2, 3)])
def test_micro_batches_in_the_closure_equal_their_union(cuts):
    """Gradient accumulation belongs into the closure."""
    whole, cut = network(), network()
    GCSAM.from_model(whole, torch.optim.SGD, rho=0.5, lr=0.1).step(backward_of(whole))

    def accumulate():
        total = 0.0
        for x, y in zip(X.split(cuts), Y.split(cuts), strict=True):
            loss = F.cross_entropy(cut(x), y, reduction="sum") / len(X)
            loss.backward()
            total += loss.item()
        return total

    loss = GCSAM.from_model(cut, torch.optim.SGD, rho=0.5, lr=0.1).step(accumulate)
    assert loss == pytest.approx(F.cross_entropy(network()(X), Y).item())
    for a, b in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)  # float64 sums in another order


def test_clipping_between_the_halves_clips_what_the_base_optimizer_sees():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.1, lr=1.0)
    before = nn.utils.parameters_to_vector(model.parameters()).detach()
    backward_of(model)()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)  # changes the length of g, so not epsilon
    optimizer.ascend(zero_grad=True)
    moved = nn.utils.parameters_to_vector(model.parameters()).detach() - before
    assert float(moved.norm()) == pytest.approx(0.1)
    backward_of(model)()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    optimizer.descend(zero_grad=True)
    moved = nn.utils.parameters_to_vector(model.parameters()).detach() - before
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)  # clip_grad_norm_ adds 1e-6 to the norm
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("names", [("ascend", "descend"), ("first_step", "second_step"), ("ascend", "step")])
def test_the_two_halves_by_hand_equal_step(names):
    model, other = network(), network()
    optimizer = GCSAM.from_model(model, torch.optim.AdamW, rho=0.1)
    by_hand = GCSAM.from_model(other, torch.optim.AdamW, rho=0.1)
    for _ in range(3):
        optimizer.step(backward_of(model))
        backward_of(other)()
        getattr(by_hand, names[0])(zero_grad=True)
        backward_of(other)()
        getattr(by_hand, names[1])()
        by_hand.zero_grad()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_descend_clears_the_gradients_where_asked():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    backward_of(model)()
    optimizer.ascend()
    optimizer.descend(zero_grad=True)
    assert all(parameter.grad is None for parameter in model.parameters())


# --- rho = 0 ---------------------------------------------------------------------------------------------------------


def noisy_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(12, 3))


@pytest.mark.parametrize("from_model", [True, False])
@pytest.mark.parametrize(("base", "arguments"), BASES.values(), ids=BASES)
def test_without_a_radius_it_is_the_base_optimizer_bit_for_bit(base, arguments, from_model):
    """Fails if the second pass runs: dropout draws and batch-norm statistics would differ."""
    x = X.float()
    runs = []
    for wrapped in (True, False):
        model = noisy_network()
        if not wrapped:
            optimizer = base(model.parameters(), **arguments)
        elif from_model:
            optimizer = GCSAM.from_model(model, base, rho=0, **arguments)
        else:
            optimizer = GCSAM(model.parameters(), base, rho=lambda _: 0.0, **arguments)
        torch.manual_seed(5)

        def closure(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), Y)
            loss.backward()
            return loss

        losses = [optimizer.step(closure).item() for _ in range(20)]
        states = [optimizer.state[parameter] for parameter in model.parameters()]
        runs.append((losses, model.state_dict(), states, torch.get_rng_state()))
    (losses, weights, states, rng), (base_losses, base_weights, base_states, base_rng) = runs
    assert losses == base_losses
    assert all(torch.equal(weights[name], base_weights[name]) for name in base_weights)
    for state, base_state in zip(states, base_states, strict=True):
        assert state.keys() == base_state.keys()
        assert all(torch.equal(torch.as_tensor(state[name]), torch.as_tensor(base_state[name])) for name in state)
    assert torch.equal(rng, base_rng)


def test_without_a_radius_the_closure_runs_once_and_with_one_twice():
    for rho, expected in ((0, 1), (0.05, 2)):
        model, calls = network(), []
        optimizer = GCSAM(model.parameters(), torch.optim.SGD, rho=rho, lr=0.1)

        def closure(model=model, calls=calls):
            calls.append(1)
            return backward_of(model)()

        optimizer.step(closure)
        assert len(calls) == expected


def test_without_a_radius_the_halves_by_hand_leave_the_weights_between():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0, lr=0.1)
    assert gcsam_twin.norm(epsilon(optimizer, model)) == 0
    assert math.isnan(optimizer.ascent_ratio())


# --- the descent -----------------------------------------------------------------------------------------------------


def test_a_centralized_descent_keeps_row_means():
    """Fails if P is applied to one pass only, or to the wrong axes."""
    for centralize_descent in (True, False):
        model = network()
        axes = list(module_dims(model).values())
        means = [p.detach().mean(a) for p, a in zip(model.parameters(), axes, strict=True) if a]
        optimizer = GCSAM.from_model(
            model, torch.optim.SGD, centralize_descent=centralize_descent, lr=0.1, momentum=0.9
        )
        for _ in range(20):
            optimizer.step(backward_of(model))
        after = [p.detach().mean(a) for p, a in zip(model.parameters(), axes, strict=True) if a]
        drift = gcsam_twin.norm([a - b for a, b in zip(after, means, strict=True)])
        assert drift < 1e-12 if centralize_descent else drift > 1e-3


def test_gradients_are_left_as_backward_left_them():
    """Fails if P(gradient) or the direction stays in `.grad`."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, centralize_descent=True, adaptive=True, lr=0.1)
    backward_of(model)()
    grads = [(p.grad, p.grad.clone(), p.grad._version) for p in model.parameters()]
    optimizer.ascend()
    optimizer.descend()
    for parameter, (grad, value, version) in zip(model.parameters(), grads, strict=True):
        assert parameter.grad is grad
        assert grad._version == version
        assert torch.equal(grad, value)


def test_gradients_come_back_when_the_base_optimizer_raises():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, centralize_descent=True, lr=0.1)
    before = copy.deepcopy(model.state_dict())
    optimizer.base_optimizer.step = lambda: 1 / 0
    backward_of(model)()
    grads = [parameter.grad for parameter in model.parameters()]
    optimizer.ascend()
    with pytest.raises(ZeroDivisionError):
        optimizer.descend()
    assert all(parameter.grad is grad for parameter, grad in zip(model.parameters(), grads, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weight_decay_of_the_base_is_no_part_of_the_ascent():
    """Its L2 term enters in the base step only: epsilon does not depend on it, the step does."""
    model = network()
    decayed = GCSAM.from_model(model, torch.optim.SGD, weight_decay=10.0, lr=0.1)
    plain = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    for a, b in zip(epsilon(decayed, model), epsilon(plain, model), strict=True):
        assert torch.equal(a, b)
    weight = nn.Parameter(torch.tensor([2.0]))
    GCSAM([weight], torch.optim.SGD, rho=0.5, weight_decay=10.0, lr=0.1).step(
        lambda: (weight.square().sum() / 2).backward()
    )
    assert weight.item() == pytest.approx(2 - 0.1 * (2.5 + 10 * 2))  # gradient at 2.5, decay at w = 2
