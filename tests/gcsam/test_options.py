"""Options per group and per parameter, and parameters of every kind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gcsam import GCSAM
from gcsam.centralize import module_dims, tensor_dims
from tests.gcsam.small import backward_of, epsilon, network
from tests.oracles import gcsam_twin

SGD = torch.optim.SGD


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_have_their_own_options_and_share_one_norm():
    """Fails if any option is read from the defaults, or the norm is taken per group."""
    model = network()
    parameters = list(model.parameters())
    axes = [tensor_dims(parameter.shape) for parameter in parameters]
    axes[2] = (0, 2, 3)
    groups = [
        {"params": parameters[:2], "rho": 0.3, "radius": "published"},
        {"params": parameters[2:3], "rho": 0.2, "centralize_dims": (0, 2, 3)},
        {"params": parameters[3:6], "adaptive": True, "eta": 0.5},
        {"params": parameters[6:], "centralize_ascent": False, "rho": 0},
    ]
    optimizer = GCSAM(groups, SGD, rho=0.1, lr=0.1)
    moved = epsilon(optimizer, model)
    model.zero_grad()
    backward_of(model)()
    scales = [torch.ones_like(parameter) for parameter in parameters]
    for i in range(3, 6):
        scales[i] = parameters[i].detach().abs() + 0.5 if parameters[i].ndim > 1 else scales[i]
    scaled = [t * p.grad for t, p in zip(scales, parameters, strict=True)]
    directions = [gcsam_twin.project(g, a) for g, a in zip(scaled[:6], axes[:6], strict=True)] + scaled[6:]
    exact, published = gcsam_twin.norm(directions), gcsam_twin.norm(scaled)
    assert published > 1.01 * exact
    factors = [0.3 / published] * 2 + [0.2 / exact] + [0.1 / exact] * 3 + [0.0] * (len(parameters) - 6)
    for got, factor, t, d in zip(moved, factors, scales, directions, strict=True):
        torch.testing.assert_close(got, factor * t * d, rtol=0, atol=1e-12)


def test_groups_may_differ_in_the_descent():
    a, b = nn.Parameter(torch.zeros(1, 2)), nn.Parameter(torch.zeros(1, 2))
    optimizer = GCSAM([{"params": [a], "centralize_descent": True}, {"params": b, "lr": 0.5}], SGD, lr=1.0)
    optimizer.step(lambda: ((a + b) * torch.tensor([[1.0, 4.0]])).sum().backward())
    torch.testing.assert_close(a.detach(), torch.tensor([[1.5, -1.5]]))
    torch.testing.assert_close(b.detach(), torch.tensor([[-0.5, -2.0]]))


def test_rho_of_a_group_may_be_edited_at_any_step():
    model = network()
    optimizer = GCSAM.from_model(model, SGD, lr=0.1)
    for rho in (0.05, 0.4, 0.01):
        optimizer.param_groups[0]["rho"] = rho
        assert gcsam_twin.norm(epsilon(optimizer, model)) == pytest.approx(rho)


def test_rho_may_be_a_function_of_the_number_of_steps():
    """Fails if skipped steps or both halves are counted, or groups count apart."""
    model = network()
    parameters = list(model.parameters())
    groups = [{"params": parameters[:4]}, {"params": parameters[4:], "rho": 0.3}]
    optimizer = GCSAM(groups, SGD, rho=lambda step: 0.1 * step, lr=0.1)
    seen = []
    for _ in range(3):
        optimizer.step(backward_of(model))
        seen.append([group["rho"] for group in optimizer.param_groups])
    assert seen == [[0.0, 0.3], [0.1, 0.3], [0.2, 0.3]]


def test_a_function_for_rho_is_asked_at_every_ascent_by_hand_too():
    model = network()
    optimizer = GCSAM.from_model(model, SGD, rho=lambda step: 0.1 + 0.2 * step, lr=0.1)
    for rho in (0.1, 0.3):
        assert gcsam_twin.norm(epsilon(optimizer, model)) == pytest.approx(rho)
        optimizer.step(backward_of(model))


def test_a_group_added_later_joins_in():
    model = network()
    parameters = list(model.parameters())
    optimizer = GCSAM(parameters[:2], torch.optim.Adam, rho=lambda step: 1.0 + step, lr=0.1)
    optimizer.step(backward_of(model))
    optimizer.add_param_group({"params": parameters[2:4], "lr": 0.0, "rho": 0.5})
    optimizer.add_param_group({"params": parameters[4:]})
    assert [group["rho"] for group in optimizer.param_groups] == [2.0, 0.5, 2.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.0, 0.1]
    assert optimizer.param_groups is optimizer.base_optimizer.param_groups
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer.step(backward_of(model))
    changed = [not torch.equal(parameter, w) for parameter, w in zip(parameters, before, strict=True)]
    assert changed == [True, True, False, False] + [True] * (len(parameters) - 4)


def test_a_group_with_a_mistake_is_not_added():
    model = network()
    parameters = list(model.parameters())
    optimizer = GCSAM(parameters[:2], SGD, lr=0.1)
    for mistake in ({"rho": -1.0}, {"centralize_dims": (7,)}):
        with pytest.raises(ValueError, match=r"rho must be|centralize_dims must be"):
            optimizer.add_param_group({"params": parameters[2:], **mistake})
        assert len(optimizer.param_groups) == 1
    optimizer.step(backward_of(model))


# --- axes ------------------------------------------------------------------------------------------------------------


def test_plain_parameters_follow_their_shape_and_from_model_the_module_types():
    model = network()
    by_type = GCSAM.from_model(model, SGD, lr=0.1)
    by_shape = GCSAM(model.parameters(), SGD, lr=0.1)
    for optimizer, axes in (
        (by_type, list(module_dims(model).values())),
        (by_shape, [tensor_dims(parameter.shape) for parameter in model.parameters()]),
    ):
        moved = epsilon(optimizer, model)
        for e, a in zip(moved, axes, strict=True):
            if a:
                torch.testing.assert_close(e.mean(a), torch.zeros_like(e.mean(a)), rtol=0, atol=1e-16)
    assert float(epsilon(by_shape, model)[2].mean((0, 2, 3)).abs().max()) > 1e-5  # the transposed convolution


def test_axes_of_a_group_concern_its_weights_and_leave_its_biases_alone():
    """Fails if the bias of a layer is centralized, or refused for having one axis."""
    layer = nn.ConvTranspose2d(3, 2, 2)
    optimizer = GCSAM([{"params": layer.parameters(), "centralize_dims": (0, 2, 3)}], SGD, rho=1.0, lr=0.1)
    layer.weight.grad = torch.randn(3, 2, 2, 2)
    layer.bias.grad = torch.ones(2)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    optimizer.ascend()
    moved = [parameter.detach() - w for parameter, w in zip(layer.parameters(), before, strict=True)]
    torch.testing.assert_close(moved[0].mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-6)
    assert float(moved[1].min()) > 0.05


def test_from_model_keeps_the_groups_it_is_given():
    model = network()
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": iter(weights), "weight_decay": 0.1}, {"params": biases, "centralize_dims": ()}]
    optimizer = GCSAM.from_model(model, SGD, params=groups, rho=0.2, lr=0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0]
    assert optimizer.param_groups[0]["centralize_dims"] == [(1, 2, 3), (0, 2, 3), (), (1,)]
    assert optimizer.param_groups[1]["centralize_dims"] == ()
    named = GCSAM.from_model(model, SGD, params=model.named_parameters(), lr=0.1)
    assert named.param_groups[0]["centralize_dims"] == list(module_dims(model).values())
    single = GCSAM.from_model(model, SGD, params=[{"params": weights[1]}], lr=0.1)
    assert single.param_groups[0]["centralize_dims"] == [(0, 2, 3)]


def test_entries_of_a_list_of_axes_may_be_none_and_lists():
    """A state that went through JSON has lists where tuples were."""
    model = network()
    entries = [list(axes) for axes in module_dims(model).values()]
    entries[0] = None
    parameters = list(model.parameters())
    listed = GCSAM([{"params": parameters, "centralize_dims": entries}], SGD, lr=0.1)
    for got, expected in zip(epsilon(listed, model), epsilon(GCSAM.from_model(model, SGD, lr=0.1), model), strict=True):
        assert torch.equal(got, expected)


def test_a_weight_with_one_element_per_row_still_trains():
    """Fails if P makes its gradient zero, by rule or by the axes of its group."""
    for group in ({}, {"centralize_dims": (1, 2, 3)}):
        weight = nn.Parameter(torch.ones(4, 1, 1, 1))
        optimizer = GCSAM([{"params": [weight], **group}], SGD, centralize_descent=True, rho=0.5, lr=0.5)
        optimizer.step(lambda weight=weight: (weight.square().sum() / 2).backward())
        torch.testing.assert_close(weight.detach(), torch.full((4, 1, 1, 1), 1 - 0.5 * 1.25))


# --- parameters of every kind ----------------------------------------------------------------------------------------


class Odd(nn.Module):
    """Frozen, unused, tied, scalar and empty parameters beside an ordinary one."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(3, 3), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3, 3))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.empty = nn.Parameter(torch.ones(2, 0, 3))

    def forward(self, x):
        return self.scale * self.second(torch.tanh(self.first(x))) @ self.frozen + self.empty.sum()


