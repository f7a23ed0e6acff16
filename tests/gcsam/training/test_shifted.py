"""Shifted splits: which images they hold. The corruptions themselves are tested in `test_corruptions.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gcsam.training import load_data
from gcsam.training.corruptions import corrupt
from gcsam.training.seeds import stream_seed
from gcsam.training.shifted import shifted, span_of
from gcsam.training.splits import Split
from tests.gcsam.training.small import small

ZERO, ONE = torch.zeros(1), torch.ones(1)


def test_images_are_corrupted_in_their_own_range_and_normalized_as_the_clean_ones() -> None:
    """Grey values 0 to 16 as bytes: a shift of a tenth is one of 1.6, which no rounding takes away."""
    images = torch.tensor([0, 3, 12, 16], dtype=torch.uint8).reshape(2, 1, 1, 2)
    split = Split(images, torch.tensor([0, 1]), torch.tensor([4.0]), torch.tensor([2.0]))
    found = shifted(split, "brightness", 1.0, seed=0, span=(0.0, 16.0))
    assert found.labels is split.labels
    expected = (torch.tensor([1.6, 4.6, 13.6, 16.0]).reshape(2, 1, 1, 2) - 4) / 2
    assert torch.allclose(found.inputs(slice(None)), expected, rtol=0, atol=1e-6)
    assert images.flatten().tolist() == [0, 3, 12, 16]


def test_the_seed_alone_decides_and_pieces_differ() -> None:
    split = Split(torch.full((600, 1, 2, 2), 0.5), torch.zeros(600, dtype=torch.int64), ZERO, ONE)
    found = shifted(split, "gaussian_noise", 1.0, seed=7, span=(0.0, 1.0))
    assert torch.equal(found.images, shifted(split, "gaussian_noise", 1.0, seed=7, span=(0.0, 1.0)).images)
    assert not torch.equal(found.images, shifted(split, "gaussian_noise", 1.0, seed=8, span=(0.0, 1.0)).images)
    assert not torch.equal(found.images[:88], found.images[512:])  # fails if every piece has the same noise
    assert torch.equal(found.images[512:], corrupt(split.images[512:], "gaussian_noise", 1.0, seed=stream_seed(7, 1)))


def test_without_severity_it_is_the_split_itself() -> None:
    split = Split(torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64), ZERO, ONE)
    assert shifted(split, "rotation", 0.0, seed=0, span=(0.0, 1.0)) is split
    with pytest.raises(ValueError, match="severity must be a number from 0"):
        shifted(split, "rotation", float("nan"), seed=0, span=(0.0, 1.0))


def test_the_span_is_that_of_the_training_images() -> None:
    data = load_data(small())
    assert span_of(data) == (float(data.train.images.min()), float(data.train.images.max()))
    other = replace(data, test=replace(data.test, images=data.test.images + 100))
    assert span_of(other) == span_of(data)
    flat = replace(data, train=replace(data.train, images=torch.full_like(data.train.images, 3.0)))
    assert span_of(flat) == (3.0, 4.0)
