"""Spikes and roughness: curves whose numbers are known, and what neither may depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.claims.smoothness import curve_roughness, loss_spikes


def noisy(steps: int = 400, seed: int = 0) -> np.ndarray:
    """A falling loss with noise of standard deviation 0.01."""
    generator = np.random.default_rng(seed)
    return 1 / np.sqrt(1 + np.arange(steps)) + 0.01 * generator.standard_normal(steps)


@pytest.mark.parametrize("places", [(), (60,), (60, 61, 200), (399,)])
def test_planted_spikes_are_counted(places: tuple[int, ...]) -> None:
    """Fails if the window holds the step itself, or the last step is left out."""
    losses = noisy()
    for place in places:
        losses[place] += 0.3  # 30 standard deviations of the noise
    assert loss_spikes(losses) * (400 - 50) == pytest.approx(len(places), abs=1e-9)


def test_a_drop_and_what_stands_in_the_first_window_are_no_spikes() -> None:
    losses = noisy()
    losses[[10, 49]] += 5.0
    losses[300] -= 5.0
    assert loss_spikes(losses) == 0


def test_the_threshold_is_the_one_of_its_definition() -> None:
    """Of 0, 1, ..., 4 the median is 2 and the median absolute deviation 1."""
    window = [0.0, 1.0, 2.0, 3.0, 4.0]
    for excess, expected in ((-1e-9, 0.0), (1e-9, 1.0)):
        losses = np.array([*window, 2 + 3 * 1.4826 + excess])
        assert loss_spikes(losses, window=5, deviations=3.0) == expected


def test_normal_noise_exceeds_the_threshold_as_often_as_it_should() -> None:
    """At 2 deviations 2.28 % of normal numbers; the median and deviation of 200 steps add little to that."""
    losses = np.random.default_rng(1).standard_normal(20_000)
    share = 0.02275
    # spikes of one series are nearly independent: standard error sqrt(p (1 - p) / n) = 0.0011. From 200 numbers the
    # median is off by 0.089 and twice the deviation by 0.165, which raises the share by half its curvature, 0.108,
    # times their variance
    raised = 0.108 * (0.089**2 + 0.165**2) / 2
    assert loss_spikes(losses, window=200, deviations=2.0) == pytest.approx(share + raised, abs=4 * 0.0011)


@pytest.mark.parametrize("measure", [loss_spikes, curve_roughness])
def test_neither_scale_nor_shift_matters(measure) -> None:
    losses = noisy()
    losses[[60, 333]] += 0.5
    for factor, shift in ((1000.0, 0.0), (0.125, -7.0)):
        assert measure(factor * losses + shift) == pytest.approx(measure(losses), rel=1e-9)
    assert measure(losses) > 0


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([3.0, 2.0, 1.0], 1.0),
        ([1.0, 2.0, 5.0], 1.0),
        ([5.0, 3.0, 3.0, 1.0], 1.0),
        ([2.0, 1.0, 2.0], 2.0),  # down and up again
        ([4.0, 2.0, 3.0, 1.0], 5 / 3),  # a detour of 1 in a range of 3 adds 2 / 3
        ([0.0, 1.0, 0.0, 1.0, 0.0], 4.0),
    ],
)
def test_roughness_by_hand(curve: list[float], expected: float) -> None:
    assert curve_roughness(np.array(curve)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("curve", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 1.0], [1.0, math.nan, 2.0], [1.0, math.inf, 2.0]])
def test_curves_without_a_roughness(curve: list[float]) -> None:
    assert math.isnan(curve_roughness(np.array(curve)))


@pytest.mark.parametrize("losses", [[], [1.0] * 50, [math.nan] + [1.0] * 60, [math.inf] * 60])
def test_losses_without_spikes_to_count(losses: list[float]) -> None:
    assert math.isnan(loss_spikes(np.array(losses)))


def test_a_jump_after_a_constant_loss_is_a_spike() -> None:
    assert loss_spikes(np.array([1.0] * 50 + [1.5])) == 1.0
    assert loss_spikes(np.array([1.0] * 60)) == 0.0


@pytest.mark.parametrize("window", [1, 0, -3, 2.5])
def test_windows_out_of_range(window) -> None:
    with pytest.raises(ValueError, match=r"window must be a whole number >= 2, got .*; 50 is the usual one"):
        loss_spikes(np.ones(60), window=window)


@pytest.mark.parametrize("deviations", [0.0, -1.0, math.nan, math.inf])
def test_deviations_out_of_range(deviations: float) -> None:
    with pytest.raises(ValueError, match=r"deviations must be a finite number > 0, got .*; 5 is the usual one"):
        loss_spikes(np.ones(60), deviations=deviations)
