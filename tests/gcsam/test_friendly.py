"""Friendly-SAM and SAM at the matched radius: against the slow twin and hand-made numbers, and what outlives a step.

The twin keeps m as the paper writes it. It cannot see what is lost between runs, so the averages are also compared bit
for bit through files and copies, and a bad gradient must not enter them.
"""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from gcsam import GCSAM, ascent, perturbation
from gcsam.centralize import module_dims
from tests.gcsam.small import backward_of, epsilon, network
from tests.gcsam.test_optimizer import BASES, SEED, units_of
from tests.gcsam.test_optimizer_state import by_hand, by_step, through_a_file
from tests.oracles import gcsam_twin

SGD = torch.optim.SGD
SWITCHES = {
    "fsam": {"centralize_ascent": False},
    "centralized": {"centralize_descent": True},
    "adaptive": {"adaptive": True, "centralize_ascent": False},
    "matched, adaptive": {"adaptive": True, "centralize_ascent": False, "radius": "matched"},
    "random": {"projection": "random", "projection_seed": SEED, "radius": "published"},
}


def averages_of(optimizer):
    return list(optimizer._averages.values())


# --- against the twin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("friendly", [1.0, 0.6])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_twenty_steps_equal_the_twin_and_so_does_the_average(monkeypatch, switches, base, friendly, one_by_one):
    """Fails if m is written before it is used, starts elsewhere, or what is removed is m of the step before."""
    monkeypatch.setattr(ascent, "_is_one_by_one", lambda _: one_by_one)
    base_class, arguments = BASES[base]
    model, twin = network(), network()
    options = {"friendly": friendly, "friendly_decay": 0.8, **switches}
    optimizer = GCSAM.from_model(model, base_class, rho=0.1, **options, **arguments)
    base_optimizer = base_class(twin.parameters(), foreach=False, **arguments)
    axes, parameters = list(module_dims(twin).values()), list(twin.parameters())
    plain = {name: value for name, value in options.items() if not name.startswith("projection")}
    units = units_of(twin, axes) if "projection" in switches else None
    averages = [torch.zeros_like(parameter) for parameter in parameters]
    for _ in range(20):
        optimizer.step(backward_of(model))
        gcsam_twin.step(
            parameters,
            backward_of(twin),
            base_optimizer,
            axes,
            [0.1] * len(axes),
            units=units,
            averages=averages,
            **plain,
        )
    # rounding of 2e-16, lifted by Adam as in test_optimizer.py; and by what removing m leaves of g, here over 1 %
    for got, expected in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    for got, expected in zip(averages_of(optimizer), averages, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_two_ascents_by_hand():
    """G = 2, then 1, with decay 0.5 and sigma 1: m = 1, then 1; so epsilon has the sign of 1, then nothing is left."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = GCSAM([weight], SGD, rho=0.5, friendly=1.0, friendly_decay=0.5, lr=0.1)
    moved = []
    for gradient in (2.0, 1.0, -1.0):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.ascend()
        moved.append(weight.item())
        optimizer.restore()
    assert moved == [0.5, 0.0, -0.5]
    assert averages_of(optimizer)[0].item() == 0.0  # 0.5 * 1 + 0.5 * -1


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("one_by_one", [True, False])
def test_the_matched_radius_has_the_length_of_published_and_the_gain_of_exact(monkeypatch, adaptive, one_by_one):
    """To first order: the definition of the control. Fails if q is left out, squared, or of another projection."""
    if not one_by_one:  # as on an accelerator, where weights do not change places either
        monkeypatch.setattr(ascent, "_is_one_by_one", lambda _: False)
        monkeypatch.setattr(perturbation, "is_exchangeable", lambda _: False)
    model = network()
    options = {"rho": 0.2, "adaptive": adaptive, "lr": 0.1}
    matched = GCSAM.from_model(model, SGD, centralize_ascent=False, radius="matched", **options)
    raised = epsilon(matched, model)
    exact = epsilon(GCSAM.from_model(model, SGD, **options), model)
    published = epsilon(GCSAM.from_model(model, SGD, radius="published", **options), model)
    sam = epsilon(GCSAM.from_model(model, SGD, centralize_ascent=False, **options), model)
    model.zero_grad()
    backward_of(model)()
    gradients = [parameter.grad for parameter in model.parameters()]
    scales = [p.detach().abs() + 0.01 if adaptive and p.ndim > 1 else torch.ones_like(p) for p in model.parameters()]

    def length(moves):
        return gcsam_twin.norm([move / scale for move, scale in zip(moves, scales, strict=True)])

    def gain(moves):
        return sum(float((g * move).sum()) for g, move in zip(gradients, moves, strict=True))

    q = matched.ascent_ratio()
    assert 0.1 < q < 0.999
    assert length(raised) == pytest.approx(length(published), rel=1e-9)
    assert gain(raised) == pytest.approx(gain(exact), rel=1e-9)
    for ours, its in zip(raised, sam, strict=True):
        torch.testing.assert_close(ours, q * its, rtol=0, atol=1e-12)  # the direction is SAM's


def test_matched_along_pg_is_published():
    model = network()
    pair = [GCSAM.from_model(model, SGD, radius=radius, lr=0.1) for radius in ("matched", "published")]
    for a, b in zip(*(epsilon(optimizer, model) for optimizer in pair), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-15)


def test_groups_match_their_own_radius_by_the_q_of_all():
    """Group 1 climbs along Pg, group 2 along g at the matched radius, group 3 is left out of P altogether."""
    model = network()
    parameters, axes = list(model.parameters()), list(module_dims(model).values())
    groups = [
        {"params": parameters[:2], "centralize_dims": axes[:2]},
        {
            "params": parameters[2:6],
            "centralize_dims": axes[2:6],
            "centralize_ascent": False,
            "radius": "matched",
            "rho": 0.3,
        },
        {"params": parameters[6:], "centralize_ascent": False, "friendly": 1.0},
    ]
    optimizer = GCSAM(groups, SGD, rho=0.1, lr=0.1)
    moved = epsilon(optimizer, model)
    assert averages_of(optimizer)[0].shape == parameters[6].shape  # the only group that keeps any
    model.zero_grad()
    backward_of(model)()
    raw = [p.grad * (0.9 if place >= 6 else 1) for place, p in enumerate(parameters)]  # m = 0.1 g is removed there
    projected = [gcsam_twin.project(g, a) for g, a in zip(raw, axes, strict=True)]
    norm = gcsam_twin.norm
    directions = projected[:2] + raw[2:]
    q = norm(projected[:6] + raw[6:]) / norm(raw)
    factors = [0.1] * 2 + [0.3 * q] * 4 + [0.1] * (len(parameters) - 6)
    for got, factor, d in zip(moved, factors, directions, strict=True):
        torch.testing.assert_close(got, factor / norm(directions) * d, rtol=0, atol=1e-12)
    assert optimizer.ascent_ratio() == pytest.approx(q, rel=1e-12)


def test_the_matched_radius_of_a_gradient_that_p_removes_is_zero():
    """Q = 0: the base optimizer's step, and no division by zero."""
    weight = nn.Parameter(torch.zeros(2, 3))
    optimizer = GCSAM([weight], SGD, rho=1.0, centralize_ascent=False, radius="matched", lr=0.5)
    optimizer.step(lambda: weight.sum().backward())
    torch.testing.assert_close(weight.detach(), torch.full((2, 3), -0.5))
    assert optimizer.num_skipped == 0


# --- what outlives a step --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("take", [by_step, by_hand])
@pytest.mark.parametrize("base", BASES)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(base, take):
    """Fails if m is not in the file, or is not taken from it."""
    base_class, arguments = BASES[base]
    model = network()
    optimizer = GCSAM.from_model(model, base_class, friendly=1.0, friendly_decay=0.7, **arguments)
    for _ in range(3):
        take(optimizer, model)
    saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    for _ in range(3):
        take(optimizer, model)
    resumed = network()
    other = GCSAM(resumed.parameters(), base_class, lr=7.0)  # the options come from the file as well
    resumed.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    for _ in range(3):
        take(other, resumed)
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
        assert optimizer.state[a].keys() == other.state[b].keys()
    for a, b in zip(averages_of(optimizer), averages_of(other), strict=True):
        assert torch.equal(a, b)
        assert float(a.norm()) > 0


def test_a_state_has_averages_where_some_are_removed_and_the_base_has_stepped():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.Adam, friendly=1.0)
    assert optimizer.state_dict()["state"] == {}
    optimizer.step(backward_of(model))  # Adam makes its moments although m was there before
    for average, entry in zip(averages_of(optimizer), optimizer.state_dict()["state"].values(), strict=True):
        assert set(entry) == {"step", "exp_avg", "exp_avg_sq", "ascent_average"}
        assert entry["ascent_average"] is average
    optimizer.load_state_dict({**optimizer.state_dict(), "state": {}})
    assert averages_of(optimizer) == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_alone(copied):
    model = network()
    optimizer = GCSAM.from_model(model, SGD, friendly=1.0, lr=0.1)
    optimizer.step(backward_of(model))
    other, other_optimizer = copied((model, optimizer))
    for net, steps in ((model, optimizer), (other, other_optimizer)):
        for _ in range(2):
            steps.step(backward_of(net))
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(averages_of(optimizer), averages_of(other_optimizer), strict=True):
        assert torch.equal(a, b)
        assert a is not b


