"""Splits that do not overlap, numbers that are normalized."""

from __future__ import annotations

import pytest
import torch

from gcsam.training import Splits, TrainConfig, load_data

NETS = "tests.gcsam.training.nets"


def digits(**settings: object) -> Splits:
    return load_data(TrainConfig(device="cpu", **settings))  # type: ignore[arg-type]


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


def test_classes_of_one_image_cannot_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"train": (torch.zeros(3, 1, 2, 2), torch.arange(3))}
    monkeypatch.setattr("gcsam.training.data.read", lambda config: one)
    with pytest.raises(ValueError, match=r"'digits' has too few images to split: no class has two"):
        digits()
