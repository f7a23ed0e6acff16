"""The form of variables, and the file as others see it: the oracle is h5py and xarray without our reader.

Blind to what neither library looks at, for example the order of variables.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from analysis.store import KINDS, REQUIRED_ATTRIBUTES, Measurement, Variable, write
from tests.analysis.store.samples import every_form


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "run.h5", "curvature", "final", every_form())
    return tmp_path / "run.h5"


def test_every_axis_needs_a_name() -> None:
    with pytest.raises(ValueError, match=r"dims must name every axis, got \('x',\) for an array of shape \(2, 3\)"):
        Variable(np.zeros((2, 3)), ("x",))


def test_axes_need_different_names() -> None:
    with pytest.raises(ValueError, match=r"dims must differ, got \('x', 'x'\)"):
        Variable(np.zeros((2, 2)), ("x", "x"))


@pytest.mark.parametrize(
    "other",
    [
        Variable(np.array([1.0, math.nan]), ("x",), "loss"),
        Variable(np.array([1.0, 2.0]), ("y",), "loss"),
        Variable(np.array([1.0, 2.0]), ("x",), "1"),
        Variable(np.array([1.0, 2.0], np.float32), ("x",), "loss"),
        Variable(np.array([1.0]), ("x",), "loss"),
        "not a variable",
    ],
)
def test_variables_differ_in_any_part(other: object) -> None:
    assert Variable(np.array([1.0, 2.0]), ("x",), "loss") != other


def test_nan_equals_nan() -> None:
    assert Variable(np.array([1.0, math.nan]), ("x",)) == Variable(np.array([1.0, math.nan]), ("x",))


def test_xarray_opens_the_group_with_named_dimensions(path: Path) -> None:
    """Fails if the dimension scales are left out (phony_dim_0), or a string or boolean needs our code to be read."""
    with xarray.open_dataset(path, group="/curvature/final", engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"x": 2, "layer": 3, "none": 0}
        assert dataset.loss.dims == ("x", "layer")
        assert set(dataset.coords) == {"x"}
        assert dataset.x.values.tolist() == [-1.0, 1.0]
        assert np.array_equal(dataset.loss.values, every_form().variables["loss"].data, equal_nan=True)
        assert dataset.done.dtype == bool
        assert dataset.done.values.tolist() == [True, False, True]
        assert not dataset.adaptive.item()
        assert dataset.adaptive.dtype == bool
        assert dataset.names.values.tolist() == ["conv.weight", "größe", ""]
        assert dataset.method.item() == "gcsam"
        assert dataset.empty.shape == (0, 3)
        assert dataset.single.dtype == np.float32
        assert dataset["count"].dtype == np.int64
        assert dataset.x.attrs == {
            "units": "1",
            "description": "offset along the first direction",
            "source": "arXiv 1712.09913",
        }
        assert dataset.attrs == {"type": "Sample", "status": "CONVERGED", "empty": ""}


def test_xarray_opens_nested_groups(path: Path) -> None:
    """Fails if a nested group does not use the outer dimension `layer`, or uses the outer `x` of another length."""
    with xarray.open_dataset(path, group="/curvature/final/raw", engine="h5netcdf") as dataset:
        assert dataset.trace.dims == ("layer",)
        assert dataset.samples.dims == ("x",)
        assert dataset.samples.values.tolist() == [0, 1, 2, 3, 4]
    with xarray.open_dataset(path, group="/curvature/final/raw/total", engine="h5netcdf") as dataset:
        assert dataset.trace.item() == 6.0


def test_units_of_time_stay_numbers(tmp_path: Path) -> None:
    variable = Variable(np.array([1.0, 2.0]), ("epoch",), units="s")
    write(tmp_path / "run.h5", "training", "history", Measurement("", {"seconds": variable}))
    with xarray.open_dataset(tmp_path / "run.h5", group="/training/history", engine="h5netcdf") as dataset:
        assert dataset.seconds.values.tolist() == [1.0, 2.0]


def test_h5py_finds_dimension_scales_and_texts(path: Path) -> None:
    with h5py.File(path) as file:
        loss = file["curvature/final/loss"]
        assert [axis[0].name for axis in loss.dims] == ["/curvature/final/x", "/curvature/final/layer"]
        assert loss.dims[0].keys() == ["x"]
        assert file["curvature/final/x"].is_scale
        assert {name: loss.attrs[name] for name in loss.attrs if name != "DIMENSION_LIST"} == {
            "units": "loss",
            "description": "mean loss — per sample",
            "source": "",
        }
        nested = file["curvature/final/raw"]
        assert "layer" not in nested  # the outer dimension, not a second one of that name
        assert nested["trace"].dims[0][0].name == "/curvature/final/layer"
        assert nested["samples"].dims[0][0].name == "/curvature/final/raw/x"
        assert nested["x"].shape == (5,)
        assert h5py.check_string_dtype(file["curvature/final/names"].dtype) == ("utf-8", None)


def test_root_says_how_the_file_was_made(path: Path) -> None:
    with h5py.File(path) as file:
        assert set(REQUIRED_ATTRIBUTES) <= set(file.attrs)
        assert file.attrs["schema_version"] == 1
        assert set(file) <= set(KINDS)


def test_reading_needs_no_torch(path: Path) -> None:
    """Fails if `analysis`, `analysis.store` or the provenance imports torch; checked in a fresh interpreter."""
    code = (
        "import sys, analysis.store as store\n"
        f"assert store.read({str(path)!r}, 'curvature/final').type == 'Sample'\n"
        f"store.read_attributes({str(path)!r}), store.list_measurements({str(path)!r}), store.provenance()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
