"""Result files as figures need them: runs with a method and a seed, and arrays by name; no torch.

A measurement is read when a figure asks for it. Right when what no figure asks for is not read
(`tests/figures/test_reading.py`). Costs reading each measurement once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.store import Measurement, measurement_types, read

Array = np.ndarray[Any, Any]


class Measurements(Mapping[str, Measurement]):
    """The measurements of a file by "kind/name", each read when it is first asked for and then kept.

    Args:
        path: The file; its measurements are listed at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: dict[str, Measurement] = {}
        self.types = measurement_types(path)

    def __getitem__(self, key: str) -> Measurement:
        """Return a measurement."""
        if key not in self._read:
            if key not in self.types:
                raise KeyError(key)
            self._read[key] = read(self._path, key)
        return self._read[key]

    def __contains__(self, key: object) -> bool:
        """Return whether the file holds it, without reading it."""
        return key in self.types

    def __iter__(self) -> Iterator[str]:
        """Return the keys, by kind and then by name."""
        return iter(self.types)

    def __len__(self) -> int:
        """Return the number of measurements."""
        return len(self.types)


@dataclass(frozen=True)
class Run:
    """One result file.

    Attributes:
        path: The file.
    """

    path: Path

    @cached_property
    def measurements(self) -> Measurements:
        """Every measurement by "kind/name", read when it is asked for."""
        return Measurements(self.path)

    @property
    def method(self) -> str:
        """Training method; for a network trained elsewhere the name of the file."""
        method = self.array("training/summary", "method")
        return str(method) if method is not None else self.path.stem

    @property
    def seed(self) -> int:
        """Seed of the training; 0 where none is stored."""
        seed = self.array("training/summary", "seed")
        return int(seed) if seed is not None else 0

    def of_type(self, *types: str) -> list[str]:
        """Return the keys of the measurements of some types.

        Args:
            *types: Names of result types, for example "Line".
        """
        return [key for key, found in self.measurements.types.items() if found in types]

    def array(self, key: str, name: str) -> Array | None:
        """Return a variable, or None where the file does not hold it.

        Args:
            key: Measurement, "kind/name".
            name: Variable, with the groups it is nested in: "raw/total/trace".
        """
        measurement = self.measurements.get(key)
        *groups, variable = name.split("/")
        for group in groups:
            measurement = measurement.groups.get(group) if measurement is not None else None
        if measurement is None or variable not in measurement.variables:
            return None
        return measurement.variables[variable].data

    def attribute(self, key: str, name: str) -> str:
        """Return a text stored beside the variables, empty where the file does not hold it.

        Args:
            key: Measurement, "kind/name".
            name: Of the attribute.
        """
        measurement = self.measurements.get(key)
        return "" if measurement is None else str(measurement.attributes.get(name, ""))

    def units(self, key: str, name: str) -> str:
        """Return the unit of a variable; empty where there is none.

        Args:
            key: As for `array`.
            name: A variable that is not nested.
        """
        measurement = self.measurements.get(key)
        return measurement.variables[name].units if measurement and name in measurement.variables else ""


def load_runs(paths: Iterable[str | os.PathLike[str]]) -> list[Run]:
    """Return the runs behind result files, by method as given and then by seed.

    Args:
        paths: Result files.
    """
    return sorted((Run(Path(path)) for path in paths), key=lambda run: run.seed)


def by_method(runs: Sequence[Run], key: str, name: str) -> dict[str, list[Array]]:
    """Collect a variable from the runs that hold it.

    Args:
        runs: In order of their seeds.
        key: Measurement.
        name: Variable.

    Returns:
        Method to its arrays, one per run; methods without any are left out.
    """
    found: dict[str, list[Array]] = {}
    for run in runs:
        array = run.array(key, name)
        if array is not None:
            found.setdefault(run.method, []).append(array)
    return found


def stacked(arrays: Sequence[Array]) -> Array:
    """Stack arrays of uneven length along a new first axis, the short ones filled with NaN at the end.

    Args:
        arrays: One-dimensional.

    Returns:
        [array, longest length], float.
    """
    length = max(len(array) for array in arrays)
    whole = np.full((len(arrays), length), np.nan)
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return whole