@pytest.mark.parametrize("adaptive", [False, True])
def test_frozen_unused_tied_scalar_and_empty_parameters(adaptive):
    torch.manual_seed(0)
    model = Odd().double()
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.arange(4) % 3
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = GCSAM.from_model(model, torch.optim.Adam, rho=0.2, adaptive=adaptive, centralize_descent=True, lr=0.1)
    moved = epsilon(optimizer, model, backward_of(model, x, y))
    scales = [p.detach().abs() + 0.01 if adaptive and p.ndim > 1 else torch.ones_like(p) for p in model.parameters()]
    assert gcsam_twin.norm([e / t for e, t in zip(moved, scales, strict=True)]) == pytest.approx(0.2)
    optimizer.step(backward_of(model, x, y))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"first.weight", "first.bias", "second.weight", "scale"}
    assert not any(value.isnan().any() for value in model.state_dict().values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_take_their_norm_in_float32(dtype):
    """Fails if the norm is rounded to 8 or 11 bits, or overflows at 65504."""
    weight = nn.Parameter(torch.zeros(64, 64, dtype=dtype))
    weight.grad = torch.linspace(-1e3, 1e3, 4096).reshape(64, 64).to(dtype)
    optimizer = GCSAM([weight], SGD, rho=0.05, centralize_ascent=False, lr=0.1)
    optimizer.ascend()
    # every entry is rounded to the dtype, but independently: the norm is off by far less than one rounding
    assert gcsam_twin.norm([weight.detach()]) == pytest.approx(0.05, rel=torch.finfo(dtype).eps / 4)
