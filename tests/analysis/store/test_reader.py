"""What was written comes back equal; what is no result file is refused in one line."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.store import (
    REQUIRED_ATTRIBUTES,
    Measurement,
    SchemaError,
    Variable,
    create,
    list_measurements,
    measurement_types,
    read,
    read_attributes,
    write,
)
from tests.analysis.store.samples import every_form

READERS = [list_measurements, measurement_types, read_attributes, lambda path: read(path, "noise/a")]


def test_every_form_comes_back_equal(tmp_path: Path) -> None:
    write(tmp_path / "run.h5", "noise", "a", every_form())
    assert read(tmp_path / "run.h5", "noise/a") == every_form()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "u8", ">f8", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3, 4)])
def test_dtype_shape_and_bits_are_kept(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    data = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2).astype(dtype)
    dims = tuple(f"axis{i}" for i in range(len(shape)))
    write(tmp_path / "run.h5", "noise", "a", Measurement("", {"data": Variable(data, dims)}))
    got = read(tmp_path / "run.h5", "noise/a").variables["data"]
    assert got.data.dtype == data.dtype
    assert got.data.shape == shape
    assert got.data.tobytes() == data.tobytes()
    assert got.dims == dims


def test_numpy_strings_come_back_as_strings(tmp_path: Path) -> None:
    write(tmp_path / "run.h5", "noise", "a", Measurement("", {"names": Variable(np.array(["a", "bc"]), ("name",))}))
    data = read(tmp_path / "run.h5", "noise/a").variables["names"].data
    assert data.dtype == object
    assert data.tolist() == ["a", "bc"]


def test_list_is_by_kind_then_name(tmp_path: Path) -> None:
    for kind, name in [("noise", "b"), ("training", "z"), ("noise", "a"), ("curvature", "c")]:
        write(tmp_path / "run.h5", kind, name, Measurement(""))
    assert list_measurements(tmp_path / "run.h5") == ["training/z", "curvature/c", "noise/a", "noise/b"]


def test_types_are_told_of_each_measurement(tmp_path: Path) -> None:
    write(tmp_path / "run.h5", "noise", "b", Measurement("Trace", {"value": Variable(np.array(1.0))}))
    write(tmp_path / "run.h5", "curvature", "c", Measurement("", {"value": Variable(np.array(1.0))}))
    found = measurement_types(tmp_path / "run.h5")
    assert list(found.items()) == [("curvature/c", ""), ("noise/b", "Trace")]


@pytest.mark.parametrize("key", ["curvature/final", "final", "noise", "noise/a/raw", ""])
def test_missing_measurement_lists_what_is_there(tmp_path: Path, key: str) -> None:
    write(tmp_path / "run.h5", "noise", "a", every_form())
    with pytest.raises(KeyError, match=rf"no measurement '{key}' in .*run\.h5; it holds noise/a"):
        read(tmp_path / "run.h5", key)


def test_empty_file_holds_none(tmp_path: Path) -> None:
    create(tmp_path / "run.h5", {})
    assert list_measurements(tmp_path / "run.h5") == []
    with pytest.raises(KeyError, match="it holds none"):
        read(tmp_path / "run.h5", "noise/a")


@pytest.mark.parametrize("reader", READERS)
class TestRefusals:
    def test_missing_file(self, tmp_path: Path, reader) -> None:
        with pytest.raises(FileNotFoundError, match=r"no result file at .*nowhere\.h5; check the path"):
            reader(tmp_path / "nowhere.h5")

    def test_folder(self, tmp_path: Path, reader) -> None:
        with pytest.raises(FileNotFoundError, match="no result file at"):
            reader(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"epoch,loss\n1,2\n"])
    def test_not_hdf5(self, tmp_path: Path, reader, content: bytes) -> None:
        (tmp_path / "run.h5").write_bytes(content)
        with pytest.raises(SchemaError, match=r"^[^\n]*run\.h5 cannot be read as HDF5: [^\n]*$"):
            reader(tmp_path / "run.h5")

    def test_truncated(self, tmp_path: Path, reader) -> None:
        write(tmp_path / "run.h5", "noise", "a", every_form())
        whole = (tmp_path / "run.h5").read_bytes()
        (tmp_path / "run.h5").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SchemaError, match=r"^[^\n]*cannot be read as HDF5: [^\n]*truncated[^\n]*$"):
            reader(tmp_path / "run.h5")

    def test_other_schema_version(self, tmp_path: Path, reader) -> None:
        create(tmp_path / "run.h5", {})
        with h5py.File(tmp_path / "run.h5", "r+") as file:
            file.attrs["schema_version"] = 7
        with pytest.raises(SchemaError, match="has schema version 7, this version reads 1; use the release"):
            reader(tmp_path / "run.h5")

    def test_no_schema_version(self, tmp_path: Path, reader) -> None:
        with h5py.File(tmp_path / "run.h5", "w"):
            pass
        with pytest.raises(SchemaError, match="has no schema_version: it is HDF5, but not a result file"):
            reader(tmp_path / "run.h5")

    @pytest.mark.parametrize("name", [name for name in REQUIRED_ATTRIBUTES if name != "schema_version"])
    def test_missing_attribute(self, tmp_path: Path, reader, name: str) -> None:
        create(tmp_path / "run.h5", {})
        with h5py.File(tmp_path / "run.h5", "r+") as file:
            del file.attrs[name]
        with pytest.raises(SchemaError, match=f"lacks the root attribute {name}; write it anew"):
            reader(tmp_path / "run.h5")


def test_unnamed_dimension_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "run.h5", {})
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file["noise/a/data"] = np.zeros(3)
    with pytest.raises(SchemaError, match="has no names for the dimensions of /noise/a/data; write it anew"):
        read(tmp_path / "run.h5", "noise/a")
