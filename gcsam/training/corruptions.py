"""Corruptions of images at a severity: noise, blur, contrast, brightness, pixelation, small motions.

A small choice in the spirit of Hendrycks & Dietterich (arXiv 1903.12261). The parameters are our own: each rises
linearly with the severity, so that a level between whole numbers exists, from what leaves an image as it is at 0 to
`Corruption.strength` at 5; numbers measured here cannot stand beside those of CIFAR-10-C. Right when each is its closed
form: mean and variance of the noises, the kernel of a point, the mean that contrast keeps, the way a point moves
(`tests/gcsam/training/test_corruptions.py`). Cost: a few passes over the images; what is random is drawn on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from gcsam.training.functions import check_name

__all__ = ["CORRUPTIONS", "MAX_SEVERITY", "Corruption", "corrupt"]

MAX_SEVERITY = 5.0
# Side in pixels up to which the blur is the same number of pixels, since less than a pixel does nothing; that of
# CIFAR-10. Larger images are blurred in proportion.
_SIDE = 32


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Args:
        strength: Its parameter at severity 5; at severity s it is s / 5 of that.
        parameter: What the parameter is, for the reader.
        apply: Called as apply(images in [0, 1], parameter, generator); what leaves [0, 1] is clamped afterwards.
    """

    strength: float
    parameter: str
    apply: Callable[[Tensor, float, torch.Generator], Tensor]


def corrupt(
    images: Tensor, name: str, severity: float, *, seed: int = 0, span: tuple[float, float] | None = None
) -> Tensor:
    """Return corrupted images.

    Args:
        images: [N, C, H, W], uint8 or floating point, on any device; not written to.
        name: A name of `CORRUPTIONS`.
        severity: From 0, which returns the images themselves, to 5; between whole numbers too.
        seed: Of what is drawn at random, for all N images together, in a generator of its own on the CPU.
        span: Darkest and brightest value. None: (0, 255) for uint8, (0, 1) otherwise. What lies outside is clamped.

    Returns:
        [N, C, H, W], of the same type and on the same device; uint8 is rounded.

    Raises:
        ValueError: No such corruption, a severity out of range, no images, or values outside the default span.

    Example:
        >>> image = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
        >>> corrupt(image, "contrast", 5).flatten()  # 5 % of the distance to the mean is left
        tensor([0.4750, 0.5000, 0.5250])
        >>> corrupt(image, "rotation", 0) is image
        True

    References:
        Hendrycks and Dietterich (arXiv 1903.12261). We differ: other parameters, eight kinds and their own two motions.
    """
    check_name(name, CORRUPTIONS, "corruption")
    if not 0 <= severity <= MAX_SEVERITY:
        raise ValueError(f"severity must be a number from 0 (unchanged) to {MAX_SEVERITY:g}, got {severity}")
    if images.ndim != 4 or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ValueError(
            f"images must be [N, C, H, W] of uint8 or floating point, got {list(images.shape)} of {images.dtype}"
        )
    low, high = span or ((0.0, 255.0) if images.dtype == torch.uint8 else (0.0, 1.0))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"span must be two finite numbers, the lower first, got ({low}, {high})")
    if severity == 0 or not images.numel():
        return images
    if span is None and not bool(((images >= low) & (images <= high)).all()):
        given = f"{float(images.min()):g} to {float(images.max()):g}"
        raise ValueError(f"images must lie in [{low:g}, {high:g}], got {given}; give span=(darkest, brightest)")
    kind = CORRUPTIONS[name]
    precise = images if images.dtype == torch.float64 else images.to(torch.float32)
    generator = torch.Generator().manual_seed(seed)
    scaled = ((precise - low) / (high - low)).clamp(0, 1)
    changed = kind.apply(scaled, kind.strength * severity / MAX_SEVERITY, generator).clamp(0, 1)
    found = low + (high - low) * changed
    return (found.round() if images.dtype == torch.uint8 else found).to(images.dtype)


def _gaussian_noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    return images + deviation * torch.randn(images.shape, generator=generator).to(images)


def _shot_noise(images: Tensor, variance: float, generator: torch.Generator) -> Tensor:
    """Count photons: 1 / variance of them, on average, where the image is brightest."""
    return variance * torch.poisson((images / variance).cpu(), generator=generator).to(images)


def _impulse_noise(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(images.shape, generator=generator).to(images)
    return torch.where(drawn < share, (drawn < share / 2).to(images), images)


def _gaussian_blur(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    deviation *= max(1.0, min(images.shape[2:]) / _SIDE)
    radius = math.ceil(4 * deviation)
    places = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = (-0.5 * (places / deviation) ** 2).exp()
    kernel /= kernel.sum()
    channels = images.shape[1]
    padded = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    rows = F.conv2d(padded, kernel.expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel[:, None].expand(channels, 1, -1, 1), groups=channels)


def _contrast(images: Tensor, share: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    return images.lerp(images.mean((2, 3), keepdim=True).expand_as(images), share)


def _brightness(images: Tensor, shift: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    return images + shift


def _pixelate(images: Tensor, share: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    height, width = (max(1, round((1 - share) * side)) for side in images.shape[2:])
    return F.interpolate(F.adaptive_avg_pool2d(images, (height, width)), images.shape[2:], mode="nearest-exact")


def _translation(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Move each image in a direction of its own; its edge fills the gap."""
    angle = 2 * math.pi * torch.rand(len(images), generator=generator)
    moves = torch.zeros(len(images), 2, 3)
    moves[:, 0, 0] = moves[:, 1, 1] = 1
    moves[:, :, 2] = 2 * share * torch.stack([angle.cos(), angle.sin()], 1)  # a side is 2 long there
    return _moved(images, moves)


def _rotation(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Turn each image about its center, to the left or to the right; its edge fills the corners."""
    height, width = images.shape[2:]
    side = 2.0 * torch.randint(0, 2, (len(images),), generator=generator) - 1
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    moves = torch.zeros(len(images), 2, 3)
    moves[:, 0, 0] = moves[:, 1, 1] = cosine
    moves[:, 0, 1], moves[:, 1, 0] = -side * sine * height / width, side * sine * width / height
    return _moved(images, moves)


def _moved(images: Tensor, moves: Tensor) -> Tensor:
    grid = F.affine_grid(moves.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType({
    "gaussian_noise": Corruption(0.4, "standard deviation, of a range of 1", _gaussian_noise),
    "shot_noise": Corruption(0.3, "variance at the brightest value; it falls in proportion", _shot_noise),
    "impulse_noise": Corruption(0.25, "share of the values that become darkest or brightest", _impulse_noise),
    "gaussian_blur": Corruption(1.0, "standard deviation in pixels, of 32 a side for larger images", _gaussian_blur),
    "contrast": Corruption(0.95, "share of the distance to the image's mean that is lost", _contrast),
    "brightness": Corruption(0.5, "added to every value, of a range of 1", _brightness),
    "pixelate": Corruption(0.7, "share of the pixels along a side that are lost, rounded to whole ones", _pixelate),
    "translation": Corruption(0.2, "distance in a random direction, in sides of the image", _translation),
    "rotation": Corruption(40.0, "degrees, to either side", _rotation),
})
"""Name to kind, in the order of tables: noises, what takes sharpness and light, motions."""
