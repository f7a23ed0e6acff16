"""Fill a grid cell by cell in the result file itself, so that a kill loses at most the cell being computed.

The arrays are written once with NaN, then mapped into memory in place: from there on nothing but numbers changes, so
there is no moment at which the file does not open. Right when `kill -9` at random moments keeps every finished cell
bit for bit and the resumed grid equals an uninterrupted one (`tests/analysis/store/test_cells.py`). Opening costs one
`write`, a cell a few microseconds.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from analysis.store.reader import list_measurements, open_checked, read
from analysis.store.schema import Measurement, SchemaError, same_numbers
from analysis.store.writer import put, writing


class Cells(dict[str, np.ndarray[Any, Any]]):
    """The open arrays by name, the mask among them. What is assigned to them is in the file at once.

    Use `finish` to set a cell: it writes the values before the mask, whatever the values are. After the `with` block
    the arrays are read-only.
    """

    def __init__(self, arrays: dict[str, np.ndarray[Any, Any]], done: str) -> None:
        super().__init__(arrays)
        self._done = done

    @property
    def done(self) -> np.ndarray[Any, Any]:
        """The mask: True where a cell is finished."""
        return self[self._done]

    def finish(self, index: int | tuple[int, ...], **values: float | Sequence[float]) -> None:
        """Set one cell and mark it as done; 0, negative numbers, inf and NaN are finished values too.

        Args:
            index: Of the cell.
            **values: Its value in each of the cell arrays, by name; several numbers where the array has axes before
                those of the mask.

        Raises:
            ValueError: A cell array was left out, or a name is not one of them.
        """
        expected = self.keys() - {self._done}
        if values.keys() != expected:
            raise ValueError(f"a cell needs a value for each of {sorted(expected)}, got {sorted(values)}")
        for name, value in values.items():
            place: tuple[Any, ...] = (..., *index) if isinstance(index, tuple) else (..., index)
            self[name][place] = value
        self.done[index] = True  # last: a kill in between leaves the cell to be computed again


@contextmanager
def open_cells(
    path: str | os.PathLike[str],
    kind: str,
    name: str,
    measurement: Measurement,
    cells: Sequence[str] = ("loss",),
    done: str = "done",
    *,
    outcome: Collection[str] = ("status", "status_meaning"),
) -> Iterator[Cells]:
    """Begin a grid, or go on with one that was begun with the same configuration.

    The configuration is everything in `measurement` but the cells, the mask and the outcome: put in it, as variables
    or attributes, whatever the numbers depend on (seed, extent, checkpoint and data fingerprint). No other writer can
    use the file until the block ends, this process included.

    Args:
        path: The result file; made where there is none.
        kind: As in `write`.
        name: As in `write`.
        measurement: Configuration, cells and mask. Only dtype, shape and texts of the cells count, not their numbers.
        cells: Variables to fill: of a floating-point type, which begin as NaN, or boolean, which begin as False.
        done: Variable that says which cells are finished, boolean. It begins as False.
        outcome: Attributes and variables that describe how the measurement ended and do not count as configuration.

    Yields:
        The open arrays.

    Raises:
        ValueError: A cell variable is missing or of the wrong type, or the stored grid was begun with another
            configuration; the message names what differs.
        SchemaError: There is a file of that name, but not a result file of this version.
        RuntimeError: Another writer is at work on it.
    """
    for variable in (*cells, done):
        _check_cell(measurement, variable, "b" if variable == done else "bf")
    with writing(path) as target:
        key = f"{kind}/{name}"
        if target.exists() and key in list_measurements(target):
            _refuse_other(target, key, measurement, {*cells, done}, set(outcome))
        else:
            put(target, kind, name, _empty(measurement, cells, done))
        opened = Cells({variable: _map(target, f"{key}/{variable}") for variable in (*cells, done)}, done)
        try:
            yield opened
        finally:
            for array in opened.values():
                if isinstance(array.base, np.memmap):
                    array.base.flush()
                array.flags.writeable = False  # writing on would bypass the lock


def _check_cell(measurement: Measurement, name: str, kinds: str) -> None:
    if name not in measurement.variables:
        raise ValueError(f"the measurement has no variable {name!r} to fill; it has {sorted(measurement.variables)}")
    dtype = measurement.variables[name].data.dtype
    if dtype.kind not in kinds:
        allowed = "boolean" if kinds == "b" else "boolean or floating-point, where NaN marks what is not computed"
        raise ValueError(f"variable {name!r} must be {allowed}; got dtype {dtype}")


def _empty(measurement: Measurement, cells: Sequence[str], done: str) -> Measurement:
    variables = dict(measurement.variables)
    for name in (*cells, done):
        data = variables[name].data
        variables[name] = replace(variables[name], data=np.full_like(data, np.nan if data.dtype.kind == "f" else False))
    return replace(measurement, variables=variables)


def _map(target: Path, key: str) -> np.ndarray[Any, Any]:
    """Map a dataset into memory. The writer gives it its numbers at once, so it lies in the file in one piece."""
    with open_checked(target) as file:
        dataset: h5py.Dataset = file[key]
        offset, dtype, shape = dataset.id.get_offset(), dataset.dtype, dataset.shape
        is_bool = dataset.attrs.get("dtype") == "bool"
    if 0 in shape:
        mapped: np.ndarray[Any, Any] = np.empty(shape, dtype)  # there is no byte to map
    elif offset is None:
        raise SchemaError(f"{target} holds {key} in pieces, not as this version writes it; delete it and begin again")
    else:
        mapped = np.memmap(target, dtype=dtype, mode="r+", offset=offset, shape=shape)
    return mapped.view(bool if is_bool else dtype).view(np.ndarray)


def _refuse_other(
    target: Path, key: str, measurement: Measurement, filled: Collection[str], outcome: Collection[str]
) -> None:
    given, stored = _configuration(measurement, filled, outcome), _configuration(read(target, key), filled, outcome)
    differences = [
        f"{name}: given {_short(given.get(name))}, stored {_short(stored.get(name))}"
        for name in sorted(given.keys() | stored.keys())
        if not _same(given.get(name), stored.get(name))
    ]
    if differences:
        raise ValueError(
            f"{key} in {target} was begun with another configuration ({'; '.join(differences)}); "
            "choose another name or file, or delete it"
        )


def _configuration(
    measurement: Measurement, filled: Collection[str], outcome: Collection[str]
) -> dict[str, str | np.ndarray[Any, Any]]:
    """Return what decides the numbers, by name; nested names are joined by "/"."""
    found: dict[str, str | np.ndarray[Any, Any]] = {"type": measurement.type}
    found |= {name: text for name, text in measurement.attributes.items() if name not in outcome}
    for name, variable in measurement.variables.items():
        if name in filled:  # the numbers are the outcome, the form is not
            found[name] = f"{variable.data.dtype} of shape {variable.data.shape}"
        elif name not in outcome:
            found[name] = variable.data
    for name, nested in measurement.groups.items():
        found |= {f"{name}/{inner}": value for inner, value in _configuration(nested, (), outcome).items()}
    return found


def _same(a: str | np.ndarray[Any, Any] | None, b: str | np.ndarray[Any, Any] | None) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype.kind == b.dtype.kind and same_numbers(a, b)
    return type(a) is type(b) and a == b


def _short(value: str | np.ndarray[Any, Any] | None) -> str:
    """Return a value in a few characters, for a message of one line."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value) if len(value) <= 80 else repr(value[:77] + "...")
    if value.ndim == 0:
        return repr(value.item())
    first = ", ".join(repr(entry) for entry in value.ravel()[:2].tolist())
    return f"[{first}{', ...' if value.size > 2 else ''}] of shape {value.shape}"
