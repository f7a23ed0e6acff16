"""Corruptions against closed forms. Blind to whether they are hard for a network, which no closed form says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from gcsam.training.corruptions import CORRUPTIONS, corrupt

RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "translation", "rotation")
COUNT = 200_000
GREY = torch.full((20, 1, 100, 100), 0.5, dtype=torch.float64)
NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA])]


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.rand(12, 2, 9, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (255 * drawn).to(dtype) if dtype == torch.uint8 else drawn.to(dtype)


def close(found: float, expected: float, error: float) -> bool:
    """Within four standard errors."""
    return abs(found - expected) < 4 * error


@pytest.mark.parametrize("severity", [0.5, 1.0])
def test_gaussian_noise_has_mean_0_and_the_deviation_of_its_severity(severity: float) -> None:
    """0.08 a level: at level 1 the clamp is six deviations away. Fails if the parameter does not interpolate."""
    noise, deviation = corrupt(GREY, "gaussian_noise", severity) - 0.5, 0.08 * severity
    assert close(float(noise.mean()), 0.0, deviation / math.sqrt(COUNT))
    assert close(float(noise.var()), deviation**2, deviation**2 * math.sqrt(2 / COUNT))


def test_noise_stays_within_the_range() -> None:
    """At level 5 a tenth of a grey image's values, P(|z| > 0.5 / 0.4) = 0.211, stand at its ends."""
    found = corrupt(GREY, "gaussian_noise", 5)
    assert (float(found.min()), float(found.max())) == (0.0, 1.0)
    share = float(((found == 0) | (found == 1)).double().mean())
    assert close(share, 0.2113, math.sqrt(0.2113 * 0.7887 / COUNT))


@pytest.mark.parametrize("brightness", [0.25, 0.5])
def test_shot_noise_counts_photons_whose_variance_is_their_mean(brightness: float) -> None:
    """0.06 a level: at 0.1, 1 / 0.006 photons at full light, and a variance of 0.006 times the brightness."""
    photon = 0.006
    found = corrupt(2 * brightness * GREY, "shot_noise", 0.1)
    counts = found / photon
    assert torch.allclose(counts, counts.round(), rtol=0, atol=1e-10)
    variance = photon * brightness
    assert close(float(found.mean()), brightness, math.sqrt(variance / COUNT))
    # the fourth moment of a count with mean m is 3 m^2 + m, so its variance's error is that of 2 m^2 + m
    m = brightness / photon
    assert close(float(found.var()), variance, photon**2 * math.sqrt((2 * m**2 + m) / COUNT))


def test_impulse_noise_sets_a_share_to_either_end_and_leaves_the_rest() -> None:
    found = corrupt(GREY, "impulse_noise", 3)  # 0.05 a level
    for end in (0.0, 1.0):
        assert close(float((found == end).double().mean()), 0.075, math.sqrt(0.075 * 0.925 / COUNT))
    assert bool(((found == 0) | (found == 0.5) | (found == 1)).all())


@pytest.mark.parametrize(("side", "severity", "deviation"), [(15, 5.0, 1.0), (32, 2.5, 0.5), (64, 2.5, 1.0)])
def test_blur_of_a_point_is_a_gaussian_kernel(side: int, severity: float, deviation: float) -> None:
    """SciPy's, cut off at the same four deviations; images above 32 pixels are blurred in proportion."""
    point = torch.zeros(2, 2, side, side, dtype=torch.float64)
    point[0, 0, side // 2, side // 2] = 1
    point[1, 1, 0, 2] = 1  # at the edge, which is repeated beyond it
    found = corrupt(point, "gaussian_blur", severity)
    expected = ndimage.gaussian_filter(point.numpy(), deviation, mode="nearest", truncate=4, axes=(2, 3))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-14)
    assert float(found[0].sum()) == pytest.approx(1, abs=1e-12)


