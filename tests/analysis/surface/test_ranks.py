"""Scans of two processes against those of one, bit for bit; one of them writes.

The oracle is the scan of one process, which has tests against closed forms of its own.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import analysis
from analysis import bezier_path, curvature_map, linear_path, loss_surface
from tests.analysis.surface import parallel
from tests.analysis.surface.test_path import normed
from tests.processes import in_two_processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def both(folder: Path) -> list[Any]:
    return in_two_processes(partial(parallel.work, folder=str(folder)), folder)


@pytest.mark.distributed
@pytest.mark.parametrize("name", parallel.SURFACES)
def test_a_plane_on_two_processes_is_the_plane_on_one(name: str, both: list[Any], folder: Path) -> None:
    """Fails if a cell is computed elsewhere than it is stored, or a process returns its own part only."""
    torch.set_num_threads(1)
    alone = loss_surface(parallel.objective(), **parallel.SURFACES[name])
    assert both[0][name] == both[1][name] == alone == analysis.load(folder / "run.h5", name)


@pytest.mark.distributed
def test_maps_and_paths_too(both: list[Any]) -> None:
    objective, start, end = normed("recalibrate")
    alone = {
        "map": curvature_map(parallel.objective(), points=2),
        "linear": linear_path(objective, start, end, points=6),
        "bezier": bezier_path(objective, start, end, points=4, steps=7),
    }
    for name, expected in alone.items():
        assert both[0][name] == both[1][name] == expected


@pytest.mark.distributed
def test_a_stopped_scan_goes_on_with_what_the_file_holds(both: list[Any]) -> None:
    """Fails if the second process begins anew, or cells are handed out twice."""
    assert both[0]["calls"] == both[1]["calls"] == [1, 2, 3, 4, 5, 6]
    assert both[0]["resumed"] == both[1]["resumed"] == loss_surface(parallel.objective(), points=4)


@pytest.mark.distributed
@pytest.mark.parametrize("what", ["weights", "data"])
def test_processes_with_different_networks_or_data_are_refused(what: str, both: list[Any]) -> None:
    for found in both:
        assert found[f"other {what}"].startswith(f"all processes must scan the same {what}, and process 1 has another")


def test_without_a_process_group_there_is_one_line() -> None:
    with pytest.raises(RuntimeError, match="distributed=True needs a process group: start by torchrun"):
        loss_surface(parallel.objective(), points=2, distributed=True)
