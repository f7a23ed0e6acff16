"""One step of GCSAM against the slow twin, and epsilon against its definition.

The twin shares no code with the package (`tests/oracles/gcsam_twin.py`); the laws below it (length of epsilon, restored
weights, invariances) do not need it. Neither sees an accelerator; the path that runs there is in `test_ascent.py`.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from gcsam import GCSAM
from gcsam.centralize import module_dims, random_directions
from tests.gcsam.small import backward_of, epsilon, network
from tests.oracles import gcsam_twin


def axes_and_scales(model, eta=0.01):
    axes = list(module_dims(model).values())
    scales = [p.detach().abs() + eta if p.ndim >= 2 else torch.ones_like(p) for p in model.parameters()]
    return axes, scales


# --- against the twin ------------------------------------------------------------------------------------------------

BASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    "adam": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "amsgrad": True}),
}
SEED = 7
SWITCHES = [
    dict(zip(("adaptive", "centralize_ascent", "centralize_descent", "radius"), values, strict=True))
    for values in itertools.product((False, True), (False, True), (False, True), ("exact", "published", "matched"))
]


def units_of(model, axes):
    """Return the unit vectors of the random projection, by its rule."""
    seeds = [SEED * 1_000_003 + place for place in range(len(axes))]
    return [
        random_directions(parameter.shape, a, torch.Generator().manual_seed(seed)) if a else None
        for parameter, a, seed in zip(model.parameters(), axes, seeds, strict=True)
    ]


@pytest.mark.parametrize("projection", ["mean", "random"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "-".join(map(str, switches.values())))
def test_twenty_steps_equal_the_twin_in_parameters_and_state(base, switches, projection):
    """Fails if any switch, the projection, the norm or the order of the two passes is wrong."""
    base_class, arguments = BASES[base]
    model, twin = network(), network()
    options = {"rho": 0.1, "eta": 0.05, "projection": projection, "projection_seed": SEED, **switches}
    optimizer = GCSAM.from_model(model, base_class, **options, **arguments)
    base_optimizer = base_class(twin.parameters(), foreach=False, **arguments)
    axes = list(module_dims(twin).values())
    units = units_of(twin, axes) if projection == "random" else None
    rhos, parameters = [0.1] * len(axes), list(twin.parameters())
    for _ in range(20):
        optimizer.step(backward_of(model))
        gcsam_twin.step(parameters, backward_of(twin), base_optimizer, axes, rhos, eta=0.05, units=units, **switches)
    # Adam divides by sqrt(v), which lifts rounding (2e-16) in small gradients (1e-5) by 1e5: 1e-10 leaves a margin
    for got, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
        state, twin_state = optimizer.state[got], base_optimizer.state[expected]
        assert state.keys() == twin_state.keys()
        assert state
        for name in state:
            torch.testing.assert_close(state[name], twin_state[name], rtol=0, atol=1e-10)


def test_every_switch_changes_the_result():
    """Fails if an option is accepted and then not used."""

    def after_three_steps(**options):
        model = network()
        optimizer = GCSAM.from_model(model, torch.optim.SGD, **{"rho": 0.1, "lr": 0.1, **options})
        for _ in range(3):
            optimizer.step(backward_of(model))
        return nn.utils.parameters_to_vector(model.parameters()).detach()

    plain, adaptive = after_three_steps(), after_three_steps(adaptive=True)
    others = [
        after_three_steps(rho=0.2),
        after_three_steps(rho=lambda step: 0.1 + 0.05 * step),
        after_three_steps(centralize_ascent=False),
        after_three_steps(centralize_descent=True),
        after_three_steps(radius="published"),
        after_three_steps(radius="matched", centralize_ascent=False),
        after_three_steps(friendly=1.0),
        after_three_steps(friendly=0.5),
        after_three_steps(friendly=0.5, friendly_decay=0.5),
        after_three_steps(projection="random"),
        after_three_steps(projection="random", projection_seed=1),
        after_three_steps(adaptive=True, eta=0.2),
        adaptive,
    ]
    results = [plain, *others]
    for a, b in itertools.combinations(results, 2):
        assert float((a - b).norm()) > 1e-5


# --- epsilon ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [1e-3, 0.05, 2.0])
def test_exact_radius_is_the_length_of_epsilon(rho):
    """Fails if the norm is taken before centralizing, or per tensor or group."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=rho, lr=0.1)
    assert gcsam_twin.norm(epsilon(optimizer, model)) == pytest.approx(rho, rel=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.01, 0.5])
def test_adaptive_radius_is_the_length_in_the_scaled_coordinates(eta):
    """Fails if T leaves out eta, scales biases, or enters once instead of twice."""
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.5, adaptive=True, eta=eta, lr=0.1)
    _, scales = axes_and_scales(model, eta)
    scaled = [e / t for e, t in zip(epsilon(optimizer, model), scales, strict=True)]
    assert gcsam_twin.norm(scaled) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("adaptive", [False, True])
