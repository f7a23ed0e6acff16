"""A study on a Dask cluster: two worker processes, one killed in the middle of a run, and what is refused.

A real cluster on this machine; what it cannot show is a file system shared by several machines.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import landscape.jobs.cluster
from analysis.store import list_measurements
from landscape.jobs.attempts import Outcome
from landscape.jobs.cluster import connected, look
from landscape.jobs.executors import Where
from landscape.jobs.running import run_jobs
from landscape.options import Device
from landscape.progress import Display
from tests.landscape.recorder import Recorder
from tests.landscape.tiny_jobs import assert_same_numbers, tiny

distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
pytestmark = pytest.mark.distributed

JOBS = [tiny("sgd", epochs=25), tiny("gc"), tiny("sam")]  # the first long enough to be found in the middle


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Start a cluster of two worker processes, which are replaced when they die; its address."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options, local_directory=str(tmp_path / "dask")) as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://")


def kill_in_the_middle(folder: Path, killed: list[int]) -> None:
    """Kill the process that trains in a folder, once an epoch is done."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not killed:
        if (folder / "checkpoint.pt").is_file() and not (folder / "run.h5").is_file():
            by = json.loads((folder / "job.json").read_text(encoding="utf-8"))["by"]
            os.kill(int(by.split()[-1]), signal.SIGKILL)
            killed.append(int(by.split()[-1]))
        time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_changes_no_number(address: str, tmp_path: Path) -> None:
    there, here, shown = tmp_path / "there", tmp_path / "here", Recorder()
    pairs = [(job, there / job.name) for job in JOBS]
    killed: list[int] = []
    killer = threading.Thread(target=kill_in_the_middle, args=(pairs[0][1], killed))
    killer.start()
    outcomes = run_jobs(pairs, Where(Device.CPU, executor=address), shown)
    killer.join()
    assert outcomes == [Outcome("finished")] * len(JOBS)
    assert f"{address}: 2 workers" in shown.notes
    assert len(killed) == 1
    last = json.loads((pairs[0][1] / "job.json").read_text(encoding="utf-8"))["by"]
    assert int(last.split()[-1]) != killed[0]  # another process went on with it
    run_jobs([(job, here / job.name) for job in JOBS], Where(Device.CPU, executor="serial"), Display())
    for job, folder in pairs:
        assert list_measurements(folder / "run.h5") == ["training/history", "training/summary"]
        assert_same_numbers(folder, here / job.name)
    assert not list(there.glob(".seen*"))


def test_a_cluster_that_differs_is_refused(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if runs are mixed that were made by two versions of the code."""
    with monkeypatch.context() as here:
        here.setattr(landscape.jobs.cluster, "_code", lambda: "0123456789ab")
        message = r"^--executor dask://.*: worker tcp://.* has code \w{12}, here 0123456789ab; its numbers may differ"
        with pytest.raises(ValueError, match=message), connected(address, tmp_path, Display()):
            pass
    private = {**look(__file__), "sees": "what no worker sees"}
    monkeypatch.setattr(landscape.jobs.cluster, "look", _Pair(private))
    message = rf"^--executor dask://.*: worker tcp://.* does not see {tmp_path}; give an --output on a shared"
    with pytest.raises(ValueError, match=message), connected(address, tmp_path, Display()):
        pass


class _Pair:
    """Answers here what it was given, and on a worker what is true there."""

    def __init__(self, here: dict[str, str]) -> None:
        self._here, self._pid = here, os.getpid()

    def __call__(self, token: str) -> dict[str, str]:
        return self._here if os.getpid() == self._pid else look(token)


def test_no_cluster_and_no_worker_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landscape.jobs.cluster, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(landscape.jobs.cluster, "WORKER_SECONDS", 0.5)
    with (
        pytest.raises(ValueError, match=r"^--executor dask://127\.0\.0\.1:1: no scheduler answers; start one: dask "),
        connected("dask://127.0.0.1:1", tmp_path, Display()),
    ):
        pass
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        message = rf"^--executor {address}: the cluster has no worker; start some: dask worker tcp://.* --nthreads 1$"
        with pytest.raises(ValueError, match=message), connected(address, tmp_path, Display()):
            pass


def test_without_dask_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    message = r"^--executor dask://a:1: needs dask; pip install 'gcsam-landscape\[cluster\]'$"
    with pytest.raises(ValueError, match=message), connected("dask://a:1", tmp_path, Display()):
        pass
