"""Weights from the files of any trainer: torch.save, Lightning, safetensors, and the folders of Hugging Face.

Nothing that is pickled runs unless the user trusts the file. Right when the weights of every format come back equal,
and each damaged or refused file gives one line that says what to do (`tests/landscape/network/test_checkpoints.py`).
Cost: reading the files once, and their size in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analysis.store import sha256_file
from landscape.records.layout import SELECTED

# Where trainers keep the weights, beside the optimizer and the epoch: ours under the first, Lightning the next.
WEIGHT_KEYS = ("model", "state_dict", "model_state_dict")
SAFETENSORS, INDEX = ".safetensors", ".index.json"
# In a folder, by the names that Hugging Face gives; the first that is there is taken, as transformers does.
IN_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
ZIP, PICKLE = b"PK", b"\x80"
# How torch.save begins a file in its older format: a number of its own, pickled.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9"
# Lightning writes its version under this name.
LIGHTNING = b"pytorch-lightning_version"


def weight_files(path: str | os.PathLike[str], what: str = "") -> list[Path]:
    """Return the files that hold the weights: the one given, those of a folder, or the shards an index names.

    Args:
        path: A file, a folder of `save_pretrained` or of `landscape train`, or an index of shards.
        what: Begins the message; empty for the path.

    Returns:
        One or more, in alphabetical order; all of them exist.

    Raises:
        FileNotFoundError: No such file, a folder without weights, or a shard that is missing.
        ValueError: An index that cannot be read.
    """
    path, what = Path(path), what or os.fspath(path)
    if path.is_dir():
        names = (SELECTED, *IN_FOLDER)
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise FileNotFoundError(f"{what}: no weights in this folder, none of {', '.join(names)}; give the file")
        path = found
    if not path.is_file():
        raise FileNotFoundError(
            f"{what}: no such file; give the one that torch.save wrote, a .safetensors file, or a folder with one"
        )
    return _shards(path, what) if path.name.endswith(INDEX) else [path]


def hash_of_weights(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a checkpoint: of its file, or over the hashes of its shards.

    Args:
        path: As for `weight_files`.
    """
    hashes = [sha256_file(file) for file in weight_files(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def read_weights(path: str | os.PathLike[str], *, trust: bool = False, what: str = "") -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name, as they were saved, on the CPU.

    Args:
        path: A file that `torch.save` wrote, with a `state_dict` or a dictionary that holds one under one of
            `WEIGHT_KEYS`; a safetensors file; a folder or an index as for `weight_files`.
        trust: Whether objects beside the tensors may be unpickled, which runs whatever code the file asks for. Tried
            only where the file cannot be read without.
        what: Begins the messages; empty for the path.

    Returns:
        Name to tensor.

    Raises:
        FileNotFoundError: As `weight_files`.
        ValueError: No checkpoint, a damaged one, or one that is refused because reading it could run code.
    """
    what = what or os.fspath(path)
    weights: dict[str, Tensor] = {}
    for file in weight_files(path, what):
        named = what if file == Path(path) else f"{what}: {file.name}"
        found = _read_safetensors(file, named) if _is_safetensors(file) else _read_torch(file, named, trust)
        weights.update(_weights_of(found, named))
    return weights


def _shards(index: Path, what: str) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        names = []
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what}: {index.name} is no index of shards, it has no weight_map; get it again")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{what}: {len(missing)} of {len(names)} shards named in {index.name} missing, first {missing[0]}; "
            f"put it into {index.parent}"
        )
    return [index.parent / name for name in names]


def _is_safetensors(path: Path) -> bool:
    """Tell by the name, or by the content: the length of the header, 8 bytes little-endian, then JSON."""
    with open(path, "rb") as file:
        head = file.read(9)
    return path.suffix == SAFETENSORS or (head[5:8] == b"\0\0\0" and head[8:] == b"{")


def _read_safetensors(path: Path, what: str) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise ValueError(f"{what}: needs the package safetensors, which is not installed; pip install safetensors")  # noqa: B904
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{what}: is cut short or no safetensors file ({' '.join(str(error).split())}); get it again"
        ) from None


def _read_torch(path: Path, what: str, trust: bool) -> Any:
    try:
        return _load(path, weights_only=True)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # bytes of another format make the unpickler raise almost anything
        wanted = _object_wanted(error)
        if not wanted:
            raise ValueError(f"{what}: {_no_checkpoint(path, error)}") from None
    if not trust:
        kept_by = " (Lightning keeps hyper_parameters and the state of callbacks)" if _is_lightning(path) else ""
        raise ValueError(
            f"{what}: refused, because it holds more than tensors, {wanted}{kept_by}, and unpickling that can run any "
            "code; save model.state_dict() alone, or give --trust-checkpoint if you trust whoever made it"
        )
    try:
        return _load(path, weights_only=False)
    except Exception as error:  # whatever the pickled code raises
        raise ValueError(
            f"{what}: unpickling it failed: {type(error).__name__}: {' '.join(str(error).split())}; "
            "the code it was saved with must be importable from here"
        ) from None


def _load(path: Path, *, weights_only: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old formats, and of what torch would rather be given
        return torch.load(path, map_location="cpu", weights_only=weights_only)


def _object_wanted(error: Exception) -> str:
    """Return the name of what a file wants beside tensors, where torch refused it for that; else nothing."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL (\S+)", text) or re.search(r"Trying to \w+ .*?(\S+\.\S+)", text)
        return found[1] if found else ""
    return "TorchScript code" if isinstance(error, RuntimeError) and "TorchScript" in text else ""


def _no_checkpoint(path: Path, error: Exception) -> str:
    """Say why a file cannot be read: cut short, a pickle of something else, or nothing of the kind."""
    with open(path, "rb") as file:
        head = file.read(len(OLD_TORCH))
    ends_early = isinstance(error, EOFError) or "unexpected EOF" in str(error) or "truncated" in str(error)
    if (head.startswith(ZIP) and not zipfile.is_zipfile(path)) or (head == OLD_TORCH and ends_early):
        return f"is cut short after {path.stat().st_size} bytes; save it, or get it, again"
    if head.startswith(PICKLE) and head != OLD_TORCH:
        return "is a pickle that torch.save did not write; unpickle it yourself, and torch.save its state_dict"
    return f"is no file that torch.save or safetensors wrote ({type(error).__name__}); check the path"


def _is_lightning(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(LIGHTNING in archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


def _weights_of(found: Any, what: str) -> dict[str, Tensor]:
    for key in WEIGHT_KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), (Mapping, nn.Module)):
            found = found[key]
            break
    if isinstance(found, nn.Module):  # the whole model was pickled
        found = found.state_dict()
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        keys = ", ".join(map(str, list(found)[:8])) if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(
            f"{what}: must be a state_dict or hold one under {', '.join(WEIGHT_KEYS)}; it holds {keys or 'nothing'}"
        )
    return dict(found)
