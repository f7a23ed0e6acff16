"""Symmetric label noise: how many labels change, and to what."""

from __future__ import annotations

import pytest
import torch

from gcsam.training import load_data, train
from gcsam.training.label_noise import with_label_noise
from tests.gcsam.training.small import NETS, small

LABELS = torch.arange(20_000) % 5


def test_each_label_changes_with_the_probability_given_to_any_other_class() -> None:
    """Over 20,000 labels: counts within four standard deviations of the binomial; fails for a share that may stay."""
    noisy = with_label_noise(LABELS, 0.3, 5)
    is_changed = noisy != LABELS
    assert abs(int(is_changed.sum()) - 6000) < 4 * (20_000 * 0.3 * 0.7) ** 0.5
    shifts = ((noisy - LABELS) % 5)[is_changed].bincount(minlength=5)
    assert shifts[0] == 0
    expected = int(is_changed.sum()) / 4
    assert all(abs(int(count) - expected) < 4 * (expected * 0.75) ** 0.5 for count in shifts[1:])
    assert noisy.min() == 0
    assert noisy.max() == 4


def test_without_noise_labels_are_the_same() -> None:
    assert with_label_noise(LABELS, 0.0, 5) is LABELS


def test_more_noise_contains_less_noise() -> None:
    little, much = with_label_noise(LABELS, 0.2, 5), with_label_noise(LABELS, 0.6, 5)
    is_changed = little != LABELS
    assert torch.equal(much[is_changed], little[is_changed])


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"label_noise must be 0 where there is one class only, got 0\.5"):
        with_label_noise(torch.zeros(3, dtype=torch.int64), 0.5, 1)


def test_training_labels_alone_are_noisy_and_the_same_for_every_seed_and_for_measuring(tmp_path) -> None:
    clean = load_data(small())
    noisy = [load_data(small(label_noise=0.5, seed=seed)) for seed in (0, 1)]
    assert not torch.equal(noisy[0].train.labels, clean.train.labels)
    assert torch.equal(noisy[0].train.labels, noisy[1].train.labels)
    for split in ("validation", "test"):
        assert torch.equal(getattr(noisy[0], split).labels, getattr(clean, split).labels)
    run = train(small(label_noise=0.5, epochs=1), tmp_path)
    assert torch.equal(run.splits().train.labels, noisy[0].train.labels)


def test_a_limit_takes_images_with_the_labels_they_have_in_the_whole() -> None:
    whole = load_data(small(label_noise=0.5))
    limited = load_data(small(label_noise=0.5, train_limit=20))
    pairs = {
        (image.numpy().tobytes(), int(label))
        for image, label in zip(whole.train.images, whole.train.labels, strict=True)
    }
    assert {
        (i.numpy().tobytes(), int(label)) for i, label in zip(limited.train.images, limited.train.labels, strict=True)
    } < pairs
    assert NETS in small().data
