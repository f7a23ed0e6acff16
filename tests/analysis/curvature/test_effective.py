"""Effective dimension against dense spectra; what it says of negative eigenvalues; and the ratio of two eigenvalues.

Blind to: the quadrature's error deep in a bulk, beyond the law that it falls with the steps.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from analysis import GaussNewton, Objective, effective_dimension, hessian_eigenvalues, load, spectral_density
from analysis.evidence import Status
from tests.analysis.curvature.operators import Dense, with_spectrum
from tests.cases import CASES
from tests.oracles import dense

POSITIVE = torch.cat([torch.linspace(0, 1, 40), torch.tensor([4.0, 9.0])]).double()


def exact(eigenvalues: Tensor, z: float) -> float:
    return float(sum(value / (value + z) for value in eigenvalues.double().tolist() if value > 0))


@pytest.mark.parametrize("z", [1e-2, 1.0, 5.0])
def test_it_is_the_sum_over_the_spectrum_within_its_standard_error(z: float) -> None:
    found = effective_dimension(spectral_density(with_spectrum(POSITIVE), probes=64, steps=42), z)
    assert abs(found.value - exact(POSITIVE, z)) < 4 * found.standard_error < 0.35 * found.value
    assert (found.negative_share, found.num_parameters, found.status) == (0.0, 42, Status.COMPLETE)


def test_equal_eigenvalues_leave_no_error_and_zeros_count_nothing() -> None:
    flat = effective_dimension(spectral_density(with_spectrum([3.0] * 7), probes=3), 0.5)
    assert flat.value == pytest.approx(7 * 3 / 3.5, rel=1e-13)
    assert flat.standard_error < 1e-12
    none = effective_dimension(spectral_density(Dense(torch.zeros(5, 5)), probes=2), 0.5)
    assert (none.value, none.standard_error, none.negative_share) == (0.0, 0.0, 0.0)


def test_the_standard_error_is_right_over_draws() -> None:
    """500 draws of 8 probes: the spread is known to 1 / sqrt(1000) = 3 %, and 10 % is allowed, three times that."""
    found = spectral_density(with_spectrum([-1.0] * 4 + [0.5] * 10 + [4.0] * 3), probes=4000, steps=3)
    for name in ("value", "negative_share"):
        values, errors = [], []
        for rows in zip(found.nodes.split(8), found.weights.split(8), strict=True):
            one = effective_dimension(dataclasses.replace(found, nodes=rows[0], weights=rows[1]), 1.0)
            values.append(getattr(one, name))
            errors.append(one.standard_error if name == "value" else one.negative_share_standard_error)
        spread = float(torch.tensor(values).double().std())
        assert math.sqrt(sum(error**2 for error in errors) / 500) == pytest.approx(spread, rel=0.1)
        expected = 10 * 0.5 / 1.5 + 3 * 4 / 5 if name == "value" else 4 / 17
        assert abs(sum(values) / 500 - expected) < 4 * spread / math.sqrt(500)


def test_more_steps_never_raise_it_where_nothing_is_negative() -> None:
    """Gauss quadrature is below the integral of 1 / (lambda + z), so above that of lambda / (lambda + z)."""
    values = [
        effective_dimension(spectral_density(with_spectrum(POSITIVE), probes=2, steps=steps), 0.05).value
        for steps in (2, 4, 8, 16, 42)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.05 * values[-1]


def test_negative_eigenvalues_count_nothing_and_their_share_is_told() -> None:
    """One lies at -z, where the sum has its pole. Fails if it is not left out."""
    spectrum = torch.tensor([-2.0, -0.5, -0.5, 1.0, 1.0, 1.0, 6.0, 0.0]).double()
    found = effective_dimension(spectral_density(with_spectrum(spectrum), probes=400, steps=8), 0.5)
    assert abs(found.value - exact(spectrum, 0.5)) < 4 * found.standard_error < 0.3
    assert abs(found.negative_share - 3 / 8) < 4 * found.negative_share_standard_error < 0.1


def test_rounding_around_zero_is_not_negative() -> None:
    """In float32 a null space has nodes of both signs, 1e-7 of the largest."""
    matrix = with_spectrum([5.0, 3.0, *[0.0] * 20], torch.float32)
    found = spectral_density(matrix, probes=4, steps=8)
    assert float(found.nodes.min()) < 0
    assert effective_dimension(found, 0.1).negative_share == 0.0
    far = effective_dimension(spectral_density(with_spectrum([5.0, *[-1e-4] * 20]), probes=4), 0.1)
    assert far.negative_share > 0.9


def test_a_network_by_its_dense_hessian_and_gauss_newton() -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    eigenvalues = torch.linalg.eigvalsh(dense.hessian(model, loss_fn, batches))
    found = effective_dimension(spectral_density(objective, probes=40, steps=51), 0.02)
    assert abs(found.value - exact(eigenvalues, 0.02)) < 4 * found.standard_error < 0.6 * found.value
    share = float((eigenvalues < -1e-6 * eigenvalues.abs().max()).double().mean())
    assert abs(found.negative_share - share) < 4 * found.negative_share_standard_error < 0.5 * share
    assert effective_dimension(spectral_density(GaussNewton(objective), probes=2), 0.02).negative_share == 0.0


def test_a_single_probe_has_no_error_and_what_is_not_finite_is_told(tmp_path: Any) -> None:
    single = effective_dimension(spectral_density(with_spectrum([1.0, 2.0]), probes=1), 1.0)
    assert math.isnan(single.standard_error)
    assert math.isnan(single.negative_share_standard_error)
    single.save(tmp_path / "r.h5", "dimension")
    assert load(tmp_path / "r.h5", "curvature/dimension") == single
    broken = effective_dimension(spectral_density(Dense(torch.full((3, 3), math.nan)), probes=2), 1.0)
    assert broken.status is Status.NOT_FINITE
    assert math.isnan(broken.value)
    assert math.isnan(broken.negative_share)


@pytest.mark.parametrize("z", [0.0, -1.0, math.nan, math.inf])
def test_misuse_is_told(z: float) -> None:
    density = spectral_density(with_spectrum([1.0, 2.0]), probes=2)
    with pytest.raises(ValueError, match=f"z must be a finite number > 0, in units of the eigenvalues, got {z}"):
        effective_dimension(density, z)


def test_the_ratio_of_two_eigenvalues_has_a_bound_that_holds() -> None:
    spectrum = torch.cat([torch.tensor([9.0, 5.0, 4.0, 3.5, 3.0]), torch.linspace(-1, 2.9, 60)]).double()
    rough = hessian_eigenvalues(with_spectrum(spectrum), k=5, tol=0.1)
    value, bound = rough.ratio(5)
    assert abs(value - 3.0) <= bound
    high, low = (float(rough.values[i]) for i in (0, 4))
    first, last = (float(rough.residuals[i]) for i in (0, 4))
    corners = [(high + a * first) / (low + b * last) for a in (1, -1) for b in (1, -1)]
    assert bound == pytest.approx(max(abs(corner - high / low) for corner in corners), rel=1e-9)
    fine = hessian_eigenvalues(with_spectrum(spectrum), k=5, tol=1e-6).ratio()  # 5 is the default
    assert fine[0] == pytest.approx(3.0, abs=fine[1])
    assert fine[1] < 1e-4 < bound
    assert rough.ratio(1)[0] == 1.0


def test_a_ratio_to_what_may_be_zero_has_no_bound() -> None:
    found = hessian_eigenvalues(with_spectrum([3.0, 2.0, 1.0]), k=2, tol=1e-6)
    near = dataclasses.replace(found, values=torch.tensor([3.0, 0.1]), residuals=torch.tensor([0.0, 0.2]))
    assert near.ratio(2)[1] == math.inf
    zero = dataclasses.replace(found, values=torch.tensor([3.0, 0.0]), residuals=torch.tensor([0.0, 0.0]))
    assert math.isnan(zero.ratio(2)[0])
    assert zero.ratio(2)[1] == math.inf
    negative = dataclasses.replace(found, values=torch.tensor([-4.0, -2.0]), residuals=torch.tensor([0.0, 0.5]))
    assert negative.ratio(2) == pytest.approx((2.0, 4 / 1.5 - 2))
    lost = dataclasses.replace(found, values=torch.tensor([math.nan] * 2), residuals=torch.tensor([math.nan] * 2))
    assert math.isnan(lost.ratio(2)[0])
    assert math.isnan(lost.ratio(2)[1])


@pytest.mark.parametrize("k", [0, 3, math.nan, 1.0])
def test_a_ratio_to_a_pair_that_is_not_there_is_refused(k: Any) -> None:
    found = hessian_eigenvalues(with_spectrum([3.0, 2.0, 1.0]), k=2)
    with pytest.raises(ValueError, match=f"k must be a whole number from 1 to 2, the pairs that were found, got {k}"):
        found.ratio(k)
