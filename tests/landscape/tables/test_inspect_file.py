"""The tree of a result file: every group and variable is in it, with its form and content."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from rich.console import Console

from analysis.store import Measurement, SchemaError, Variable, create, provenance, write
from landscape.tables.inspect_file import describe, file_tree


def shown(path: Path) -> str:
    file = io.StringIO()
    Console(file=file, width=200).print(file_tree(path))
    return file.getvalue()


def test_every_variable_and_its_form_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    create(path, provenance(config={"rho": 0.05}, checkpoint_sha256="ab12", device="cpu"))
    inner = Measurement("Total", {"trace": Variable(np.array(2.5), units="loss", description="of the covariance")})
    variables = {
        "values": Variable(np.array([3.0, 2.0, 0.5]), ("pair",), units="loss", description="eigenvalues"),
        "vectors": Variable(np.ones((3, 10)), ("pair", "parameter")),
        "done": Variable(np.array([[True, False], [True, True]]), ("x", "y")),
        "names": Variable(np.array([f"layer{i}" for i in range(9)], dtype=object), ("tensor",)),
    }
    write(path, "curvature", "eigenvalues", Measurement("E", variables, {"status": "CONVERGED"}, {"total": inner}))
    text = shown(path)
    for expected in (
        "checkpoint_sha256 ab12",
        'config {"rho": 0.05}',
        "data_fingerprint (none)",
        "curvature/eigenvalues",
        "status CONVERGED",
        "values [pair 3] 3 2 0.5 (loss)  eigenvalues",
        "vectors [pair 3, parameter 10] 1 to 1",
        "done [x 2, y 2] 3 of 4 true",
        "names [tensor 9] layer0 to layer8",
        "trace 2.5 (loss)  of the covariance",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("data", "dims", "expected"),
    [
        (np.array([np.nan] * 9), ("x",), "[x 9] nothing finite"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), ("x", "y"), "[x 2, y 2] 0 to 1, 1 of 4 not finite"),
        (np.zeros((0,)), ("x",), "[x 0] empty"),
        (np.array(7), (), "7"),
        (np.array("a" * 200, dtype=object), (), "a" * 97 + "..."),
        (np.array("", dtype=object), (), ""),
    ],
)
def test_content_on_one_line(data: np.ndarray, dims: tuple[str, ...], expected: str) -> None:
    assert describe(Variable(data, dims)) == expected


def test_a_file_without_measurements_says_so(tmp_path: Path) -> None:
    create(tmp_path / "run.h5", provenance())
    assert "no measurements yet" in shown(tmp_path / "run.h5")


def test_other_files_are_refused_by_the_store(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with pytest.raises(FileNotFoundError, match="no result file"):
        file_tree(path)
    path.write_text("hello", encoding="utf-8")
    with pytest.raises(SchemaError, match="cannot be read as HDF5"):
        file_tree(path)
    with h5py.File(path, "w") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(SchemaError, match="has schema version 99, this version reads"):
        file_tree(path)
