"""Grids filled in place. The oracle is a killed process and the file as h5py and xarray see it.

Blind to a machine that loses power: only the process dies here, so what the system had not yet put on the disk counts.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from analysis.store import (
    Measurement,
    SchemaError,
    Variable,
    create,
    list_measurements,
    open_cells,
    read,
    read_attributes,
    write,
)
from tests.analysis.store.samples import CHILDREN, GRID, every_form, fill, fill_in_child, grid, hold_cells, value

EXPECTED = np.array([[value(i, j) for j in range(GRID[1])] for i in range(GRID[0])])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.store.writer.LOCK_SECONDS", 0.05)


def test_cells_begin_as_nan_and_not_done(path: Path) -> None:
    with open_cells(path, "surface", "plane", grid()) as cells:
        assert set(cells) == {"loss", "done"}
        assert cells.done is cells["done"]
        assert cells.done.dtype == bool
        assert np.isnan(cells["loss"]).all()
        assert not cells.done.any()


def test_a_boolean_cell_begins_as_false_and_is_in_the_file_at_once(path: Path) -> None:
    """Fails if flags are filled with NaN, which is True, or kept in memory."""
    flagged = grid()
    variables = {**flagged.variables, "diverged": Variable(np.ones(GRID, bool), ("x", "y"))}
    with open_cells(path, "surface", "plane", replace(flagged, variables=variables), ("loss", "diverged")) as cells:
        assert not cells["diverged"].any()
        cells.finish((3, 4), loss=math.nan, diverged=True)
        assert np.argwhere(read(path, "surface/plane").variables["diverged"].data).tolist() == [[3, 4]]


@pytest.mark.parametrize("number", [0.0, -2.5, math.nan, math.inf])
def test_a_cell_is_in_the_file_at_once_and_done_whatever_its_value(path: Path, number: float) -> None:
    with open_cells(path, "surface", "plane", grid()) as cells:
        cells.finish((3, 4), loss=number)
        with h5py.File(path) as file:
            assert np.array_equal(file["surface/plane/loss"][3, 4], number, equal_nan=True)
            assert np.argwhere(file["surface/plane/done"][()]).tolist() == [[3, 4]]
    with open_cells(path, "surface", "plane", grid()) as cells:
        assert np.argwhere(cells.done).tolist() == [[3, 4]]


def test_values_come_before_the_mask(path: Path) -> None:
    """Fails if the mask is set first: here the value cannot be stored, so the cell must stay open."""
    with open_cells(path, "surface", "plane", grid()) as cells:
        with pytest.raises(ValueError, match="could not convert"):
            cells.finish((3, 4), loss="high")
        assert not cells.done.any()


@pytest.mark.parametrize("values", [{}, {"los": 1.0}, {"loss": 1.0, "done": 1.0}])
def test_every_cell_array_gets_its_value(path: Path, values: dict[str, float]) -> None:
    with (
        open_cells(path, "surface", "plane", grid()) as cells,
        pytest.raises(ValueError, match=r"a cell needs a value for each of \['loss'\], got"),
    ):
        cells.finish((0, 0), **values)


def test_several_arrays_in_float32_and_one_dimension(path: Path) -> None:
    line = Measurement(
        "Line",
        {
            "loss": Variable(np.zeros(3, np.float32), ("t",)),
            "accuracy": Variable(np.zeros(3), ("t",)),
            "finished": Variable(np.zeros(3, bool), ("t",)),
        },
    )
    with open_cells(path, "surface", "line", line, ("loss", "accuracy"), "finished") as cells:
        cells.finish(1, loss=0.1, accuracy=0.5)
    stored = read(path, "surface/line").variables
    assert stored["loss"].data.dtype == np.float32
    assert np.array_equal(stored["loss"].data, np.array([np.nan, 0.1, np.nan], np.float32), equal_nan=True)
    assert np.array_equal(stored["accuracy"].data, [np.nan, 0.5, np.nan], equal_nan=True)
    assert stored["finished"].data.tolist() == [False, True, False]


def test_a_grid_without_cells(path: Path) -> None:
    empty = {"loss": Variable(np.zeros(0), ("t",)), "done": Variable(np.zeros(0, bool), ("t",))}
    with open_cells(path, "surface", "line", Measurement("Line", empty)) as cells:
        assert cells.done.all()
    assert read(path, "surface/line").variables["loss"].data.shape == (0,)


def test_the_rest_of_the_file_stays(path: Path) -> None:
    create(path, {"config": "mine"})
    write(path, "noise", "a", every_form())
    fill(path)
    assert read(path, "noise/a") == every_form()
    assert read_attributes(path)["config"] == "mine"
    with xarray.open_dataset(path, group="/surface/plane", engine="h5netcdf") as dataset:
        assert dataset.done.dtype == bool
        assert dataset.done.all()
        assert np.array_equal(dataset.loss.values, EXPECTED, equal_nan=True)
        assert set(dataset.coords) == {"x", "y"}


def test_kill_at_random_moments_and_resume(tmp_path: Path, path: Path) -> None:
    """Fails if cells are buffered, the mask precedes the value, finished cells are computed or cleared again."""
    moments = random.Random(94)
    before = np.zeros(GRID, dtype=bool)
    interrupted = 0
    for attempt in range(20):
        started, opened = CHILDREN.Event(), CHILDREN.Event()
        child = CHILDREN.Process(target=fill_in_child, args=(path, started, opened, 2e-4))
        child.start()
        assert (opened if attempt % 2 else started).wait(30)  # half of the kills come while cells are computed
        time.sleep(moments.uniform(0.0, 0.03))
        child.kill()
        child.join()
        if not path.exists():
            continue  # killed before the file was in place
        with h5py.File(path) as file:
            if "surface/plane" not in file:
                continue
            done, loss = file["surface/plane/done"][()].astype(bool), file["surface/plane/loss"][()]
        assert done[before].all()
        assert loss[done].tobytes() == EXPECTED[done].tobytes()
        # The cell that was being written may hold its value without the mask.
        assert np.count_nonzero(~np.isnan(loss[~done])) <= 1
        interrupted += bool(done.any() and not done.all() and done.sum() > before.sum())
        before = done
    assert interrupted >= 3  # kills came in the middle of the work, each after more of it
    fill(path)
    fill(tmp_path / "uninterrupted.h5")
    assert read(path, "surface/plane") == read(tmp_path / "uninterrupted.h5", "surface/plane")
    assert read(path, "surface/plane").variables["loss"].data.tobytes() == EXPECTED.tobytes()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, r"\(seed: given 1, stored 0\)"),
        ({"checkpoint_sha256": "cd34"}, r"\(checkpoint_sha256: given 'cd34', stored 'ab12'\)"),
        ({"extent": 2.0}, r"\(x: given \[-2.0, -1.89.*, \.\.\.\] of shape \(40,\), stored \[-1.0, -0.94.*\)"),
        ({"seed": 1, "checkpoint_sha256": ""}, r"\(checkpoint_sha256: .*; seed: given 1, stored 0\)"),
        ({"checkpoint_sha256": "9" * 100}, r"\(checkpoint_sha256: given '9{77}\.\.\.', stored 'ab12'\)"),
        ({"seed": math.nan}, r"\(seed: given nan, stored 0\)"),
    ],
)
def test_another_configuration_is_refused_by_name(path: Path, changes: dict[str, object], difference: str) -> None:
    fill(path)
    before = path.read_bytes()
    with (
        pytest.raises(ValueError, match=rf"^surface/plane in .*run\.h5 was begun with another .*{difference}; choose"),
        open_cells(path, "surface", "plane", grid(**changes)),
    ):
        pass
    assert path.read_bytes() == before


def _changed(change: str) -> Measurement:
    given = grid()
    variables, attributes = dict(given.variables), dict(given.attributes)
    if change == "type":
        return replace(given, type="Plane")
    if change == "fewer":
        del variables["seed"]
    if change == "more":
        attributes["normalize"] = "filter"
    if change == "switch":
        variables["seed"] = Variable(np.asarray(False))
    if change == "precision":
        variables["loss"] = Variable(np.zeros(GRID, np.float32), ("x", "y"))
    return replace(
        given,
        variables=variables,
        attributes=attributes,
        groups={"data": Measurement("Data", {"n": Variable(np.asarray(5))})} if change == "nested" else {},
    )


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("type", "type: given 'Plane', stored 'Surface'"),
        ("fewer", "seed: given nothing, stored 0"),
        ("more", "normalize: given 'filter', stored nothing"),
        ("precision", r"loss: given 'float32 of shape \(40, 30\)', stored 'float64 of shape \(40, 30\)'"),
        ("switch", "seed: given False, stored 0"),
        ("nested", "data/n: given 5, stored nothing; data/type: given 'Data', stored nothing"),
    ],
)
def test_every_part_counts_as_configuration(path: Path, change: str, difference: str) -> None:
    fill(path)
    with pytest.raises(ValueError, match=difference), open_cells(path, "surface", "plane", _changed(change)):
        pass


def test_the_outcome_is_no_configuration(path: Path) -> None:
    """A finished grid, saved whole with its final status, is opened again without a quarrel and with its numbers."""
    fill(path)
    stored = read(path, "surface/plane")
    write(path, "surface", "plane", replace(stored, attributes={**stored.attributes, "status": "COMPLETE"}))
    with open_cells(path, "surface", "plane", grid()) as cells:
        assert cells.done.all()
        assert cells["loss"].tobytes() == EXPECTED.tobytes()
    with (
        pytest.raises(ValueError, match="status: given 'INTERRUPTED', stored 'COMPLETE'"),
        open_cells(path, "surface", "plane", grid(), outcome=()),
    ):
        pass


def test_outcome_may_name_variables(path: Path) -> None:
    with open_cells(path, "surface", "plane", grid(), outcome=("seed",)):
        pass
    with open_cells(path, "surface", "plane", grid(seed=5), outcome=("seed", "status")):
        pass


def test_cells_are_handed_to_the_disk_when_the_block_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    monkeypatch.setattr(np.memmap, "flush", lambda mapped: flushed.append(mapped.shape))
    with open_cells(path, "surface", "plane", grid()):
        assert flushed == []
    assert flushed == [GRID, GRID]


def test_writing_after_the_block_is_refused(path: Path) -> None:
    with open_cells(path, "surface", "plane", grid()) as cells:
        pass
    with pytest.raises(ValueError, match="read-only"):
        cells.finish((0, 0), loss=1.0)


@pytest.mark.parametrize(
    ("cells", "done", "message"),
    [
        (("los",), "done", r"no variable 'los' to fill; it has \['done', 'loss', 'seed', 'x', 'y'\]"),
        (("loss",), "finished", "no variable 'finished' to fill"),
        (
            ("seed",),
            "done",
            "variable 'seed' must be boolean or floating-point, where NaN marks what is not computed; got dtype int",
        ),
        (("loss",), "loss", "variable 'loss' must be boolean; got dtype float64|must be floating-point"),
    ],
)
def test_what_cannot_be_filled(path: Path, cells: tuple[str, ...], done: str, message: str) -> None:
    with pytest.raises(ValueError, match=message), open_cells(path, "surface", "plane", grid(), cells, done):
        pass
    assert not path.exists()


def test_cells_stored_in_pieces_are_refused(path: Path) -> None:
    """A file of another program may hold the numbers compressed; mapping it would destroy it."""
    fill(path)
    with h5py.File(path, "r+") as file:
        group = file["surface/plane"]
        numbers = group["loss"][()]
        del group["loss"]
        loss = group.create_dataset("loss", data=numbers, compression="gzip")
        for axis, dim in enumerate("xy"):
            loss.dims[axis].attach_scale(group[dim])
    with (
        pytest.raises(SchemaError, match="holds surface/plane/loss in pieces, not as this version writes it"),
        open_cells(path, "surface", "plane", grid()),
    ):
        pass


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize("second", ["write", "create", "cells"])
def test_second_writer_gets_one_clear_error_and_nothing_is_lost(path: Path, second: str) -> None:
    """Fails if the lock is not held while the cells are open, or is lost when a second process asks for it."""
    opened, close = CHILDREN.Event(), CHILDREN.Event()
    child = CHILDREN.Process(target=hold_cells, args=(path, opened, close))
    child.start()
    try:
        assert opened.wait(30)
        with pytest.raises(RuntimeError, match=r"^another writer is at work on .*run\.h5 \(it holds .*\); write again"):
            _second_writer(path, second)
        assert list_measurements(path) == ["surface/plane"]  # reading goes on meanwhile
    finally:
        close.set()
        child.join()
    write(path, "noise", "a", every_form())
    assert list_measurements(path) == ["surface/plane", "noise/a"]
    assert read(path, "surface/plane").variables["loss"].data[0, 1] == 5.0


@pytest.mark.usefixtures("short_wait")
def test_the_same_process_is_a_second_writer_too(path: Path) -> None:
    with open_cells(path, "surface", "plane", grid()), pytest.raises(RuntimeError, match="another writer is at work"):
        _second_writer(path, "write")


def _second_writer(path: Path, second: str) -> None:
    if second == "write":
        write(path, "noise", "a", every_form())
    elif second == "create":
        create(path, {})
    else:
        with open_cells(path, "surface", "plane", grid()):
            pass


def test_the_lock_is_given_back_after_an_exception(path: Path) -> None:
    def interrupted() -> None:
        with open_cells(path, "surface", "plane", grid()) as cells:
            cells.finish((0, 0), loss=1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with open_cells(path, "surface", "plane", grid()) as cells:
        assert cells.done.sum() == 1
