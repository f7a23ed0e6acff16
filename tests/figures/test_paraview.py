"""XDMF for ParaView: every node and value that it leads to is the one that was measured.

The oracle is a reader of its own (`tests/figures/xdmf.py`) and the closed form behind the numbers, which changes when
two axes are swapped. Blind to what a real reader makes of it: ParaView 5.11 and VTK 9.7 were looked at by hand.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.store import Measurement, Variable, write
from figures import write_xdmf
from tests.figures.synthetic import measurement
from tests.figures.xdmf import Grid, load

X, Y, Z = np.linspace(-1, 1, 4), np.linspace(-0.3, 0.7, 7) ** 3, np.array([0.1, 2.0, 2.5])


def tilted(x: Any, y: Any, z: Any = 0.0) -> Any:
    """Each argument counts by another amount and power, so that any two swapped are seen at every node but few."""
    return 3 * x + 0.5 * y**2 + 7 * z + x * y


def over(*axes: np.ndarray[Any, Any]) -> Any:
    return tilted(*np.meshgrid(*axes, indexing="ij"))


def surface(loss: Any, **more: Any) -> Measurement:
    return measurement(x=(X, "x"), y=(Y, "y"), loss=(loss, "x", "y"), **more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs" / "run.h5"


def check_nodes(grid: Grid, *axes: np.ndarray[Any, Any]) -> None:
    """Fails if a node is elsewhere by one bit."""
    expected = np.zeros_like(grid.nodes)
    for number, axis in enumerate(np.meshgrid(*axes, indexing="ij")):
        expected[..., number] = axis
    np.testing.assert_array_equal(grid.nodes, expected)


def test_a_surface_is_at_its_nodes(path: Path) -> None:
    """Fails if x and y are swapped in nodes or values, and if NaN and inf are not as found."""
    loss = over(X, Y)
    loss[1, 2], loss[3, 0] = np.nan, np.inf
    done = np.ones(loss.shape, bool)
    done[1, 2] = False
    directions = np.zeros((2, 5), np.float32)
    plane = surface(loss, done=(done, "x", "y"), directions=(directions, "direction", "parameter"), seed=3)
    write(path, "surface", "plane", plane)
    assert write_xdmf(path) == path.with_suffix(".xdmf")
    grids = load(path.with_suffix(".xdmf"))
    assert list(grids) == ["surface/plane"]
    grid = grids["surface/plane"]
    check_nodes(grid, X, Y)
    assert list(grid.arrays) == ["loss", "done"]  # what is coloured first stands first
    x, y = grid.nodes[..., 0], grid.nodes[..., 1]
    good = done & np.isfinite(loss)
    np.testing.assert_array_equal(grid.arrays["loss"][good], tilted(x, y)[good])
    np.testing.assert_array_equal(grid.arrays["loss"], loss)
    np.testing.assert_array_equal(grid.arrays["done"], done.astype(np.int8))


def test_numbers_stay_in_the_result_file(path: Path) -> None:
    """Fails if values are copied: what is measured later shows without another export."""
    write(path, "surface", "plane", surface(over(X, Y)))
    written = write_xdmf(path)
    write(path, "surface", "plane", surface(10 * over(X, Y)))
    np.testing.assert_array_equal(load(written)["surface/plane"].arrays["loss"], 10 * over(X, Y))


def test_slices_have_names_and_no_two_the_same(path: Path) -> None:
    """Fails if a metric is another one, or takes the name of a stored array."""
    names = ["accuracy", "test/loss", "loss"]
    scales = np.array([2.0, 3.0, 5.0])[:, None, None]
    extra = {
        "metric_names": (names, "metric"),
        "metrics": (scales * over(X, Y), "metric", "x", "y"),
        "metric_errors": (-scales * over(X, Y), "metric", "x", "y"),
        "slope": (scales[:2] + over(X, Y), "direction", "x", "y"),
        "residuals": (scales[:2] - over(X, Y), "end_of_spectrum", "x", "y"),
        "other": (scales / 7 + over(X, Y), "kind", "x", "y"),
    }
    write(path, "surface", "plane", surface(over(X, Y), **extra))
    arrays = load(write_xdmf(path))["surface/plane"].arrays
    expected = {
        "loss": over(X, Y),
        "accuracy": 2 * over(X, Y),
        "test/loss": 3 * over(X, Y),
        "metrics/loss": 5 * over(X, Y),
        "accuracy_standard_error": -2 * over(X, Y),
        "test/loss_standard_error": -3 * over(X, Y),
        "loss_standard_error": -5 * over(X, Y),
        "slope_x": 2 + over(X, Y),
        "slope_y": 3 + over(X, Y),
        "residuals_lambda_max": 2 - over(X, Y),
        "residuals_lambda_min": 3 - over(X, Y),
        **{f"other_{number}": scale / 7 + over(X, Y) for number, scale in enumerate((2.0, 3.0, 5.0))},
    }
    assert arrays.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays[name], values, err_msg=name)


def test_without_metrics_there_are_none(path: Path) -> None:
    none = np.zeros((0, len(X), len(Y)))
    write(path, "surface", "plane", surface(over(X, Y), metrics=(none, "metric", "x", "y")))
    assert list(load(write_xdmf(path))["surface/plane"].arrays) == ["loss"]


def test_a_block_has_three_axes(path: Path) -> None:
    block = over(X, Y, Z)
    axes = {"x": (X, "x"), "y": (Y, "y"), "z": (Z, "z")}
    extra = {"metrics": (np.stack([block, 2 * block]), "metric", "x", "y", "z"), "flat": (over(X, Y), "x", "y")}
    write(path, "surface", "block", measurement(**axes, loss=(block, "x", "y", "z"), **extra))
    grid = load(write_xdmf(path))["surface/block"]
    check_nodes(grid, X, Y, Z)
    assert list(grid.arrays) == ["loss", "metrics_0", "metrics_1"]
    np.testing.assert_array_equal(grid.arrays["loss"], tilted(*np.moveaxis(grid.nodes, -1, 0)))
    np.testing.assert_array_equal(grid.arrays["metrics_1"], 2 * block)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint32", "int64", "float16", "float32", ">f8"])
def test_every_type_is_read_without_loss(path: Path, dtype: str) -> None:
    """Fails if a number is read by fewer bits than it has."""
    counts = np.arange(len(X) * len(Y)).reshape(len(X), len(Y)).astype(dtype)
    write(path, "surface", "plane", surface(over(X, Y), counts=(counts, "x", "y")))
    found = load(write_xdmf(path))["surface/plane"].arrays["counts"]
    np.testing.assert_array_equal(found.astype(float), counts.astype(float))


def test_a_trajectory_is_one_line_for_each_run(path: Path) -> None:
    """Fails if runs are joined, or values are another point's; a run of one point is a dot."""
    run = np.array([0, 0, 0, 1, 2, 2])
    coordinates = np.stack([np.arange(6.0) / 3, -(np.arange(6.0) ** 2)], axis=1)
    values = {name: (scale * np.arange(6.0), "point") for name, scale in (("loss", 2), ("distance", 3))}
    write(
        path,
        "surface",
        "way",
        measurement(run=(run, "point"), coordinates=(coordinates, "point", "axis"), **values),
    )
    grid = load(write_xdmf(path))["surface/way"]
    assert grid.lines == [[0, 1, 2], [3], [4, 5]]
    np.testing.assert_array_equal(grid.nodes, np.pad(coordinates, [(0, 0), (0, 1)]))
    assert list(grid.arrays) == ["loss", "distance", "run"]
    np.testing.assert_array_equal(grid.arrays["distance"], 3 * np.arange(6.0))


