"""Random crops and flips against all crops that can be cut, by slicing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gcsam.training.augment import crop_flip


def all_crops(image: Tensor) -> list[Tensor]:
    """Cut every crop of one image [C, H, W], plain and flipped."""
    _, height, width = image.shape
    padded = F.pad(image, (width // 8, width // 8, height // 8, height // 8))
    crops = [
        padded[:, down : down + height, right : right + width]
        for down in range(2 * (height // 8) + 1)
        for right in range(2 * (width // 8) + 1)
    ]
    return [*crops, *(crop.flip(2) for crop in crops)]


def test_every_crop_comes_equally_often() -> None:
    """10 x 17 pixels: 3 x 5 shifts and a flip, 30 crops; 6,000 draws, each count within four deviations of 200."""
    image = torch.randn(2, 10, 17, generator=torch.Generator().manual_seed(0))
    crops = torch.stack(all_crops(image)).flatten(1)
    found = crop_flip(image.expand(6000, -1, -1, -1), torch.Generator().manual_seed(1)).flatten(1)
    matches = (found[:, None] == crops).all(2)
    assert bool((matches.sum(1) == 1).all())
    counts = matches.sum(0)
    assert bool(((counts - 200).abs() < 4 * (200 * 29 / 30) ** 0.5).all())


def test_each_image_of_a_batch_has_a_crop_of_its_own() -> None:
    images = torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    found = crop_flip(images, torch.Generator().manual_seed(1))
    for image, crop in zip(images, found, strict=True):
        assert any(torch.equal(crop, other) for other in all_crops(image))
    flipped = [not any(torch.equal(crop, o) for o in all_crops(i)[:25]) for i, crop in zip(images, found, strict=True)]
    assert 16 < sum(flipped) < 48  # four deviations of the binomial around 32


def test_small_images_are_flipped_only_and_the_batch_is_not_written_to() -> None:
    images = torch.arange(2.0 * 7 * 7).reshape(2, 1, 7, 7)
    before = images.clone()
    for crop, image in zip(crop_flip(images, torch.Generator().manual_seed(3)), images, strict=True):
        assert torch.equal(crop, image) or torch.equal(crop, image.flip(2))
    assert torch.equal(images, before)


def test_a_seed_decides() -> None:
    images = torch.randn(8, 1, 16, 16)
    first, again, other = (crop_flip(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
