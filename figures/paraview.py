"""From a result file to ParaView: an XDMF file that says where the numbers are, and holds none but the nodes.

XDMF is XML that points at arrays in HDF5, so the numbers stay where they are and are never copied. Right when every
node and every value that the file leads to is the one that was stored, also where x and y differ in number
(`tests/figures/test_paraview.py`); ParaView 5.11 and VTK 9.7 were seen to read the same. Cost: one measurement in
memory at a time, and about 60 bytes of text for each node.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from analysis.store import Measurement, Variable, list_measurements, read
from figures.reading import Array

SUFFIXES = (".xdmf", ".xmf")  # by which ParaView finds its readers
AXES = ("x", "y", "z")
POLYVERTEX, POLYLINE = 1, 2  # XDMF's numbers of these shapes
# NumberType and Precision of numpy's kinds and sizes; others are declared wider, and HDF5 converts while reading
NUMBERS = {"b1": ("Char", 1), "i1": ("Char", 1), "u1": ("UChar", 1), "i4": ("Int", 4), "f4": ("Float", 4)}
WIDE_NUMBERS = {"b": ("Char", 1), "i": ("Int", 8), "u": ("Int", 8), "f": ("Float", 8)}
# What the entries along a leading dimension are called; metrics have names of their own
LABELS = {"direction": AXES, "end_of_spectrum": ("lambda_max", "lambda_min")}


def write_xdmf(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> Path:
    """Write an XDMF 3 file through which ParaView shows the surfaces, blocks, maps and trajectories of a result file.

    Each measurement becomes one grid, named as in the file. A plane lies at z = 0: ParaView's x is the stored x, its
    y the stored y. Every number per cell is an array at the nodes, by its stored name; metrics have their own names,
    with "metrics/" in front where another array is called so; `slope` becomes `slope_x` and `slope_y`. A trajectory
    has one line for each run. What is computed or measured again later shows without writing this file again, unless
    axes or points changed.

    In ParaView choose "Xdmf Reader" when asked. The two "Xdmf3 Reader" work too, but leave out what is one slice of a
    larger array (metrics, slope, residuals). Then: for height, the filter Warp By Scalar on `loss`, with a scale of
    about the width of x over the range of the loss; where the loss spans decades, Calculator with log10(loss) before
    it. Where cells are missing or diverged, first Threshold on `done` from 1 and on `diverged` up to 0: NaN is no
    height. For arrows, Calculator with slope_x*iHat + slope_y*jHat, then Glyph.

    Args:
        path: The result file.
        output: File to write, .xdmf or .xmf, in a folder that exists; default: beside the result file, with .xdmf for
            its suffix. It leads to the result file by a relative path: move both together.

    Returns:
        The file written. It is written whole: a kill leaves the old one, or none.

    Raises:
        FileNotFoundError: There is no such result file, or no folder to write in.
        SchemaError: It is not a result file of this version.
        ValueError: It holds nothing that ParaView could show, a name that XDMF cannot point at, or output is not
            an XDMF file.

    Example:
        write_xdmf("runs/resnet20/run.h5")  # runs/resnet20/run.xdmf
    """
    source = Path(path)
    target = source.with_suffix(SUFFIXES[0]) if output is None else Path(output)
    keys = list_measurements(source)
    _check_target(source, target)
    # Not resolved itself: a link beside the XDMF file is what the user moves along with it.
    place = os.path.relpath(source.parent.resolve() / source.name, target.parent.resolve()).replace(os.sep, "/")
    root = Element("Xdmf", Version="3.0")
    domain = SubElement(root, "Domain")
    for key in keys:
        grid = _grid(key, read(source, key), place) if key.startswith("surface/") else None
        if grid is not None:
            domain.append(grid)
    if not len(domain):
        raise ValueError(
            f"{source} holds no surface, map, block or trajectory for ParaView, but {', '.join(keys) or 'nothing'}; "
            "measure one first"
        )
    ElementTree.indent(root)
    partial = target.with_name(f".{target.name}.partial")
    ElementTree.ElementTree(root).write(partial, encoding="us-ascii", xml_declaration=True)
    os.replace(partial, target)
    return target


def _check_target(source: Path, target: Path) -> None:
    if target.suffix not in SUFFIXES:
        raise ValueError(f"output must end in {' or '.join(SUFFIXES)}, by which ParaView knows it, got {target}")
    if target.resolve() == source.resolve():
        raise ValueError(f"output must not be the result file itself, got {target}; give it another name")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder {target.parent} to write {target.name} in; make it first")


def _grid(key: str, measurement: Measurement, place: str) -> Element | None:
    """Return the grid of one measurement, or None where it has no nodes in two or three dimensions."""
    variables = measurement.variables
    axes = tuple(itertools.takewhile(variables.__contains__, AXES))
    if len(axes) >= 2:
        dims, topology = axes, _structured([len(variables[axis].data) for axis in axes])
        flat = [variables[axis].data if axis in axes else np.zeros(1) for axis in AXES]
        nodes = np.stack(np.meshgrid(*flat, indexing="ij"), axis=-1)
    elif {"coordinates", "run"} <= variables.keys():
        dims, topology = ("point",), _lines(variables["run"].data)
        nodes = np.pad(variables["coordinates"].data, [(0, 0), (0, 1)])
    else:
        return None
    if not nodes.size:
        return None
    if ":" in place + key or "|" in place + key:
        raise ValueError(f"XDMF cannot point at {place}:/{key}: ':' and '|' have a meaning there; rename it")
    grid = Element("Grid", Name=key, GridType="Uniform")
    grid.append(topology)
    SubElement(grid, "Geometry", GeometryType="XYZ").append(_inline(nodes.reshape(-1, 3).astype(float)))
    taken: set[str] = set()
    for name, item in _items(measurement, dims, f"{place}:/{key}"):
        while name in taken:
            name = f"metrics/{name}"
        taken.add(name)
        SubElement(grid, "Attribute", Name=name, AttributeType="Scalar", Center="Node").append(item)
    return grid


def _structured(lengths: list[int]) -> Element:
    # Not a rectilinear mesh, though axes would do: there the last index runs along x, here it runs along y or z.
    return Element("Topology", TopologyType=f"{len(lengths)}DSMesh", Dimensions=_text(lengths))


def _lines(run: Array) -> Element:
    """Return one line for each run; a run of one point has no line, but a dot."""
    cells: list[int] = []
    stretches = [list(points) for _, points in itertools.groupby(range(len(run)), key=lambda point: int(run[point]))]
    for points in stretches:
        cells += [POLYLINE if len(points) > 1 else POLYVERTEX, len(points), *points]
    topology = Element("Topology", TopologyType="Mixed", NumberOfElements=str(len(stretches)))
    topology.append(_inline(np.array(cells)))
    return topology


def _items(measurement: Measurement, dims: tuple[str, ...], group: str) -> Iterator[tuple[str, Element]]:
    """Yield name and place of every number that each node has: the loss first, slices of larger arrays last."""
    fitting = [
        (name, variable)
        for name, variable in measurement.variables.items()
        if variable.dims[-len(dims) :] == dims and variable.data.dtype.kind in WIDE_NUMBERS
    ]
    for name, variable in sorted(fitting, key=lambda pair: (len(pair[1].dims), pair[0] != "loss", pair[0])):
        stored = _stored(variable, f"{group}/{name}")
        if variable.dims == dims:
            yield name, stored
        elif len(variable.dims) == len(dims) + 1:
            for index, part in enumerate(_parts(measurement, name, variable)):
                yield part, _slice(index, variable.data.shape, stored)


def _parts(measurement: Measurement, name: str, variable: Variable) -> list[str]:
    """Return the name of each entry along the first dimension of a variable."""
    dim, length = variable.dims[0], len(variable.data)
    if dim == "metric" and "metric_names" in measurement.variables:
        end = "" if name == "metrics" else "_standard_error"
        return [f"{metric}{end}" for metric in measurement.variables["metric_names"].data]
    labels = LABELS.get(dim, ())
    return [f"{name}_{label}" for label in (labels[:length] if len(labels) >= length else range(length))]


def _stored(variable: Variable, place: str) -> Element:
    """Return the reference to a whole array in the result file."""
    dtype = variable.data.dtype
    number, precision = NUMBERS.get(f"{dtype.kind}{dtype.itemsize}", WIDE_NUMBERS[dtype.kind])
    item = _item("HDF", variable.data.shape, number, precision)
    item.text = place
    return item


def _slice(index: int, shape: tuple[int, ...], stored: Element) -> Element:
    """Return the reference to one entry along the first dimension of a stored array."""
    item = Element("DataItem", ItemType="HyperSlab", Dimensions=_text(shape[1:]))
    start, stride, count = [index] + [0] * (len(shape) - 1), [1] * len(shape), [1, *shape[1:]]
    item.append(_inline(np.array([start, stride, count])))
    item.append(stored)
    return item


def _inline(data: Array) -> Element:
    number, precision = ("Float", 8) if data.dtype.kind == "f" else ("Int", 4)
    item = _item("XML", data.shape, number, precision)
    item.text = " ".join(map(repr, data.ravel().tolist()))  # repr gives back the same bits
    return item


def _item(form: str, shape: tuple[int, ...], number: str, precision: int) -> Element:
    return Element("DataItem", Format=form, Dimensions=_text(shape), NumberType=number, Precision=str(precision))


def _text(numbers: list[int] | tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))
