"""From files to tensors: one reader per layout, each returning the splits it found, unscaled, on the CPU.

Right when a tiny file of each layout, written by the test, comes back pixel by pixel, and each kind of broken file is
one line (`tests/gcsam/training/test_readers.py`). Cost: one pass over the files; an image folder is decoded anew
each time. CIFAR-10 batches are pickles, so they are read with an unpickler that makes arrays and nothing else.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np

from gcsam.training.folders import read_folder
from gcsam.training.functions import call_with_accepted, find_function
from gcsam.training.images import Images, checked
from gcsam.training.splits import Splits

if TYPE_CHECKING:
    from gcsam.training.config import TrainConfig

__all__ = ["Images", "read", "read_cifar10", "read_digits", "read_folder", "read_function", "read_npz"]


def read(config: TrainConfig) -> dict[str, Images] | Splits:
    """Read the data of a configuration.

    Args:
        config: Its fields data, root and image_size count.

    Returns:
        Split to (images, labels), "train" always among them; or the `Splits` that a user's function returned.

    Raises:
        ValueError: The source is missing, or is not what it should be; one line.
    """
    kind, _, path = config.data.partition(":")
    if config.data == "digits":
        return read_digits()
    if config.data == "cifar10":
        return read_cifar10(str(config.root))
    if kind == "npz":
        return read_npz(path)
    if kind == "folder":
        return read_folder(path, config.image_size)
    return read_function(config.data)


def read_digits() -> dict[str, Images]:
    """Return the 1,797 handwritten digits that come with scikit-learn: 8x8 pixels, grey values 0 to 16."""
    from sklearn.datasets import load_digits  # takes a second, which only this data set needs

    digits = load_digits()
    return {"train": checked(digits.images.astype(np.uint8)[:, None], digits.target, "digits")}


def read_cifar10(root: str) -> dict[str, Images]:
    """Read CIFAR-10 in its Python layout.

    Args:
        root: The folder `cifar-10-batches-py`, or one that holds it.

    Returns:
        50,000 training and 10,000 test images, where the files are complete.

    Raises:
        ValueError: A file is missing or is no such batch.
    """
    folder = Path(root)
    folder = folder / "cifar-10-batches-py" if (folder / "cifar-10-batches-py").is_dir() else folder
    names = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
    splits = {}
    for split, files in names.items():
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"root {root}: {missing[0]} is missing in {folder}; "
                "give the folder of the unpacked cifar-10-python.tar.gz"
            )
        batches = [_cifar_batch(folder / name) for name in files]
        rows = np.concatenate([batch[0] for batch in batches])
        labels = np.concatenate([batch[1] for batch in batches])
        splits[split] = checked(rows.reshape(-1, 3, 32, 32), labels, f"root {root}")
    return splits


def read_npz(path: str) -> dict[str, Images]:
    """Read one file in the layout of MedMNIST (Yang et al., Scientific Data 2023).

    Args:
        path: With arrays train_images [N, H, W] or [N, H, W, C] and train_labels [N] or [N, 1], and where there are
            such splits also val_images, val_labels, test_images, test_labels.

    Returns:
        The splits it holds.

    Raises:
        ValueError: No such file, other keys, or shapes that do not fit.
    """
    if not Path(path).is_file():
        raise ValueError(f"data npz:{path}: there is no such file; check the path")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"data npz:{path}: is no .npz file of plain arrays ({reason})") from None
    splits = {}
    for split, prefix in (("train", "train"), ("validation", "val"), ("test", "test")):
        keys = [f"{prefix}_images", f"{prefix}_labels"]
        missing = [key for key in keys if key not in arrays]
        if len(missing) == 1 or (missing and split == "train"):
            raise ValueError(
                f"data npz:{path}: {missing[0]} is missing, it holds {', '.join(arrays) or 'nothing'}; needed are "
                "train_images and train_labels, and in pairs val_* and test_*"
            )
        if not missing:
            images = arrays[keys[0]]
            if images.ndim == 4:
                images = np.moveaxis(images, -1, 1)
            splits[split] = checked(images, arrays[keys[1]], f"data npz:{path}, {split}")
    return splits


def read_function(name: str) -> dict[str, Images] | Splits:
    """Call a function of the user's for data.

    Args:
        name: "package.module:function". It takes no arguments and returns `Splits`, or {"train": (inputs, targets)}
            with "validation" (or "val") and "test" where there are such splits: inputs [N, C, H, W] or [N, H, W],
            targets [N], as tensors or arrays.

    Returns:
        The splits.

    Raises:
        ValueError: It cannot be imported, fails, or returns something else.
    """
    found = call_with_accepted(find_function(name, "data"), {}, f"data {name!r}")
    if isinstance(found, Splits):
        return found
    shape = '{"train": (inputs, targets), ...} with "validation" and "test" where there are such splits'
    if not isinstance(found, Mapping):
        raise ValueError(f"data {name!r} must return Splits or {shape}, got {type(found).__name__}")
    given = {"validation" if key == "val" else key: value for key, value in found.items()}
    if "train" not in given or set(given) - {"train", "validation", "test"}:
        raise ValueError(f"data {name!r} must return Splits or {shape}, got keys {', '.join(map(str, found))}")
    for key, value in given.items():
        if not (isinstance(value, (tuple, list)) and len(value) == 2):
            raise ValueError(
                f"data {name!r}: split {key!r} must be a pair (inputs, targets), got {type(value).__name__}"
            )
    return {key: checked(value[0], value[1], f"data {name!r}, {key}") for key, value in given.items()}


class _ArrayUnpickler(pickle.Unpickler):
    """Make numpy arrays, and refuse every other object, because a pickle may run any code."""

    # taken from arrays themselves, because their module is named differently from numpy 2 on
    _makers: ClassVar = {
        ("multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
        ("numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        top, last = module.partition(".")[0], module.rpartition(".")[2]
        if top == "numpy" and (last, name) in self._makers:
            return self._makers[last, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _cifar_batch(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    try:
        with path.open("rb") as file:
            batch = _unpickled(file)
        named = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        rows, labels = np.asarray(named["data"]), np.asarray(named["labels"])
    except Exception as error:  # a broken pickle can raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{path}: is no CIFAR-10 batch ({reason}); unpack the archive again") from None
    if rows.ndim != 2 or rows.shape[1] != 3072 or rows.dtype != np.uint8 or labels.shape != rows.shape[:1]:
        raise ValueError(
            f"{path}: a CIFAR-10 batch has data [N, 3072] of uint8 and N labels, got data {list(rows.shape)} of "
            f"{rows.dtype} and labels {list(labels.shape)}"
        )
    return rows, labels


def _unpickled(file: IO[bytes]) -> Any:
    return _ArrayUnpickler(file, encoding="bytes").load()  # the original files come from Python 2
