"""Image folders: one folder per class, with or without train, val and test folders above them.

Right when images written by the test come back pixel by pixel with the classes in the order of their names
(`tests/gcsam/training/test_folders.py`). Cost: decodes every image once, about 0.3 ms each at 32 pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gcsam.training.images import Images

__all__ = ["read_folder"]

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_GREY = ("1", "L")


def read_folder(path: str, image_size: int | None = None) -> dict[str, Images]:
    """Read images sorted into class folders.

    Args:
        path: Holds train, and where there are such splits val and test, each with one folder per class; or the class
            folders themselves. A class is numbered by its place among the sorted names of the training classes.
        image_size: Resize to this many pixels a side (bilinear). None: all images must have one size.

    Returns:
        The splits found, uint8: one channel if all images are grey, otherwise three.

    Raises:
        ValueError: No such folder, no images, images that cannot be read or differ in size, classes without training
            images.
    """
    root = Path(path)
    where = f"data folder:{path}"
    if not root.is_dir():
        raise ValueError(f"{where}: there is no such folder; check the path")
    named = {_SPLITS[entry.name]: entry for entry in sorted(root.iterdir()) if entry.is_dir() and entry.name in _SPLITS}
    folders = named if "train" in named else {"train": root}
    files = {split: _class_files(folder) for split, folder in folders.items()}
    if not files["train"]:
        raise ValueError(
            f"{where}: no images found; expected {folders['train']}/CLASS/*.png "
            "(or jpg, bmp, gif, webp, tiff, ppm, pgm)"
        )
    classes = sorted(files["train"])
    if len(classes) < 2:
        raise ValueError(f"{where}: found images of one class only, {classes[0]!r}; make one folder per class")
    for split, found in files.items():
        unknown = sorted(set(found) - set(classes))
        if unknown or not found:
            what = f"class {unknown[0]!r} has no training images" if unknown else "no images found"
            raise ValueError(f"{where}, {split}: {what}; training classes are {', '.join(classes[:8])}")
    images: dict[str, list[np.ndarray]] = {}
    labels = {}
    all_grey = True
    sizes: dict[tuple[int, ...], Path] = {}
    for split, found in files.items():
        images[split], numbers = [], []
        for number, name in enumerate(classes):
            for file in found.get(name, []):
                pixels, is_grey = _decode(file, image_size)
                all_grey &= is_grey
                sizes.setdefault(pixels.shape[:2], file)
                images[split].append(pixels)
                numbers.append(number)
        labels[split] = torch.tensor(numbers)
        if len(sizes) > 1:
            (h1, w1), (h2, w2) = list(sizes)[:2]
            raise ValueError(
                f"{where}: images differ in size, {sizes[h1, w1].name} {w1}x{h1} and {sizes[h2, w2].name} {w2}x{h2}; "
                "give image_size"
            )
    channels = 1 if all_grey else 3
    return {split: (_stacked(images.pop(split), channels), labels[split]) for split in folders}


def _class_files(folder: Path) -> dict[str, list[Path]]:
    """Return class name to files; classes without images are left out."""
    found = {
        entry.name: sorted(file for file in entry.rglob("*") if file.suffix.lower() in _SUFFIXES)
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    }
    return {name: files for name, files in found.items() if files}


def _decode(file: Path, image_size: int | None) -> tuple[np.ndarray, bool]:
    """Return the pixels [H, W, 3] and whether the image is grey."""
    try:
        with Image.open(file) as image:
            is_grey = image.mode in _GREY
            image = image.convert("RGB")
            if image_size is not None:
                image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
            return np.asarray(image), is_grey
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three for broken files
        raise ValueError(f"{file}: cannot be read as an image ({' '.join(str(error).split())}); remove it") from None


def _stacked(images: list[np.ndarray], channels: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.moveaxis(pixels[:, :, :channels], -1, 0) for pixels in images]))
