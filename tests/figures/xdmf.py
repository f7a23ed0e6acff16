"""A small reader of XDMF for tests: it follows every reference with h5py and rebuilds nodes and values.

It shares no line with the writer. What it cannot see is whether another reader understands the same; that was looked
at by hand with ParaView's readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import h5py
import numpy as np

Array = np.ndarray[Any, Any]
TYPES = {"Char1": "i1", "UChar1": "u1", "Int4": "i4", "Int8": "i8", "Float4": "f4", "Float8": "f8"}


@dataclass(frozen=True)
class Grid:
    """One grid: nodes [..., 3] in the order of the topology, arrays of as many nodes, lines as lists of nodes."""

    nodes: Array
    arrays: dict[str, Array]
    lines: list[list[int]]


def load(path: Path) -> dict[str, Grid]:
    root = ElementTree.parse(path).getroot()
    assert (root.tag, root.get("Version")) == ("Xdmf", "3.0")
    grids = root.findall("Domain/Grid")
    found = {str(grid.get("Name")): _grid(grid, path.parent) for grid in grids}
    assert len(found) == len(grids)
    return found


def _grid(grid: Element, folder: Path) -> Grid:
    topology, geometry = grid.find("Topology"), grid.find("Geometry")
    assert topology is not None
    assert geometry is not None
    assert geometry.get("GeometryType") == "XYZ"
    nodes, lines = _data(geometry[0], folder), []
    if topology.get("TopologyType") == "Mixed":
        rest = _data(topology[0], folder).tolist()
        while rest:
            shape, count, *rest = rest
            assert shape == (2 if count > 1 else 1)  # poly-line, poly-vertex
            lines.append([rest.pop(0) for _ in range(count)])
        assert int(str(topology.get("NumberOfElements"))) == len(lines)
    else:
        shape = _numbers(topology.get("Dimensions"))
        assert topology.get("TopologyType") == f"{len(shape)}DSMesh"  # the first of its dimensions is the slowest
        nodes = nodes.reshape(*shape, 3)
    arrays = {}
    for attribute in grid.findall("Attribute"):
        assert (attribute.get("AttributeType"), attribute.get("Center"), len(attribute)) == ("Scalar", "Node", 1)
        data = _data(attribute[0], folder)
        assert data.shape == nodes.shape[:-1]
        assert attribute.get("Name") not in arrays
        arrays[str(attribute.get("Name"))] = data
    return Grid(nodes, arrays, lines)


def _data(item: Element, folder: Path) -> Array:
    shape = tuple(_numbers(item.get("Dimensions")))
    if item.get("ItemType") == "HyperSlab":
        selection, source = item
        start, stride, count = _data(selection, folder).tolist()
        whole = _data(source, folder)
        place = tuple(slice(a, a + b * c, b) for a, b, c in zip(start, stride, count, strict=True))
        return whole[place].reshape(shape)
    dtype = np.dtype(TYPES[f"{item.get('NumberType')}{item.get('Precision')}"])
    text = str(item.text).strip()
    if item.get("Format") == "XML":
        return np.array([float(number) for number in text.split()]).astype(dtype).reshape(shape)
    assert item.get("Format") == "HDF"
    name, key = text.split(":")  # two of them, or no reader could tell where the file's name ends
    assert not Path(name).is_absolute()
    with h5py.File(folder / name, "r") as file:
        dataset = file[key]
        assert dataset.shape == shape
        assert np.can_cast(dataset.dtype, dtype)  # nothing is lost
        return dataset.astype(dtype)[...]


def _numbers(text: str | None) -> list[int]:
    return [int(number) for number in str(text).split()]
