"""Ascent on quadratics against the trust-region maximum from the secular equation, in float64.

The oracle knows the whole spectrum; the ascent sees values and gradients only. Blind to anything not quadratic, but
for the interior and the not finite cases.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from analysis.flatness.ascent import Ascent, ascend
from tests.compare import assert_close
from tests.oracles.trust_region import maximum

SPECTRA = {
    "decaying": torch.logspace(0, -4, 30, dtype=torch.float64),
    "close": torch.cat([torch.tensor([1.0, 0.97, 0.95]), torch.linspace(0, 0.9, 27)]).double(),
    "indefinite": torch.linspace(-3, 1, 30, dtype=torch.float64),
    "negative": torch.linspace(-3, -0.1, 30, dtype=torch.float64),
    "zero": torch.zeros(30, dtype=torch.float64),
}


def quadratic(spectrum: Tensor, slope: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(30, 30, generator=generator, dtype=torch.float64))[0]
    gradient = torch.randn(30, generator=generator, dtype=torch.float64)
    return basis @ torch.diag(spectrum) @ basis.T, gradient * (slope / gradient.norm())


def climb(hessian: Tensor, gradient: Tensor, radius: float, **options: Any) -> Ascent:
    return ascend(
        lambda u: float(gradient @ u + u @ hessian @ u / 2),
        lambda u: gradient + hessian @ u,
        gradient * (radius / gradient.norm()),
        radius,
        **{"steps": 400, "tol": 1e-6} | options,
    )


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("slope", [10.0, 1.0, 0.1])
@pytest.mark.parametrize("radius", [0.05, 1.0])
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
def test_reaches_the_maximum_of_a_quadratic_over_the_ball(name: str, slope: float, radius: float, tol: float) -> None:
    hessian, gradient = quadratic(SPECTRA[name], slope)
    value, best = maximum(hessian, gradient, radius)
    found = climb(hessian, gradient, radius, tol=tol)
    assert found.residual <= tol
    assert float(found.point.norm()) <= radius * (1 + 1e-14)
    at_point = gradient + hessian @ found.point
    if float(best.norm()) > radius * (1 - 1e-9):
        # On the sphere with multiplier mu > lambda_1: f(v) - f(u) <= r.d - (mu - lambda_1) |d|^2 / 2 with d = v - u,
        # r the tangential gradient, so the gap is at most |r|^2 / (2 (mu - lambda_1)).
        multiplier = float(found.point @ at_point) / radius**2
        margin = multiplier - float(torch.linalg.eigvalsh(hessian)[-1])
        assert margin > 0
        allowed = (found.residual * float(at_point.norm())) ** 2 / (2 * margin)
    else:  # inside the ball f is concave here, with curvature at least 0.1: the gap is at most |g|^2 / 0.2
        allowed = float(at_point @ at_point) / 0.2
    assert -1e-12 <= value - found.value <= allowed + 1e-12
    assert_close(found.value, gradient @ found.point + found.point @ hessian @ found.point / 2, relative=1e-14)


def test_the_residual_is_the_tangential_part_of_the_gradient() -> None:
    hessian, gradient = quadratic(SPECTRA["close"], 0.1)
    found = climb(hessian, gradient, 1.0, steps=4)
    at_point = gradient + hessian @ found.point
    tangential = at_point - (at_point @ found.point) * found.point
    assert_close(found.residual, tangential.norm() / at_point.norm(), relative=1e-12)
    assert found.residual > 1e-2  # four steps are not enough here


def test_the_number_of_evaluations_is_reported_and_bounded() -> None:
    hessian, gradient = quadratic(SPECTRA["indefinite"], 0.1)
    counts = {"function": 0, "gradient": 0}

    def function(u: Tensor) -> float:
        counts["function"] += 1
        return float(gradient @ u + u @ hessian @ u / 2)

    def slope(u: Tensor) -> Tensor:
        counts["gradient"] += 1
        return gradient + hessian @ u

    found = ascend(function, slope, gradient / gradient.norm(), 1.0, steps=12, tol=1e-12)
    assert found.num_gradients == counts["gradient"] == 12
    assert found.num_losses == counts["function"] <= 20


def test_more_steps_do_not_lower_the_value() -> None:
    """Fails if a step that lowers the function is taken."""
    hessian, gradient = quadratic(SPECTRA["indefinite"], 0.1)
    values = [climb(hessian, gradient, 1.0, steps=steps).value for steps in range(1, 40)]
    assert values == sorted(values)
    assert values[-1] > values[0]


def test_an_ascent_leaves_the_sphere_for_a_maximum_inside() -> None:
    """Fails if points are always put back on the sphere."""
    center = torch.tensor([0.3, -0.2], dtype=torch.float64)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = ascend(
        lambda u: -float((u - center) @ (u - center)), lambda u: -2 * (u - center), start, 1.0, steps=50, tol=1e-8
    )
    assert_close(found.point, center, absolute=1e-7)  # the gradient, at most 3 on the way, has fallen by 1e-8
    assert found.residual <= 1e-8


def test_a_flat_function_is_stationary_at_once() -> None:
    found = ascend(lambda u: 1.0, torch.zeros_like, torch.ones(4), 2.0, steps=5, tol=1e-2)
    assert (found.value, found.residual, found.num_gradients) == (1.0, 0.0, 1)


def test_steps_too_small_to_rise_end_the_ascent() -> None:
    """Fails if the loop over step lengths has no end: here every other point is lower."""
    start = torch.tensor([1.0, 0.0])
    found = ascend(
        lambda u: float(torch.equal(u, start)), lambda u: torch.tensor([0.0, 1.0]), start, 1.0, steps=9, tol=0.1
    )
    assert torch.equal(found.point, start)
    assert (found.value, found.residual, found.num_gradients, found.num_losses) == (1.0, 1.0, 1, 11)


def test_a_fall_within_the_rounding_is_not_one() -> None:
    """Fails without slack: an ascent in float32 would end at the first wrong last digit."""
    hessian, gradient = quadratic(SPECTRA["close"], 0.1)
    rounded = {"slack": 1e-3}
    calls = iter(range(10**6))
    noisy = [
        ascend(
            lambda u: float(gradient @ u + u @ hessian @ u / 2) - 1e-3 * (next(calls) % 2),
            lambda u: gradient + hessian @ u,
            gradient / gradient.norm(),
            1.0,
            steps=60,
            tol=1e-4,
            **options,
        ).residual
        for options in ({}, rounded)
    ]
    assert noisy[1] <= 1e-4 < noisy[0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_ends_the_ascent_and_is_returned(bad: float) -> None:
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    slope = torch.tensor([0.0, 1.0], dtype=torch.float64)
    first = ascend(lambda u: bad, lambda u: slope, start, 1.0, steps=9, tol=0.1)
    later = ascend(lambda u: 0.0 if torch.equal(u, start) else bad, lambda u: slope, start, 1.0, steps=9, tol=0.1)
    gradient = ascend(lambda u: 0.0, lambda u: slope * bad, start, 1.0, steps=9, tol=0.1)
    assert_close([first.value, later.value, gradient.value], [bad, bad, math.nan])
    assert (first.num_losses, later.num_losses, gradient.num_gradients) == (1, 2, 1)
    assert all(math.isnan(found.residual) for found in (first, later, gradient))
