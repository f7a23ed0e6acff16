"""Read result files: the measurements by name, and the provenance at the root.

Right when what `write` was given comes back equal, from this module and from xarray
(`tests/analysis/store/test_reader.py`). A read holds one measurement in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from analysis.store.schema import KINDS, REQUIRED_ATTRIBUTES, SCHEMA_VERSION, Measurement, SchemaError, Variable

# How netCDF-4 marks a dimension scale that holds no coordinate; the length follows, right-aligned.
BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable."


def read(path: str | os.PathLike[str], key: str) -> Measurement:
    """Read one measurement.

    Args:
        path: The result file.
        key: "kind/name", for example "curvature/final".

    Returns:
        The measurement, equal to the one that was written.

    Raises:
        FileNotFoundError: There is no such file.
        SchemaError: It is not a result file of this version.
        KeyError: It has no such measurement; the message lists what is there.
    """
    with open_checked(path) as file:
        if key not in _keys(file):
            raise KeyError(f"no measurement {key!r} in {os.fspath(path)}; it holds {', '.join(_keys(file)) or 'none'}")
        return _read_group(file[key])


def list_measurements(path: str | os.PathLike[str]) -> list[str]:
    """List the measurements of a file.

    Args:
        path: The result file.

    Returns:
        "kind/name" of each, the kinds in the order of `KINDS`, the names in alphabetical order.

    Raises:
        FileNotFoundError: There is no such file.
        SchemaError: It is not a result file of this version.
    """
    with open_checked(path) as file:
        return _keys(file)


def measurement_types(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the type of each measurement without reading its numbers.

    Args:
        path: The result file.

    Returns:
        "kind/name" to the name of the result's type, "" where none is stored; in the order of `list_measurements`.

    Raises:
        FileNotFoundError: There is no such file.
        SchemaError: It is not a result file of this version.
    """
    with open_checked(path) as file:
        return {key: str(file[key].attrs.get("type", "")) for key in _keys(file)}


def read_attributes(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the provenance at the root of a file.

    Args:
        path: The result file.

    Returns:
        All root attributes as text, at least `REQUIRED_ATTRIBUTES`.

    Raises:
        FileNotFoundError: There is no such file.
        SchemaError: It is not a result file of this version.
    """
    with open_checked(path) as file:
        return {name: str(value) for name, value in file.attrs.items()}


@contextmanager
def open_checked(path: str | os.PathLike[str], mode: str = "r") -> Iterator[h5py.File]:
    """Open a result file of this version's schema, or say in one line why it is none.

    Args:
        path: The result file.
        mode: "r" to read, "r+" to change.

    Yields:
        The open file.

    Raises:
        FileNotFoundError: There is no such file.
        SchemaError: It is no HDF5, has no or another schema version, or lacks a required attribute.
    """
    where = os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"no result file at {where}; check the path, or measure first")
    try:
        file = h5py.File(path, mode)
    except OSError as error:
        raise SchemaError(f"{where} cannot be read as HDF5: {str(error).splitlines()[0]}") from None
    with file:
        version = file.attrs.get("schema_version")
        if version is None:
            raise SchemaError(f"{where} has no schema_version: it is HDF5, but not a result file of this toolkit")
        if version != SCHEMA_VERSION:
            raise SchemaError(
                f"{where} has schema version {version}, this version reads {SCHEMA_VERSION}; "
                "use the release of gcsam-landscape that wrote it"
            )
        missing = [name for name in REQUIRED_ATTRIBUTES if name not in file.attrs]
        if missing:
            raise SchemaError(f"{where} lacks the root attribute {', '.join(missing)}; write it anew")
        yield file


def _keys(file: h5py.File) -> list[str]:
    return [f"{kind}/{name}" for kind in KINDS if kind in file for name in sorted(file[kind])]


def _read_group(group: h5py.Group) -> Measurement:
    variables, groups = {}, {}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            groups[name] = _read_group(item)
        elif not is_bare_dimension(item):
            variables[name] = _read_variable(name, item)
    attributes = {name: str(value) for name, value in group.attrs.items()}
    return Measurement(attributes.pop("type", ""), variables, attributes, groups)


def is_bare_dimension(dataset: h5py.Dataset) -> bool:
    """Return whether a dataset only marks a dimension and holds no numbers."""
    name = dataset.attrs.get("NAME", b"")
    return bool(name.startswith(BARE_DIMENSION.encode() if isinstance(name, bytes) else BARE_DIMENSION))


def _read_variable(name: str, dataset: h5py.Dataset) -> Variable:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        data = np.array(dataset.asstr()[...], dtype=object)
    else:
        data = np.asarray(dataset[...])  # not [()], which gives a scalar the machine's byte order
    if dataset.attrs.get("dtype") == "bool":
        data = data.astype(bool)
    texts: dict[str, Any] = {text: str(dataset.attrs.get(text, "")) for text in ("units", "description", "source")}
    return Variable(data, (name,) if dataset.is_scale else _dims(dataset), **texts)


def _dims(dataset: h5py.Dataset) -> tuple[str, ...]:
    if any(len(axis) == 0 for axis in dataset.dims):
        raise SchemaError(f"{dataset.file.filename} has no names for the dimensions of {dataset.name}; write it anew")
    return tuple(axis[0].name.rsplit("/", 1)[1] for axis in dataset.dims)
