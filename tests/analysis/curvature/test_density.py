"""Spectral density against known spectra: moments, normalization, standard errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from analysis import Status, load, spectral_density
from tests.analysis.curvature.operators import Dense, with_spectrum
from tests.compare import assert_close

SPECTRUM = torch.cat([torch.linspace(-0.5, 1, 90), torch.tensor([4.0, 5.0, 9.0])]).double()


def test_rules_are_real_normalized_and_match_the_moments_within_their_error() -> None:
    found = spectral_density(with_spectrum(SPECTRUM), probes=32, steps=20)
    assert found.num_hvps == 32 * 20
    assert bool((found.weights >= 0).all())
    assert_close(found.weights.sum(1), torch.ones(32), absolute=1e-12)
    for power in (1, 2):
        per_probe = (found.weights * found.nodes**power).sum(1)
        error = float(per_probe.std()) / math.sqrt(32)
        assert_close(per_probe.mean(), (SPECTRUM**power).mean(), absolute=4 * error)
        assert error < 0.2 * float((SPECTRUM**power).mean())  # the check above is not vacuous


def test_curve_integrates_to_one_and_finds_the_outlier() -> None:
    found = spectral_density(with_spectrum(SPECTRUM), probes=16, steps=30)
    grid = torch.linspace(-2, 11, 4001)
    curve = found.density(grid, width=0.1)
    assert_close(torch.trapezoid(curve, grid), 1.0, absolute=1e-6)
    near = (grid - 9).abs() < 0.5  # one eigenvalue of 93
    share, error = (
        float(torch.trapezoid(c[near], grid[near])) for c in (curve, found.density_standard_error(grid, 0.1))
    )
    assert abs(share - 1 / 93) <= 4 * error
    assert float(found.density(grid).max()) > float(found.density(grid, width=1.0).max())


def test_standard_error_shrinks_with_the_probes_and_is_right() -> None:
    operator, grid = with_spectrum(SPECTRUM), torch.tensor([0.3])
    runs = [spectral_density(operator, probes=8, steps=15, seed=seed) for seed in range(60)]
    values = torch.stack([run.density(grid, 0.2)[0] for run in runs])
    errors = torch.stack([run.density_standard_error(grid, 0.2)[0] for run in runs])
    # 60 draws: their spread is known within 1/sqrt(2*60) = 9 %, times z = 4
    assert_close(values.std(), errors.square().mean().sqrt(), relative=0.4)
    more = spectral_density(operator, probes=128, steps=15).density_standard_error(grid, 0.2)[0]
    assert_close(more, errors.mean() / 4, relative=0.4)
    assert math.isnan(float(spectral_density(operator, probes=1, steps=5).density_standard_error(grid)[0]))


def test_early_closing_pads_with_zero_weight() -> None:
    found = spectral_density(with_spectrum([3.0, 3.0, 1.0, 1.0]), probes=2, steps=4)
    assert found.num_hvps == 4
    assert_close(found.nodes[:, :2], [[1.0, 3.0]] * 2, absolute=1e-12)
    assert torch.equal(found.weights[:, 2:], torch.zeros(2, 2, dtype=torch.float64))
    assert spectral_density(with_spectrum([2.0, 1.0]), steps=40).nodes.shape == (8, 2)


def test_repeatable_saved_and_not_finite(tmp_path: Any) -> None:
    operator, state, seen = with_spectrum(SPECTRUM), torch.get_rng_state(), []
    found = spectral_density(operator, probes=2, steps=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]
    assert torch.equal(state, torch.get_rng_state())
    assert found == spectral_density(operator, probes=2, steps=3)
    assert found != spectral_density(operator, probes=2, steps=3, seed=1)
    found.save(tmp_path / "r.h5", "density")
    assert load(tmp_path / "r.h5") == found
    broken = spectral_density(Dense(torch.full((3, 3), math.nan)), probes=2)
    assert broken.status is Status.NOT_FINITE
    assert bool(broken.weights.isnan().all())


@pytest.mark.parametrize("options", [{"probes": 0}, {"steps": 0}])
def test_misuse_is_told(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="probes and steps must be at least 1"):
        spectral_density(with_spectrum([1.0]), **options)
    found = spectral_density(with_spectrum([1.0, 2.0]), probes=1)
    for width in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="width must be a finite number > 0"):
            found.density(torch.zeros(1), width)


def test_outliers_are_told_from_the_bulk() -> None:
    """Three that stand alone above, one below, and a semicircle between them."""
    angles = torch.linspace(0.01, 3.13, 396, dtype=torch.float64)
    spectrum = torch.cat([2 * torch.cos(angles), torch.tensor([30.0, 17.0, 9.0, -6.0])])
    found = spectral_density(with_spectrum(spectrum), probes=6, steps=40)
    assert_close(found.outliers(), [30.0, 17.0, 9.0, -6.0], relative=1e-6)
    assert_close(spectral_density(with_spectrum(spectrum[:396]), probes=6, steps=40).outliers(), [], absolute=0.0)
    assert len(found.outliers(tol=0.5)) < 4  # what is nearer than the tolerance to others does not stand alone


def test_a_spectrum_of_few_values_is_all_outliers_and_one_probe_tells_nothing() -> None:
    few = with_spectrum([5.0, *[1.0] * 9])
    assert_close(spectral_density(few, probes=3, steps=5).outliers(), [5.0, 1.0], absolute=1e-10)
    assert len(spectral_density(few, probes=1, steps=5).outliers()) == 0
    with pytest.raises(ValueError, match="tol must be a finite number > 0"):
        spectral_density(few, probes=2, steps=5).outliers(tol=0.0)
