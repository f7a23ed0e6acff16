"""Folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gcsam.training.folders import read_folder

RANDOM = np.random.default_rng(1)


def write_image(path: Path, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> np.ndarray:
    """An image of the given (width, height); its pixels [H, W, 3] or [H, W]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode).save(path)
    return pixels


def test_color_images_come_back_with_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    cat = write_image(tmp_path / "cat" / "1.png")
    dog = write_image(tmp_path / "dog" / "deeper" / "2.BMP")
    ape = write_image(tmp_path / "ape" / "3.png")
    (tmp_path / "dog" / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / ".hidden").mkdir()
    images, labels = read_folder(str(tmp_path))["train"]
    assert labels.tolist() == [0, 1, 2]
    for image, pixels in zip(images, (ape, cat, dog), strict=True):
        assert np.array_equal(np.moveaxis(image.numpy(), 0, -1), pixels)


def test_grey_images_have_one_channel_unless_one_is_in_color(tmp_path: Path) -> None:
    grey = write_image(tmp_path / "a" / "1.png", "L")
    write_image(tmp_path / "b" / "1.png", "L")
    images, _ = read_folder(str(tmp_path))["train"]
    assert images.shape == (2, 1, 4, 6)
    assert np.array_equal(images[0, 0].numpy(), grey)
    write_image(tmp_path / "b" / "2.png")
    images, _ = read_folder(str(tmp_path))["train"]
    assert images.shape == (3, 3, 4, 6)
    assert np.array_equal(images[0].numpy(), np.stack([grey] * 3))


def test_palette_images_are_read_in_color(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("P", (4, 4), 1).save(tmp_path / name / "1.png")
    assert read_folder(str(tmp_path))["train"][0].shape == (2, 3, 4, 4)


def test_splits_given_by_folders(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        for name in ("a", "b"):
            for i in range(count):
                write_image(tmp_path / split / name / f"{i}.png")
    found = read_folder(str(tmp_path))
    assert {split: len(labels) for split, (_, labels) in found.items()} == {"train": 6, "validation": 4, "test": 2}


def test_sizes_must_agree_or_be_given(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "1.png", size=(6, 4))
    write_image(tmp_path / "b" / "2.png", size=(5, 5))
    with pytest.raises(ValueError, match=r"images differ in size, 1.png 6x4 and 2.png 5x5; give image_size"):
        read_folder(str(tmp_path))
    assert read_folder(str(tmp_path), image_size=8)["train"][0].shape == (2, 3, 8, 8)


def test_a_folder_without_images_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match=r"no images found; expected .*/CLASS/\*.png"):
        read_folder(str(tmp_path))
    with pytest.raises(ValueError, match=r"there is no such folder; check the path"):
        read_folder(str(tmp_path / "none"))


def test_other_mistakes(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "a" / "1.png")
    with pytest.raises(ValueError, match=r"found images of one class only, 'a'; make one folder per class"):
        read_folder(str(tmp_path))
    write_image(tmp_path / "train" / "b" / "1.png")
    write_image(tmp_path / "test" / "c" / "1.png")
    with pytest.raises(ValueError, match=r"test: class 'c' has no training images; training classes are a, b"):
        read_folder(str(tmp_path))
    (tmp_path / "test" / "c" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"test: no images found"):
        read_folder(str(tmp_path))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "1.png")
    write_image(tmp_path / "b" / "1.png")
    (tmp_path / "b" / "2.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"2.png: cannot be read as an image .*; remove it") as caught:
        read_folder(str(tmp_path))
    assert "\n" not in str(caught.value)
