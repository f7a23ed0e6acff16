"""Splits that do not overlap, batches that are a permutation, numbers that are normalized."""

from __future__ import annotations

import pytest
import torch

from gcsam.training import Split, Splits, TrainConfig, load_data
from gcsam.training.data import Batches

NETS = "tests.gcsam.training.nets"


def digits(**settings: object) -> Splits:
    return load_data(TrainConfig(device="cpu", **settings))  # type: ignore[arg-type]


def numbered(n: int) -> Split:
    """Images that are their own numbers, not normalized."""
    images = torch.arange(n, dtype=torch.float32)[:, None, None, None]
    return Split(images, torch.arange(n), torch.zeros(1), torch.ones(1))


def test_digits_are_cut_into_disjoint_splits_class_by_class() -> None:
    splits = digits()
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [1079, 359, 359]
    rows = [tuple(image.flatten().tolist()) for part in parts for image in part.images]
    assert len(set(rows)) == 1797  # all digits differ, and each is in one split
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        counts = part.labels.bincount()
        # 174 to 183 images of each class, each share rounded to whole images once or twice
        assert bool(((counts - share * 179.7).abs() < 5).all())


def test_splits_do_not_depend_on_the_seed() -> None:
    assert torch.equal(digits(seed=0).test.images, digits(seed=5).test.images)


def test_training_images_are_normalized_and_the_others_alike() -> None:
    splits = digits()
    whole = splits.train.inputs(slice(None)).double()
    assert float(whole.mean()) == pytest.approx(0.0, abs=1e-6)  # float32 images
    assert float(whole.std(correction=0)) == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(splits.test.mean, splits.train.mean)
    assert abs(float(splits.test.inputs(slice(None)).mean())) > 1e-6  # by the training images' numbers


def test_a_constant_channel_is_not_divided_by_zero() -> None:
    splits = digits(train_limit=1)
    assert bool(splits.train.inputs(slice(None)).isfinite().all())


def test_what_a_source_lacks_is_carved() -> None:
    splits = load_data(TrainConfig(data=f"{NETS}:train_only", device="cpu"))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [36, 12, 12]
    given = load_data(TrainConfig(data=f"{NETS}:data", device="cpu"))
    assert [len(part) for part in (given.train, given.validation, given.test)] == [60, 9, 6]
    assert given.num_classes == 3
    assert given.shape == {"in_channels": 1, "num_classes": 3, "image_size": (4, 4)}


def test_limits_take_a_fixed_sample_and_normalize_by_it() -> None:
    splits = digits(train_limit=50, test_limit=20)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [50, 20, 20]
    assert torch.equal(splits.train.images, digits(train_limit=50).train.images)
    assert float(splits.train.inputs(slice(None)).mean()) == pytest.approx(0.0, abs=1e-6)
    assert len(splits.train.labels.unique()) > 5  # not the first of a sorted file


@pytest.mark.parametrize(("n", "batch_size", "sizes"), [(10, 4, {3, 4}), (8, 4, {4}), (3, 10, {3}), (33, 32, {16, 17})])
def test_an_epoch_is_a_permutation_in_even_batches(n: int, batch_size: int, sizes: set[int]) -> None:
    split = numbered(n)
    batches = list(split.batches(batch_size, torch.Generator().manual_seed(0)))
    assert {len(labels) for _, labels in batches} == sizes
    assert len(batches) == split.num_batches(batch_size)
    labels = torch.cat([labels for _, labels in batches])
    assert labels.sort().values.tolist() == list(range(n))
    inputs = torch.cat([inputs for inputs, _ in batches]).flatten()
    assert torch.equal(inputs, labels.float())


def test_the_generator_decides_the_order() -> None:
    split = numbered(20)
    first, again, other = (
        torch.cat([labels for _, labels in split.batches(4, torch.Generator().manual_seed(seed))]) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_batches_to_measure_on_are_the_same_at_every_pass() -> None:
    batches = numbered(10).all_batches(4)
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(batches) == 3
    assert [labels.tolist() for _, labels in batches[1:]] == [[4, 5, 6, 7], [8, 9]]
    assert torch.equal(batches[-1][1], torch.tensor([8, 9]))
    with pytest.raises(IndexError):
        batches[3]


def test_measuring_on_a_part_takes_a_fixed_sample() -> None:
    split = numbered(100)
    first, again = (torch.cat([labels for _, labels in split.all_batches(4, limit=10)]) for _ in range(2))
    assert torch.equal(first, again)
    assert len(first.unique()) == 10
    assert first.tolist() != list(range(10))
    with pytest.raises(ValueError, match=r"limit must be at least 1, got 0; None takes all images"):
        split.all_batches(4, limit=0)
    with pytest.raises(ValueError, match=r"batch_size must be at least 1, got 0"):
        Batches(split, 0)


def test_classes_of_one_image_cannot_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"train": (torch.zeros(3, 1, 2, 2), torch.arange(3))}
    monkeypatch.setattr("gcsam.training.data.read", lambda config: one)
    with pytest.raises(ValueError, match=r"'digits' has too few images to split: no class has two"):
        digits()
