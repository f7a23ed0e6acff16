"""Average-case rise of a quadratic: rho^2 tr(H) / 2, with an error that is honest."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from analysis import Status, sharpness
from analysis.flatness.average import average_rises
from analysis.flatness.perturbation import Scaling
from tests.analysis.flatness.regression import problem


@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("adaptive", [False, True])
def test_a_quadratic_gives_half_rho_squared_trace(slope: float, adaptive: bool) -> None:
    """Whatever the gradient, since pairs cancel it; adaptive: the trace of |w| H |w|."""
    objective, hessian, _ = problem(slope=slope)
    scale = objective.weights().abs() if adaptive else torch.ones(len(hessian), dtype=torch.float64)
    found = sharpness(objective, rho=0.3, kind="average", adaptive=adaptive, samples=400)
    expected = 0.3**2 / 2 * float((hessian.diagonal() * scale.square()).sum())
    assert abs(found.value - expected) < 4 * found.standard_error < 0.5 * expected


def test_each_pair_is_the_quadratic_form_of_its_own_perturbation() -> None:
    objective, hessian, _ = problem()
    rises = average_rises(objective, Scaling(torch.full((6,), 2.5).double()), [0.2], 3, 7, objective.loss())[0]
    generator = torch.Generator().manual_seed(7)
    for rise in rises:
        z = 0.5 * torch.randn(len(hessian), generator=generator).double()
        assert float(rise) == pytest.approx(float(z @ hessian @ z) / 2, rel=1e-10)


def test_the_standard_error_is_honest_over_seeds() -> None:
    """300 seeds of 20 pairs: squared errors are the variance of the values, known itself to about 10 %."""
    objective, _, _ = problem()
    found = [sharpness(objective, kind="average", samples=20, seed=seed) for seed in range(300)]
    values = torch.tensor([one.value for one in found])
    errors = torch.tensor([one.standard_error for one in found])
    assert 0.7 < float(errors.square().mean() / values.var()) < 1.4


def test_more_samples_begin_with_the_same_ones() -> None:
    objective, _, _ = problem()
    few, many = (sharpness(objective, kind="average", samples=count) for count in (3, 9))
    assert torch.equal(few.samples, many.samples[:3])
    assert few.value == float(few.samples.mean())
    assert few.standard_error == pytest.approx(float(few.samples.std()) / math.sqrt(3), rel=1e-12)


def test_other_seeds_are_other_perturbations() -> None:
    objective, _, _ = problem()
    first, again, other = (sharpness(objective, kind="average", samples=3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.samples, again.samples)
    assert not torch.equal(first.samples, other.samples)


def test_a_tolerance_stops_at_the_first_pair_that_meets_it() -> None:
    """The samples are the first of those drawn without one, and one fewer would not have been enough."""
    objective, _, _ = problem()
    all_of_them = sharpness(objective, kind="average", samples=200).samples
    found = sharpness(objective, kind="average", samples=200, average_tol=0.08)
    count = len(found.samples)
    assert 10 < count < 200
    assert torch.equal(found.samples, all_of_them[:count])
    assert found.standard_error <= 0.08 * found.value
    before = all_of_them[: count - 1]
    assert float(before.std()) / math.sqrt(count - 1) > 0.08 * float(before.mean())
    assert (found.num_losses, found.status) == (1 + 2 * count, Status.CONVERGED)


def test_a_loose_tolerance_still_takes_ten_pairs() -> None:
    """Fails if the standard error of two pairs, which may be near 0 by chance, is believed."""
    objective, _, _ = problem()
    assert len(sharpness(objective, kind="average", average_tol=10.0).samples) == 10


@pytest.mark.parametrize("samples", [5, 20])
def test_a_tolerance_out_of_reach_says_so(samples: int) -> None:
    objective, _, _ = problem()
    found = sharpness(objective, kind="average", samples=samples, average_tol=1e-6)
    assert (len(found.samples), found.status) == (samples, Status.MAX_SAMPLES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "average", "average_tol": 0.0}, "average_tol must be a finite number > 0 or None, got 0.0"),
        ({"kind": "average", "average_tol": math.nan}, "average_tol must be a finite number > 0 or None, got nan"),
        ({"kind": "worst", "average_tol": 0.1}, "average_tol is for kind='average', got average_tol=0.1"),
    ],
)
def test_a_tolerance_out_of_range_is_refused(settings: dict[str, Any], message: str) -> None:
    objective, _, _ = problem()
    with pytest.raises(ValueError, match=message):
        sharpness(objective, **settings)