def test_each_measurement_that_can_be_shown_is_a_grid(path: Path) -> None:
    line = measurement(t=(X, "t"), loss=(X, "t"))
    for kind, name, content in (
        ("training", "history", surface(over(X, Y))),
        ("surface", "line", line),
        ("surface", "a <b> & é", surface(over(X, Y))),
        ("surface", "empty", measurement(x=(X[:0], "x"), y=(Y, "y"))),
        ("surface", "one", measurement(x=(X[:1], "x"), y=(Y, "y"), ratio=(over(X[:1], Y), "x", "y"))),
    ):
        write(path, kind, name, content)
    grids = load(write_xdmf(path))
    assert list(grids) == ["surface/a <b> & é", "surface/one"]
    check_nodes(grids["surface/one"], X[:1], Y)


def test_the_two_files_can_be_moved_together(path: Path, tmp_path: Path) -> None:
    """Fails if the reference is absolute, or relative to anything but the XDMF file."""
    write(path, "surface", "plane", surface(over(X, Y)))
    (tmp_path / "views").mkdir()
    written = write_xdmf(path, tmp_path / "views" / "view.xmf")
    assert [file.name for file in written.parent.iterdir()] == ["view.xmf"]  # nothing partial is left
    for folder in ("runs", "views"):
        shutil.move(tmp_path / folder, tmp_path / "elsewhere" / folder)
    found = load(tmp_path / "elsewhere" / "views" / "view.xmf")
    np.testing.assert_array_equal(found["surface/plane"].arrays["loss"], over(X, Y))


def test_a_kill_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the file is written in place."""
    write(path, "surface", "plane", surface(over(X, Y)))
    before = write_xdmf(path).read_bytes()
    write(path, "surface", "second", surface(over(X, Y)))

    def killed(*names: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("figures.paraview.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_xdmf(path)
    assert path.with_suffix(".xdmf").read_bytes() == before


def test_mistakes_are_one_line_and_write_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no result file at"):
        write_xdmf(tmp_path / "none.h5")
    write(path, "surface", "line", measurement(t=(X, "t"), loss=(X, "t")))
    with pytest.raises(ValueError, match=r"holds no surface.* for ParaView, but surface/line; measure one first"):
        write_xdmf(path)
    write(path, "surface", "plane", surface(over(X, Y)))
    with pytest.raises(FileNotFoundError, match=r"no folder .*none to write view\.xdmf in; make it first"):
        write_xdmf(path, tmp_path / "none" / "view.xdmf")
    with pytest.raises(ValueError, match=r"output must end in \.xdmf or \.xmf, .* got .*run\.h5"):
        write_xdmf(path, path)
    odd = shutil.copy(path, tmp_path / "runs" / "odd.xdmf")
    with pytest.raises(ValueError, match=r"output must not be the result file itself, got .*odd\.xdmf; give it an"):
        write_xdmf(odd)
    assert {file.suffix for file in path.parent.iterdir() if not file.name.startswith(".")} == {".h5", ".xdmf"}
    assert Path(odd).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["a:b", "a|b"])
def test_a_name_that_ends_a_reference_is_refused(path: Path, name: str) -> None:
    """The readers of ParaView 5.11 cut a reference there: some show nothing, some abort."""
    write(path, "surface", name, surface(over(X, Y)))
    with pytest.raises(
        ValueError, match=r"cannot point at run\.h5:/surface/a.b: ':' and '\|' have a meaning there; ren"
    ):
        write_xdmf(path)


def test_a_variable_of_text_is_no_array(path: Path) -> None:
    words = Variable(np.full((len(X), len(Y)), "word", dtype=object), ("x", "y"))
    plane = surface(over(X, Y))
    write(path, "surface", "plane", Measurement("", {**plane.variables, "words": words}))
    assert list(load(write_xdmf(path))["surface/plane"].arrays) == ["loss"]