@pytest.mark.parametrize("may_wait", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_gradient_does_not_enter_the_average(monkeypatch, value, may_wait):
    monkeypatch.setattr("gcsam.two_pass.may_wait_for", lambda _: may_wait)
    model = network()
    optimizer = GCSAM.from_model(model, SGD, friendly=1.0, lr=0.1)
    optimizer.step(backward_of(model))
    before = [average.clone() for average in averages_of(optimizer)]
    backward_of(model)()
    next(model.parameters()).grad.view(-1)[0] = value
    optimizer.ascend(zero_grad=True)
    backward_of(model)()
    optimizer.descend()
    assert optimizer.num_skipped == 1
    assert all(torch.equal(a, b) for a, b in zip(averages_of(optimizer), before, strict=True))


def test_an_unlooked_at_gradient_enters_the_average():
    model = network()
    optimizer = GCSAM.from_model(model, SGD, friendly=1.0, skip_nonfinite=False, lr=0.1)
    optimizer.step(backward_of(model))
    assert all(float(average.norm()) > 0 for average in averages_of(optimizer))


@pytest.mark.parametrize("switches", [{"friendly": 1.0}, {"centralize_ascent": False, "radius": "matched"}])
def test_the_scale_of_a_gradscaler_is_not_seen(switches):
    """Fails if m averages scaled gradients: a scale of a power of two leaves every bit alone."""
    model, plain = network(torch.float32), network(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    optimizer = GCSAM.from_model(model, SGD, rho=0.1, lr=0.1, **switches)
    expected = GCSAM.from_model(plain, SGD, rho=0.1, lr=0.1, **switches)

    def scaled():
        x = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(1))
        scaler.scale(nn.functional.cross_entropy(model(x), torch.arange(6) % 3)).backward()

    def unscaled():
        x = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(1))
        nn.functional.cross_entropy(plain(x), torch.arange(6) % 3).backward()

    for _ in range(4):
        optimizer.step(scaled, scaler=scaler)
        scaler.update()
        expected.step(unscaled)
    assert scaler.get_scale() > 1024
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_an_average_follows_its_parameter_to_another_dtype():
    model = network()
    optimizer = GCSAM.from_model(model, SGD, friendly=1.0, lr=0.1)
    optimizer.step(backward_of(model))
    model.float()
    optimizer.step(backward_of(model))
    assert {average.dtype for average in averages_of(optimizer)} == {torch.float32}


def test_what_is_kept_between_steps():
    """One copy of w; with Friendly-SAM one more, with random directions one more for the weights that have rows."""
    model = network(torch.float32)
    num_weights = sum(parameter.numel() for parameter in model.parameters())

    def kept(**options):
        optimizer = GCSAM.from_model(model, SGD, rho=0.1, lr=0.1, **options)
        assert optimizer.kept_tensors() == []
        optimizer.step(backward_of(model))
        return sum(tensor.numel() for tensor in optimizer.kept_tensors() if tensor.dtype == torch.float32)

    plain = kept()
    assert plain == num_weights
    assert kept(friendly=1.0) == 2 * num_weights
    assert kept(momentum=0.9) == 2 * num_weights
    with_rows = sum(p.numel() for p, a in zip(model.parameters(), module_dims(model).values(), strict=True) if a)
    assert kept(projection="random") == num_weights + with_rows