def test_contrast_keeps_the_mean_of_each_channel_and_shrinks_the_rest() -> None:
    given = images()
    found = corrupt(given, "contrast", 2)  # 0.19 a level
    mean = given.mean((2, 3), keepdim=True)
    assert torch.allclose(found.mean((2, 3), keepdim=True), mean, rtol=0, atol=1e-14)
    assert torch.allclose(found - mean, 0.62 * (given - mean), rtol=0, atol=1e-14)


def test_brightness_is_added_up_to_the_brightest() -> None:
    given = images()
    assert torch.allclose(corrupt(given, "brightness", 2.5), (given + 0.25).clamp(max=1), rtol=0, atol=1e-14)


def test_pixelate_replaces_blocks_by_their_means() -> None:
    given = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = corrupt(given, "pixelate", 5 * 0.5 / 0.7)  # half of the pixels along a side
    blocks = given.reshape(2, 3, 4, 2, 6, 2).mean((3, 5))
    expected = blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)
    assert corrupt(torch.rand(1, 1, 1, 1), "pixelate", 5).shape == (1, 1, 1, 1)


def ramps(count: int, height: int = 30, width: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Images whose two channels are the place of each pixel from the center, in [0, 1]; interpolation keeps planes."""
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    planes = torch.stack(torch.meshgrid(x, y, indexing="xy"))  # [2, height, width]: x, y
    return 0.5 + planes.expand(count, 2, height, width) / 100, x, y


def inner(found: Tensor) -> Tensor:
    """The middle of moved ramps, which the edges have not reached, as places."""
    return (100 * (found - 0.5))[:, :, 10:20, 15:25]


def test_translation_moves_each_image_by_the_distance_in_its_own_direction() -> None:
    """0.04 of a side a level; the angles of 400 images are uniform: the means of cos and sin are 0 +- 1 / sqrt(800)."""
    given, _, _ = ramps(400, 40, 40)
    # single precision random numbers place the image, to about 40 pixels * 1e-7
    moved = (100 * (corrupt(given, "translation", 2) - given))[:, :, 15:25, 15:25]
    move = moved.mean((2, 3))
    assert torch.allclose(moved, move[:, :, None, None].expand_as(moved), rtol=0, atol=1e-4)
    assert torch.allclose(move.norm(dim=1), torch.tensor(3.2, dtype=torch.float64), rtol=0, atol=1e-4)
    directions = move / 3.2
    assert all(close(float(mean), 0.0, 1 / math.sqrt(800)) for mean in directions.mean(0))


def test_rotation_turns_about_the_center_to_either_side() -> None:
    """8 degrees a level, also where images are not square: the place that is seen at p is p turned back."""
    given, x, y = ramps(100)
    found = inner(corrupt(given, "rotation", 2))
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"))[:, 10:20, 15:25]
    cosine, sine = math.cos(math.radians(16)), math.sin(math.radians(16))
    left, right = (
        torch.stack([cosine * places[0] - side * sine * places[1], side * sine * places[0] + cosine * places[1]])
        for side in (1, -1)
    )
    is_left = [torch.allclose(one, left, rtol=0, atol=1e-4) for one in found]
    is_right = [torch.allclose(one, right, rtol=0, atol=1e-4) for one in found]
    assert all(a != b for a, b in zip(is_left, is_right, strict=True))
    assert close(sum(is_left), 50, 5)


@pytest.mark.parametrize("name", ["translation", "rotation", "gaussian_blur", "pixelate"])
def test_what_lies_beyond_the_edge_is_the_edge(name: str) -> None:
    """Fails if a dark frame is moved in: an image without a shape has none afterwards."""
    assert torch.allclose(corrupt(GREY, name, 5), GREY, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_lies_outside_the_span_is_clamped_before(name: str) -> None:
    given = 2 * images() - 0.5
    assert torch.equal(corrupt(given, name, 2, span=(0.0, 1.0)), corrupt(given.clamp(0, 1), name, 2))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_type_device_and_input_are_kept_and_the_seed_decides(name: str, dtype: torch.dtype, device: str) -> None:
    given = images(dtype).to(device)
    before = given.clone()
    state = torch.get_rng_state()
    found = corrupt(given, name, 2.5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(given, before)
    assert (found.dtype, found.shape, found.device) == (given.dtype, given.shape, given.device)
    assert not torch.equal(found, given)
    assert torch.equal(found, corrupt(given, name, 2.5, seed=3))
    assert torch.equal(found, corrupt(given, name, 2.5, seed=4)) == (name not in RANDOM)
    assert corrupt(given, name, 0.0) is given
    assert corrupt(given[:0], name, 1.0).shape == given[:0].shape


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_bytes_are_rounded_and_a_span_takes_the_place_of_their_range(name: str) -> None:
    given = images(torch.uint8)
    precise = corrupt(given.float() / 255, name, 2) * 255
    # the same numbers in single precision, so the same rounding, but for ties
    assert int((corrupt(given, name, 2).float() - precise.round()).abs().max()) <= 1
    assert (corrupt(given, name, 2).float() - precise).abs().max() < 0.501
    scaled = corrupt(3 * images() - 5, name, 2, span=(-5.0, -2.0))
    assert torch.allclose(scaled, 3 * corrupt(images(), name, 2) - 5, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_little_of_it_changes_little_and_more_changes_more(name: str) -> None:
    """Fails where severity does not reach the parameter; a change of 1e-6 of a variance is one of 1e-3 in noise."""
    smooth = torch.linspace(0.2, 0.8, 32, dtype=torch.float64).expand(8, 1, 32, 32)
    # 32 pixels become 32, 16, 10: in between, uneven blocks may come nearer than even ones
    levels = (1e-6, 5 * 0.5 / 0.7, 5) if name == "pixelate" else (1e-6, 1, 3, 5)
    changes = [float((corrupt(smooth, name, severity) - smooth).abs().mean()) for severity in levels]
    assert changes[0] < 1e-2 * max(changes[-1], 0.1)
    assert changes == sorted(changes)
    assert changes[-1] > 0.01 or name == "gaussian_blur"  # which leaves a plane as it is but for its edges


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "fog"}, r"^corruption 'fog' is unknown; choose one of gaussian_noise, .*, rotation$"),
        ({"name": "gausian_blur"}, r"did you mean 'gaussian_blur'\?$"),
        ({"severity": -0.1}, r"^severity must be a number from 0 \(unchanged\) to 5, got -0.1$"),
        ({"severity": 5.1}, r"^severity must be a number from 0 \(unchanged\) to 5, got 5.1$"),
        ({"severity": math.nan}, r"^severity must be a number from 0 \(unchanged\) to 5, got nan$"),
        ({"images": torch.zeros(3, 4, 4)}, r"^images must be \[N, C, H, W\] of uint8 or floating .*got \[3, 4, 4\] of"),
        ({"images": torch.zeros(1, 1, 2, 2, dtype=torch.int64)}, r"got \[1, 1, 2, 2\] of torch.int64$"),
        ({"images": torch.full((1, 1, 2, 2), 2.0)}, r"^images must lie in \[0, 1\], got 2 to 2; give span="),
        ({"images": torch.full((1, 1, 2, 2), math.nan)}, r"^images must lie in \[0, 1\], got nan to nan; give span="),
        ({"span": (1.0, 1.0)}, r"^span must be two finite numbers, the lower first, got \(1.0, 1.0\)$"),
        ({"span": (0.0, math.nan)}, r"^span must be two finite numbers, the lower first, got \(0.0, nan\)$"),
    ],
)
def test_each_mistake_is_one_line(changes: dict[str, Any], message: str) -> None:
    given = {"images": torch.zeros(1, 1, 2, 2), "name": "contrast", "severity": 1.0, **changes}
    with pytest.raises(ValueError, match=message) as caught:
        corrupt(**given)
    assert "\n" not in str(caught.value)
