"""Write result files whole: the old file or the new one is there at any moment, and one writer works at a time.

A change is made on a copy in the same folder, flushed to the disk, and put in the place of the old file in one step.
Right when a kill leaves a file that opens, a second writer gets one clear error, and xarray finds the dimensions named
(`tests/analysis/store/test_writer.py`). A write costs a copy of the file.

Beside `run.h5` the lock `.run.h5.lock` is left on purpose: removing it would let two writers hold a lock each. A killed
writer leaves `.run.h5.partial`, which the next writer replaces. Both may be deleted while nobody writes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import h5py
import numpy as np

from analysis.store.provenance import provenance as collect
from analysis.store.reader import BARE_DIMENSION, open_checked
from analysis.store.schema import KINDS, SCHEMA_VERSION, Measurement, Variable

# How long a second writer waits; our choice, because a write takes well under a second and more means a long scan.
LOCK_SECONDS = 5.0


def create(path: str | os.PathLike[str], provenance: Mapping[str, str]) -> None:
    """Make a new result file that holds its provenance and no measurement yet.

    Args:
        path: File to make, in a folder that exists.
        provenance: Root attributes, as `analysis.store.provenance` collects them; required ones that are missing are
            collected here.

    Raises:
        FileExistsError: There is a file of that name.
        FileNotFoundError: The folder does not exist.
        RuntimeError: Another writer is at work on it.
    """
    with writing(path) as target:
        if target.exists():
            raise FileExistsError(f"{target} exists; write() adds a measurement to it, or choose another name")
        _create(target, provenance)


def write(path: str | os.PathLike[str], kind: str, name: str, measurement: Measurement) -> None:
    """Write one measurement under `/<kind>/<name>`; one of the same name is replaced, the others stay as they are.

    Args:
        path: The result file; made with the present provenance where there is none.
        kind: One of `KINDS`.
        name: Of the measurement, without "/".
        measurement: What to write.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: Kind or name is not allowed, or names or lengths inside the measurement contradict each other.
        SchemaError: There is a file of that name, but not a result file of this version.
        RuntimeError: Another writer is at work on it.
    """
    with writing(path) as target:
        put(target, kind, name, measurement)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Hold the lock of a result file.

    Args:
        path: The result file; it need not exist, its folder must.

    Yields:
        The file's absolute path, links resolved: replacing a link would leave the old file behind.

    Raises:
        FileNotFoundError: The folder does not exist.
        RuntimeError: Another writer holds the lock.
    """
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder {target.parent} to write {target.name} in; make it first")
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except filelock.Timeout:
        raise RuntimeError(
            f"another writer is at work on {target} (it holds {lock.lock_file}); write again when it has finished"
        ) from None
    try:
        yield target
    finally:
        lock.release()


def put(target: Path, kind: str, name: str, measurement: Measurement) -> None:
    """Write one measurement as `write` does, for a caller that holds the lock.

    Args:
        target: The result file, as `writing` gave it.
        kind: One of `KINDS`.
        name: Of the measurement.
        measurement: What to write.

    Raises:
        ValueError: As in `write`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    _check_name("measurement", name)
    if not target.exists():
        _create(target, {})
    with open_checked(target):
        pass  # refuse a foreign file before copying it
    partial = _partial(target)
    shutil.copyfile(target, partial)
    shutil.copymode(target, partial)
    with h5py.File(partial, "r+") as file:
        group = file.require_group(kind)
        if name in group:
            del group[name]
        _write_group(group.create_group(name), measurement, scope={})
    _put_in_place(partial, target)


def _create(target: Path, provenance: Mapping[str, str]) -> None:
    partial = _partial(target)
    with h5py.File(partial, "w") as file:
        for name, value in (collect() | dict(provenance)).items():
            file.attrs[name] = value
        file.attrs["schema_version"] = SCHEMA_VERSION
    _put_in_place(partial, target)


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _put_in_place(partial: Path, target: Path) -> None:
    # The data must be on the disk before the name points at them, and the name before we say that it is done.
    _sync(partial, os.O_RDWR)
    os.replace(partial, target)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _sync(target.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_name(what: str, name: str) -> None:
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"a {what} needs a name without '/' that does not start with '.', got {name!r}")


def _write_group(group: h5py.Group, measurement: Measurement, scope: dict[str, h5py.Dataset]) -> None:
    """Write a measurement into an empty group; `scope` holds the dimension scales of the enclosing ones."""
    lengths = _lengths(measurement)
    _check_names(measurement, lengths)
    group.attrs["type"] = measurement.type
    for name, text in measurement.attributes.items():
        group.attrs[name] = text
    scope = dict(scope)
    for dim, length in lengths.items():
        if dim in measurement.variables:
            scope[dim] = _write_variable(group, dim, measurement.variables[dim])
            scope[dim].make_scale(dim)
        elif dim not in scope or scope[dim].shape != (length,):
            scope[dim] = group.create_dataset(dim, shape=(length,), dtype=">f4")  # netCDF-4's own form; no data in it
            scope[dim].make_scale(f"{BARE_DIMENSION} {length:10d}")
    for name, variable in measurement.variables.items():
        if name not in lengths:
            dataset = _write_variable(group, name, variable)
            for axis, dim in enumerate(variable.dims):
                dataset.dims[axis].attach_scale(scope[dim])
    for name, nested in measurement.groups.items():
        _write_group(group.create_group(name), nested, scope)


def _lengths(measurement: Measurement) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for name, variable in measurement.variables.items():
        for dim, length in zip(variable.dims, variable.data.shape, strict=True):
            if lengths.setdefault(dim, length) != length:
                raise ValueError(f"dimension {dim!r} has length {lengths[dim]}, but {length} in {name!r}")
    return lengths


def _check_names(measurement: Measurement, lengths: dict[str, int]) -> None:
    if "type" in measurement.attributes:
        raise ValueError("attribute 'type' is taken by the result type; give it another name")
    for name, variable in measurement.variables.items():
        _check_name("variable", name)
        if name in lengths and variable.dims != (name,):
            raise ValueError(f"variable {name!r} has the name of a dimension, but dims {variable.dims}; rename one")
    for dim in lengths:
        _check_name("dimension", dim)
    for name in measurement.groups:
        _check_name("group", name)
        if name in measurement.variables or name in lengths:
            raise ValueError(f"group {name!r} has the name of a variable or dimension beside it; rename one")


def _write_variable(group: h5py.Group, name: str, variable: Variable) -> h5py.Dataset:
    data: np.ndarray[Any, Any] = variable.data
    if data.dtype.kind not in "biufOU":
        raise ValueError(f"variable {name!r} must hold numbers, booleans or strings, got dtype {data.dtype}")
    if data.dtype.kind in "OU":
        wrong = [type(entry).__name__ for entry in data.flat if not isinstance(entry, str)]
        if wrong:
            raise ValueError(f"variable {name!r} of dtype object must hold strings, got {wrong[0]}")
        dataset = group.create_dataset(name, data=data.astype(object), dtype=h5py.string_dtype())
    elif data.dtype.kind == "b":
        dataset = group.create_dataset(name, data=data.astype(np.int8))  # HDF5's own boolean is an enum
        dataset.attrs["dtype"] = "bool"  # xarray's convention, which turns it back
    else:
        dataset = group.create_dataset(name, data=data)
    for text in ("units", "description", "source"):
        dataset.attrs[text] = getattr(variable, text)
    return dataset
