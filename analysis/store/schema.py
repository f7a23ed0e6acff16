"""The form of a result file: what every group and dataset must say about itself.

A file has one group per kind of measurement (`KINDS`), in it one group per named measurement, in that one dataset per
variable with named dimensions (HDF5 dimension scales), `units`, `description` and `source`. The root carries the
provenance (`REQUIRED_ATTRIBUTES`). Nothing here imports torch: a result file is read without it. Right when h5py and
xarray open a file with the names given here (`tests/analysis/store/test_schema.py`); costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SCHEMA_VERSION = 1
KINDS = ("training", "curvature", "surface", "sharpness", "noise", "claims")
REQUIRED_ATTRIBUTES = (
    "schema_version",
    "created",
    "config",
    "git_commit",
    "checkpoint_sha256",
    "data_fingerprint",
    "library_versions",
    "device",
)


@dataclass(frozen=True, eq=False)
class Variable:
    """One dataset of a measurement.

    Two variables are equal when dtype, shape, every number (NaN equal to NaN), dimensions and texts are.

    Args:
        data: Numbers, booleans, or strings (dtype object).
        dims: Name of each axis, outermost first, each name once. A variable named like its only dimension is that
            dimension's coordinate.
        units: For example "loss" or "s"; "1" for a pure number. Not "seconds", "days" and the like: xarray before
            2025 turns such variables into time differences.
        description: One line for the reader of the file.
        source: Paper or definition behind the number.

    Raises:
        ValueError: The dimensions do not name every axis exactly once.

    Example:
        >>> Variable(np.zeros((2, 3)), ("x", "y"), units="loss").dims
        ('x', 'y')
    """

    data: np.ndarray[Any, Any]
    dims: tuple[str, ...] = ()
    units: str = ""
    description: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.data.ndim != len(self.dims):
            raise ValueError(f"dims must name every axis, got {self.dims} for an array of shape {self.data.shape}")
        if len(set(self.dims)) != len(self.dims):
            raise ValueError(f"dims must differ, got {self.dims}; give the second axis a name of its own")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Variable):
            return NotImplemented
        texts = (self.dims, self.units, self.description, self.source)
        same_texts = texts == (other.dims, other.units, other.description, other.source)
        return same_texts and self.data.dtype == other.data.dtype and same_numbers(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]  # equal arrays do not hash equally


@dataclass(frozen=True)
class Measurement:
    """One named group of a result file.

    Args:
        type: Name of the result type it came from.
        variables: Datasets by name.
        attributes: Plain text that belongs to the whole measurement, by name; `type` is taken.
        groups: Nested measurements by name. They may use the dimensions of the enclosing one.
    """

    type: str
    variables: Mapping[str, Variable] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Measurement] = field(default_factory=dict)

    def setting(self, name: str) -> Any:
        """Return what a measurement was made with: the value of a variable, or the length of a dimension.

        Args:
            name: Of either.

        Returns:
            A plain value; None where there is neither.
        """
        if name in self.variables:
            return self.variables[name].data.tolist()
        lengths = {
            dim: length
            for variable in self.variables.values()
            for dim, length in zip(variable.dims, variable.data.shape, strict=True)
        }
        return lengths.get(name)


class SchemaError(ValueError):
    """A file is not of the form this version reads: no HDF5, no or another schema version, or something missing."""


def same_numbers(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Return whether two arrays have the same shape and entries, NaN equal to NaN."""
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc" and b.dtype.kind in "fc")
