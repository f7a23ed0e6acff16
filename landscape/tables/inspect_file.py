"""What a result file holds, as a tree: measurements, their variables with dimensions and units, provenance.

Right when every variable of the file is in the tree with its value or its range
(`tests/landscape/tables/test_inspect_file.py`). Reads one measurement at a time; needs no torch.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from rich.text import Text
from rich.tree import Tree

from analysis.store import Measurement, Variable, list_measurements, read, read_attributes

# Longer texts are cut: a configuration may be a page.
MAX_TEXT = 100
MAX_ENTRIES = 6


def file_tree(path: str | os.PathLike[str]) -> Tree:
    """Describe a result file.

    Args:
        path: The file.

    Returns:
        A tree for rich: provenance first, then each measurement.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a result file of this version.
    """
    attributes = read_attributes(path)
    keys = list_measurements(path)
    tree = Tree(Text(os.fspath(path), style="bold"))
    provenance = tree.add(Text("provenance", style="bold"))
    for name, text in sorted(attributes.items()):
        provenance.add(_pair(name, _short(text) if text else "(none)"))
    for key in keys:
        _add(tree.add(Text(key, style="bold")), read(path, key))
    if not keys:
        tree.add("no measurements yet")
    return tree


def describe(variable: Variable) -> str:
    """Return a variable's form and content on one line: its value, its entries where they are few, or its range.

    Args:
        variable: As read from a file.

    Example:
        >>> describe(Variable(np.array([[1.0, np.nan], [2.0, 4.0]]), ("x", "y"), units="loss"))
        '[x 2, y 2] 1 to 4, 1 of 4 not finite (loss)'
    """
    form = ", ".join(f"{dim} {length}" for dim, length in zip(variable.dims, variable.data.shape, strict=True))
    units = "" if variable.units in {"", "1"} else f" ({variable.units})"
    return f"{f'[{form}] ' if form else ''}{_content(variable.data)}{units}"


def _add(branch: Tree, measurement: Measurement) -> None:
    for name, text in sorted(measurement.attributes.items()):
        branch.add(_pair(name, text))
    for name, variable in measurement.variables.items():
        line = _pair(name, describe(variable))
        if variable.description:
            line.append(f"  {variable.description}", style="dim")
        branch.add(line)
    for name, nested in measurement.groups.items():
        _add(branch.add(Text(name, style="bold")), nested)


def _pair(name: str, text: str) -> Text:
    return Text.assemble((name, "cyan"), " ", text)


def _content(data: np.ndarray[Any, Any]) -> str:
    if data.size == 0:
        return "empty"
    if data.ndim == 0 or (data.ndim == 1 and data.size <= MAX_ENTRIES):
        return _short(" ".join(_entry(value) for value in data.ravel()))
    if data.dtype == object:
        return _short(f"{data.ravel()[0]} to {data.ravel()[-1]}")
    if data.dtype == bool:
        return f"{int(data.sum())} of {data.size} true"
    finite = data[np.isfinite(data)]
    missing = f", {data.size - finite.size} of {data.size} not finite" if finite.size < data.size else ""
    return f"{_entry(finite.min())} to {_entry(finite.max())}{missing}" if finite.size else "nothing finite"


def _entry(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."
