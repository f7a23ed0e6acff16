"""Each layout, written by the test, comes back pixel by pixel; each kind of broken file is one line."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gcsam.training import Splits, TrainConfig
from gcsam.training.readers import read, read_cifar10, read_digits, read_function, read_npz

NETS = "tests.gcsam.training.nets"
RANDOM = np.random.default_rng(0)


def write_cifar(folder: Path, skip: str = "", **changes: Any) -> dict[str, np.ndarray]:
    """Five batches of 3 images and a test batch, as Python 2 pickled them: keys are bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        rows[name] = RANDOM.integers(0, 256, (3, 3072), dtype=np.uint8)
        if name != skip:
            content = {b"data": rows[name], b"labels": [0, 1, 2], b"batch_label": b"x", **changes}
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return rows


def test_digits_are_there() -> None:
    images, labels = read_digits()["train"]
    assert images.shape == (1797, 1, 8, 8)
    assert int(images.max()) == 16
    assert labels.unique().tolist() == list(range(10))


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_cifar_comes_back_pixel_by_pixel(tmp_path: Path, inner: str) -> None:
    rows = write_cifar(tmp_path / inner)
    found = read(TrainConfig(data="cifar10", root=str(tmp_path)))
    assert isinstance(found, dict)
    images, labels = found["train"]
    assert images.shape == (15, 3, 32, 32)
    assert labels.tolist() == [0, 1, 2] * 5
    third = rows["data_batch_2"][0]  # 1,024 red values row by row, then green, then blue
    assert int(images[3, 2, 5, 7]) == third[2 * 1024 + 5 * 32 + 7]
    assert np.array_equal(found["test"][0].reshape(3, -1).numpy(), rows["test_batch"])


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    write_cifar(tmp_path, skip="data_batch_4")
    with pytest.raises(ValueError, match=r"data_batch_4 is missing in .*; give the folder of the unpacked"):
        read_cifar10(str(tmp_path))


class Evil:
    """A pickle that would make a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_runs_no_code(tmp_path: Path) -> None:
    write_cifar(tmp_path, **{"extra": Evil(tmp_path / "made")})
    with pytest.raises(ValueError, match=r"is no CIFAR-10 batch .*it asks for .*mkdir"):
        read_cifar10(str(tmp_path))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no pickle", "is no CIFAR-10 batch"),
        (pickle.dumps({b"labels": [0]}), "is no CIFAR-10 batch .KeyError: 'data'"),
        (pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [0, 1]}), r"got data \[2, 5\] of uint8"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}), r"and labels \[1\]"),
    ],
)
def test_a_broken_batch_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    write_cifar(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_cifar10(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 3)])
def test_npz_in_the_layout_of_medmnist(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays = {f"{split}_images": RANDOM.integers(0, 256, shape, dtype=np.uint8) for split in ("train", "val", "test")}
    labels = {f"{split}_labels": np.array([[0], [1], [0], [1]], np.uint8) for split in ("train", "val", "test")}
    np.savez(tmp_path / "scans.npz", **arrays, **labels)
    found = read(TrainConfig(data=f"npz:{tmp_path / 'scans.npz'}"))
    assert isinstance(found, dict)
    assert list(found) == ["train", "validation", "test"]
    images = found["validation"][0].numpy()
    given = arrays["val_images"]
    assert np.array_equal(images[:, 0] if given.ndim == 3 else np.moveaxis(images, 1, -1), given)
    assert found["test"][1].tolist() == [0, 1, 0, 1]


X, Y = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_images": X}, "train_labels is missing, it holds train_images; needed are"),
        ({"x": X}, "train_images is missing, it holds x"),
        ({"train_images": X, "train_labels": Y, "test_images": X}, "test_labels is missing"),
        ({"train_images": X, "train_labels": np.array(["a", "b"])}, "labels must be a tensor or an array of numbers"),
        ({"train_images": np.array([X, None], dtype=object), "train_labels": Y}, "is no .npz file of plain arrays"),
    ],
)
def test_npz_files_of_another_form_are_one_line(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(str(tmp_path / "a.npz"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_npz_or_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("text", encoding="utf-8")
    with pytest.raises(ValueError, match=r"is no .npz file of plain arrays"):
        read_npz(str(tmp_path / "a.npz"))
    with pytest.raises(ValueError, match=r"there is no such file; check the path"):
        read_npz(str(tmp_path / "b.npz"))


def test_a_users_function_gives_pairs_or_splits() -> None:
    found = read(TrainConfig(data=f"{NETS}:data"))
    assert isinstance(found, dict)
    assert [len(found[split][1]) for split in ("train", "validation", "test")] == [60, 9, 6]
    splits = read(TrainConfig(data=f"{NETS}:splits"))
    assert isinstance(splits, Splits)
    assert torch.equal(splits.test.labels, found["test"][1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a_list", "must return Splits or .*, got list"),
        ("unknown_split", "got keys train, tset"),
        ("no_pair", r"split 'train' must be a pair \(inputs, targets\), got int"),
        ("failing", "calling it failed: KeyError: 'weights'"),
    ],
)
def test_a_users_function_that_gives_something_else(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_function(f"{NETS}:{name}")
    assert "\n" not in str(caught.value)