def test_published_radius_is_q_times_rho(adaptive):
    """Fails if the raw norm is not that of the gradient before P; its epsilon is the exact one at radius q * rho."""
    model = network()
    options = {"adaptive": adaptive, "lr": 0.1}
    published = GCSAM.from_model(model, torch.optim.SGD, rho=0.2, radius="published", **options)
    short = epsilon(published, model)
    backward_of(model)()
    axes, scales = axes_and_scales(model)
    scales = scales if adaptive else [torch.ones_like(t) for t in scales]
    gradients = [t * p.grad / 2 for t, p in zip(scales, model.parameters(), strict=True)]  # two backward calls added
    q = gcsam_twin.norm([gcsam_twin.project(g, a) for g, a in zip(gradients, axes, strict=True)])
    q /= gcsam_twin.norm(gradients)
    assert 0.1 < q < 0.999
    assert published.ascent_ratio() == pytest.approx(q, rel=1e-9)
    lengths = [e / t for e, t in zip(short, scales, strict=True)]
    assert gcsam_twin.norm(lengths) == pytest.approx(q * 0.2, rel=1e-9)
    exact = GCSAM.from_model(model, torch.optim.SGD, rho=q * 0.2, **options)
    for got, expected in zip(epsilon(exact, model), short, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


def test_the_radius_holds_in_float32_for_a_large_weight():
    """Fails with torch's own CPU norm of ten million numbers, which is off by 4e-4."""
    weight = nn.Parameter(torch.zeros(1000, 2000))
    optimizer = GCSAM([weight], torch.optim.SGD, rho=0.05, centralize_ascent=False, lr=0.1)
    weight.grad = 1 + torch.rand(1000, 2000, generator=torch.Generator().manual_seed(0))
    optimizer.ascend()
    # 2e6 float32 entries, each rounded by at most 6e-8 of itself, so is their norm; the same again for the scale
    assert gcsam_twin.norm([weight.detach()]) == pytest.approx(0.05, rel=1e-6)


def test_adaptive_centralization_is_invariant_to_a_rescaling_of_single_weights():
    """Fails for d = T P(g): ASAM's invariance holds only if P acts in the scaled coordinates."""
    w = torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0]], dtype=torch.float64)
    c = torch.tensor([[1.0, 2.0, 4.0], [0.5, 3.0, 1.0]], dtype=torch.float64)
    moved = []
    for factor in (torch.ones_like(w), torch.tensor([[2.0, 0.5, 3.0], [4.0, 1.0, 0.1]], dtype=torch.float64)):
        weight = nn.Parameter(w * factor)
        optimizer = GCSAM([weight], torch.optim.SGD, rho=0.3, adaptive=True, eta=0.0, lr=0.1)
        ((weight / factor) * c).sum().backward()  # the same function of w
        optimizer.ascend()
        moved.append(weight.detach() / factor)
    torch.testing.assert_close(moved[0], moved[1], rtol=0, atol=1e-14)
    assert float((moved[0] - w).abs().min()) > 1e-3


def test_the_adaptive_scale_leaves_biases_unscaled_whatever_their_name():
    """ASAM's T: |w| + eta on tensors with two or more axes, 1 on one-dimensional ones."""
    weight, scale = nn.Parameter(torch.tensor([[3.0, 0.0]])), nn.Parameter(torch.tensor([5.0]))
    optimizer = GCSAM(
        [weight, scale], torch.optim.SGD, rho=1.0, adaptive=True, eta=1.0, centralize_ascent=False, lr=0.1
    )
    weight.grad, scale.grad = torch.tensor([[1.0, 2.0]]), torch.tensor([2.0])
    optimizer.ascend()  # T g = [4, 2], [2]: norm sqrt(24); T^2 g = [16, 2], [2]
    length = math.sqrt(24)
    torch.testing.assert_close(weight.detach(), torch.tensor([[3 + 16 / length, 2 / length]]))
    torch.testing.assert_close(scale.detach(), torch.tensor([5 + 2 / length]))


def test_after_a_fresh_layer_norm_gcsam_is_sam():
    """Inputs with mean 0 leave P nothing to remove; fails if q is not reported as 1 there."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 3, bias=False))
    model[0].requires_grad_(False)
    x, y = torch.randn(32, 16), torch.randint(3, (32,))
    centralized = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    plain = GCSAM.from_model(model, torch.optim.SGD, centralize_ascent=False, lr=0.1)
    closure = backward_of(model, x, y)
    for got, expected in zip(epsilon(centralized, model, closure), epsilon(plain, model, closure), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * 0.05)
    assert centralized.ascent_ratio() == pytest.approx(1, abs=1e-6)
    assert plain.ascent_ratio() == 1


def test_the_ascent_ratio_is_known_for_each_parameter():
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    assert math.isnan(optimizer.ascent_ratio())
    assert optimizer.ascent_ratios() == {}
    optimizer.step(backward_of(model))
    model.load_state_dict(network().state_dict())
    model.zero_grad()
    backward_of(model)()
    ratios = optimizer.ascent_ratios()
    for parameter, axes in zip(model.parameters(), module_dims(model).values(), strict=True):
        expected = gcsam_twin.norm([gcsam_twin.project(parameter.grad, axes)]) / gcsam_twin.norm([parameter.grad])
        assert ratios[parameter] == pytest.approx(expected, rel=1e-9)
