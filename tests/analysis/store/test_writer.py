"""Writing whole, one writer at a time. The oracle for a kill is a killed process; files are looked at with h5py."""

from __future__ import annotations

import os
import random
import stat
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.store import Measurement, SchemaError, Variable, create, list_measurements, read, read_attributes, write
from tests.analysis.store.samples import CHILDREN, constant, every_form, write_in_child


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def test_create_keeps_what_is_given_and_adds_what_is_required(path: Path) -> None:
    create(path, {"config": '{"rho": 1}', "note": "x" * 200_000})  # longer than an HDF5 header may be
    attributes = read_attributes(path)
    assert attributes["config"] == '{"rho": 1}'
    assert attributes["note"] == "x" * 200_000
    assert attributes["schema_version"] == "1"
    assert attributes["library_versions"].startswith("{")


def test_create_refuses_to_replace(path: Path) -> None:
    create(path, {})
    with pytest.raises(FileExistsError, match=r"run\.h5 exists; write\(\) adds a measurement"):
        create(path, {})


@pytest.mark.parametrize("writer", [lambda path: create(path, {}), lambda path: write(path, "noise", "a", constant(1))])
def test_missing_folder(tmp_path: Path, writer) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing to write run\.h5 in; make it first"):
        writer(tmp_path / "missing" / "run.h5")


def test_replacing_one_keeps_the_others(path: Path) -> None:
    create(path, {"config": "mine"})
    write(path, "noise", "kept", every_form())
    write(path, "noise", "replaced", every_form())
    write(path, "noise", "replaced", constant(2.0))
    assert read(path, "noise/kept") == every_form()
    assert read(path, "noise/replaced") == constant(2.0)
    assert read_attributes(path)["config"] == "mine"


def test_replacing_often_does_not_grow_the_file(path: Path) -> None:
    """Fails if the old numbers stay in the file: twenty would be 20 * 400 kB."""
    write(path, "noise", "replaced", constant(0.0))
    size = path.stat().st_size
    for number in range(20):
        write(path, "noise", "replaced", constant(number))
    assert path.stat().st_size < 1.5 * size  # HDF5 keeps about 4 kB of headers each time


@pytest.mark.parametrize("kind", ["accuracy", "", "noise/raw"])
def test_unknown_kind(path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match=f"kind must be one of training, curvature, .* got '{kind}'"):
        write(path, kind, "a", Measurement(""))


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", ".hidden"])
def test_bad_name(path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="a measurement needs a name without '/'"):
        write(path, "noise", name, Measurement(""))


ONE = Variable(np.zeros(1), ("n",))
SCALAR = Variable(np.asarray(1.0))
NESTED = Measurement("")
CONTRADICTIONS = {
    r"dimension 'n' has length 1, but 2 in 'b'": {"variables": {"a": ONE, "b": Variable(np.zeros(2), ("n",))}},
    r"variable 'n' has the name of a dimension, but dims \(\)": {"variables": {"a": ONE, "n": SCALAR}},
    r"variable 'n' has the name of a dimension, but dims \('n', 'm'\)": {
        "variables": {"n": Variable(np.zeros((1, 1)), ("n", "m"))}
    },
    r"group 'n' has the name of a variable or dimension": {"variables": {"a": ONE}, "groups": {"n": NESTED}},
    r"group 'a' has the name of a variable or dimension": {"variables": {"a": ONE}, "groups": {"a": NESTED}},
    r"a variable needs a name without '/'.*'a/b'": {"variables": {"a/b": SCALAR}},
    r"a dimension needs a name without '/'.*'a/b'": {"variables": {"a": Variable(np.zeros(1), ("a/b",))}},
    r"a group needs a name without '/'.*''": {"groups": {"": NESTED}},
    r"attribute 'type' is taken": {"attributes": {"type": "other"}},
    r"variable 'a' must hold numbers, booleans or strings, got dtype complex128": {
        "variables": {"a": Variable(np.asarray(1j))}
    },
    r"variable 'a' of dtype object must hold strings, got NoneType": {
        "variables": {"a": Variable(np.array(["b", None], dtype=object), ("n",))}
    },
}


@pytest.mark.parametrize("message", CONTRADICTIONS)
def test_contradictions_are_refused_and_leave_the_file_as_it_was(path: Path, message: str) -> None:
    write(path, "noise", "a", every_form())
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        write(path, "noise", "a", Measurement("", **CONTRADICTIONS[message]))
    assert path.read_bytes() == before
    write(path, "noise", "b", constant(1.0))  # the refused copy is no obstacle
    assert list_measurements(path) == ["noise/a", "noise/b"]


def test_foreign_files_are_not_touched(path: Path) -> None:
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SchemaError, match="cannot be read as HDF5"):
        write(path, "noise", "a", Measurement(""))
    assert path.read_text() == "a,b\n1,2\n"


def test_the_file_behind_a_link_is_written(tmp_path: Path, path: Path) -> None:
    create(path, {})
    (tmp_path / "link.h5").symlink_to(path)
    write(tmp_path / "link.h5", "noise", "a", constant(1.0))
    assert (tmp_path / "link.h5").is_symlink()
    assert list_measurements(path) == ["noise/a"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX")
def test_file_mode_is_kept(path: Path) -> None:
    create(path, {})
    path.chmod(0o640)
    write(path, "noise", "a", constant(1.0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_reader_keeps_its_file_while_another_is_written(path: Path) -> None:
    """Fails if the file is changed in place: HDF5 would refuse, or the open file would change under the reader."""
    write(path, "noise", "a", constant(1.0))
    with h5py.File(path) as file:
        write(path, "noise", "a", constant(2.0))
        assert file["noise/a/numbers"][0] == 1.0
    assert read(path, "noise/a") == constant(2.0)


def test_only_the_file_and_its_lock_are_left(tmp_path: Path, path: Path) -> None:
    write(path, "noise", "a", constant(1.0))
    assert {entry.name for entry in tmp_path.iterdir()} <= {"run.h5", ".run.h5.lock"}


def test_the_data_are_on_the_disk_before_the_name_points_at_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(path, {})
    calls = []
    fsync, put_in_place = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "data")
        fsync(descriptor)

    def watched_replace(source: Path, target: Path) -> None:
        calls.append("name")
        put_in_place(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write(path, "noise", "a", constant(1.0))
    assert calls == (["data", "name", "folder"] if os.name == "posix" else ["data", "name"])


def test_kill_leaves_the_old_or_the_new_file(path: Path) -> None:
    """Fails if the file is written in place: a kill within a write then leaves one that does not open."""
    write(path, "noise", "kept", every_form())
    moments = random.Random(5)
    seen = set()
    for attempt in range(20):
        started, written = CHILDREN.Event(), CHILDREN.Event()
        child = CHILDREN.Process(target=write_in_child, args=(path, started, written))
        child.start()
        assert (written if attempt % 2 else started).wait(30)  # half of the kills come after a whole write
        time.sleep(moments.uniform(0.0, 0.04))
        child.kill()
        child.join()
        assert read(path, "noise/kept") == every_form()
        if "noise/replaced" in list_measurements(path):
            numbers = read(path, "noise/replaced").variables["numbers"].data
            assert len(numbers) == 50_000
            assert len(set(numbers.tolist())) == 1
            seen.add(numbers[0])
    assert seen
    write(path, "noise", "replaced", constant(-1.0))
    assert read(path, "noise/replaced") == constant(-1.0)
