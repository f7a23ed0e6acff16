"""`landscape export`: from a run's folder or a result file to an XDMF file; its mistakes. No network is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.store import write
from tests.figures.synthetic import bowl, measurement
from tests.figures.xdmf import load
from tests.landscape.conftest import Done


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "run.h5"
    write(path, "surface", "plane", measurement(**bowl(2.0)))
    return path


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_run_is_exported_beside_its_file(what: str, cli: Callable[..., Done], file: Path) -> None:
    done = cli("export", file if what == "file" else file.parent)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"{file.with_suffix('.xdmf')}\n"
    found = load(file.with_suffix(".xdmf"))["surface/plane"].arrays["loss"]
    np.testing.assert_array_equal(found, bowl(2.0)["loss"][0])


def test_output_is_where_it_was_asked_for(cli: Callable[..., Done], file: Path, tmp_path: Path) -> None:
    done = cli("export", file, "--output", tmp_path / "view.xmf")
    assert (done.status, done.out) == (0, f"{tmp_path / 'view.xmf'}\n")
    assert list(load(tmp_path / "view.xmf")) == ["surface/plane"]
    assert not file.with_suffix(".xdmf").exists()


def test_mistakes_are_one_line(cli: Callable[..., Done], file: Path, tmp_path: Path) -> None:
    write(tmp_path / "line.h5", "surface", "line", measurement(t=([0.0, 1.0], "t"), loss=([1.0, 2.0], "t")))
    for arguments, says in (
        ((file, "--output", tmp_path / "none" / "a.xdmf"), "no folder "),
        ((file, "--output", file), "output must end in .xdmf or .xmf, by which ParaView knows it, got "),
        ((tmp_path / "line.h5",), f"{tmp_path / 'line.h5'} holds no surface, map, block or trajectory for ParaView"),
    ):
        done = cli("export", *arguments)
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith(f"landscape export: {says}")
        assert done.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.xdmf"))
