"""Lists of jobs: what fails, what is found done, two calls at a time, and every place gives the same numbers.

The numbers themselves are tested in `analysis`; here those made in one place are compared bit for bit with those made
in another.
"""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import landscape.jobs.attempts
from landscape.jobs.attempts import Outcome, Task, attempt
from landscape.jobs.executors import Where, num_jobs, runner
from landscape.jobs.folder import failure_of, holding
from landscape.jobs.job import Job
from landscape.jobs.running import run_jobs
from landscape.options import Device
from landscape.progress import Display
from tests.landscape.recorder import Recorder
from tests.landscape.tiny_jobs import assert_same_numbers, tiny

CPU = {"device": Device.CPU}
SERIAL = Where(**CPU, executor="serial")
DONE = Outcome("finished")


def placed(jobs: list[Job], folder: Path) -> list[tuple[Job, Path]]:
    return [(job, folder / job.name) for job in jobs]


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do two measured jobs in this process; their folders."""
    folder = tmp_path_factory.mktemp("serial")
    pairs = placed([tiny("sgd", measured=True), tiny("gcsam", measured=True)], folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run_jobs(pairs, SERIAL, Display()) == [DONE] * 2
        assert torch.get_num_threads() == 2  # given back
    finally:
        torch.set_num_threads(threads)
    return folder


def own_pool() -> Executor:
    """Return an executor of the user's; named on the command line."""
    return ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [Where(**CPU, jobs=1), Where(**CPU, jobs=2), Where(**CPU, executor="tests.landscape.jobs.test_running:own_pool")],
    ids=["one process", "two processes", "an executor of ones own"],
)
def test_every_place_gives_the_same_numbers(where: Where, serial: Path, tmp_path: Path) -> None:
    pairs = placed([tiny("sgd", measured=True), tiny("gcsam", measured=True)], tmp_path)
    assert run_jobs(pairs, where, Display()) == [DONE] * 2
    for job, folder in pairs:
        assert_same_numbers(folder, serial / job.name)


def test_one_that_fails_stops_no_other_and_is_tried_again_on_demand_alone(tmp_path: Path) -> None:
    diverging, shown = tiny("sgd", 1, lr=1e30, model="cnn"), Recorder()
    pairs = placed([diverging, tiny("sgd", 2)], tmp_path)
    failed, finished = run_jobs(pairs, SERIAL, shown)
    assert finished == DONE
    assert failed.state == "failed"
    assert failed.reason.startswith("training diverged: ")
    path = tmp_path / "sgd-seed1" / "failure.txt"
    assert failure_of(path.parent) == failed.reason
    assert "TrainingDiverged" in path.read_text(encoding="utf-8")
    assert [note for note in shown.notes if "failed" in note] == [f"run 1 of 2 (sgd, seed 1): failed: {failed.reason}"]
    before = path.stat().st_mtime_ns
    assert run_jobs(pairs, SERIAL, shown) == [failed, finished]
    assert path.stat().st_mtime_ns == before
    path.write_text("made up", encoding="utf-8")
    again = Recorder()
    assert run_jobs(pairs, Where(**CPU, executor="serial", retry=True), again) == [failed, finished]
    assert again.notes[0] == "1 of 2 runs were finished before"
    assert failure_of(path.parent) == failed.reason  # written anew
    more = Recorder()
    run_jobs([*pairs, *placed([tiny("sgd", 3)], tmp_path)], SERIAL, more)
    assert more.notes == [
        "1 of 3 runs were finished before",
        "1 of 3 runs failed before; --retry does them again",
    ]


def test_a_retry_that_goes_well_leaves_no_failure(tmp_path: Path) -> None:
    ((_, folder),) = pairs = placed([tiny("sgd")], tmp_path)
    folder.mkdir()
    (folder / "failure.txt").write_text("the disk was full\n", encoding="utf-8")
    assert run_jobs(pairs, SERIAL, Display()) == [Outcome("failed", "the disk was full")]
    assert run_jobs(pairs, Where(**CPU, executor="serial", retry=True), Display()) == [DONE]
    assert failure_of(folder) == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_one_that_is_stopped_is_not_failed(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if Ctrl-C, or a parent that is gone, leaves runs that need --retry."""

    def stopped(*_: object) -> None:
        raise error

    monkeypatch.setattr(landscape.jobs.attempts, "do_job", stopped)
    with pytest.raises(error):
        attempt(Task(tiny("sgd"), tmp_path, "cpu"))
    assert failure_of(tmp_path) == ""
    with holding(tmp_path):
        pass  # nothing holds it any more


def test_a_run_that_another_process_is_at_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if two write into one file, or if what the other one leaves is never done."""
    monkeypatch.setattr("landscape.jobs.running.POLL_SECONDS", 0.01)
    begun: list[str] = []
    monkeypatch.setattr(landscape.jobs.attempts, "do_job", lambda job, *_: begun.append(job.name))
    pairs, shown = placed([tiny("sgd"), tiny("gc")], tmp_path), Recorder()
    found: list[Outcome] = []
    with holding(pairs[0][1]):
        assert attempt(Task(*pairs[0], "cpu")).state == "busy"
        other = threading.Thread(target=lambda: found.extend(run_jobs(pairs, SERIAL, shown)))
        other.start()
        other.join(0.5)
        assert begun == ["gc-seed0"]  # it goes on with the others meanwhile
        assert other.is_alive()
    other.join(60)
    assert begun == ["gc-seed0", "sgd-seed0"]
    assert found == [DONE] * 2
    assert [note for note in shown.notes if "waiting" in note] == [
        "run 1 of 2 (sgd, seed 0): another process is at work on it; waiting for it"
    ]


def test_jobs_of_one_process_never_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if two jobs draw from torch's one stream of random numbers at a time, as in a worker of several threads."""
    together, most = [0], [0]
    pause = threading.Event()

    def slow(*_: object) -> None:
        together[0] += 1
        most[0] = max(most[0], together[0])
        pause.wait(0.1)
        together[0] -= 1

    monkeypatch.setattr(landscape.jobs.attempts, "do_job", slow)
    tasks = [Task(tiny("sgd", seed), tmp_path / str(seed), "cpu") for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(attempt, tasks)) == [DONE] * 3
    assert most == [1]


class Losing(Executor):
    """Loses the first job, as a pool does whose process was killed, and takes no further one."""

    def __init__(self) -> None:
        self.taken = 0

    def submit(self, function: Any, /, *arguments: Any, **rest: Any) -> Future[Any]:
        self.taken += 1
        if self.taken > 1:
            raise RuntimeError("cannot schedule new futures")
        future: Future[Any] = Future()
        future.set_exception(RuntimeError("a process was terminated\nabruptly"))
        return future


def test_what_an_executor_loses_is_stopped_and_not_failed(tmp_path: Path) -> None:
    pairs, shown = placed([tiny("sgd"), tiny("gc")], tmp_path), Recorder()
    found = run_jobs(pairs, Where(**CPU, executor=Losing()), shown)
    assert found == [
        Outcome("stopped", "the executor lost it (RuntimeError: a process was terminated abruptly)"),
        Outcome("stopped", "the executor lost it (RuntimeError: cannot schedule new futures)"),
    ]
    assert not list(tmp_path.rglob("failure.txt"))


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        (
            "proces",
            "^--executor proces: is unknown; give process, serial, dask://HOST:PORT or package.module:function$",
        ),
        ("dask://here", "^--executor dask://here: is unknown; give "),
        ("dask:8786", "^--executor dask:8786: is unknown; give "),
        ("none_such:pool", "^--executor none_such:pool: no module 'none_such'"),
        ("tests.landscape.tiny_jobs:tiny", "^--executor tests.landscape.tiny_jobs:tiny: calling it failed"),
        ("builtins:dict", "^executor must be one of concurrent.futures, got dict; give "),
        ("builtins:str", "^--executor builtins:str: must return an executor, but returned str$"),
        (3, "^executor must be one of concurrent.futures, got int; give "),
        (float("nan"), "^executor must be one of concurrent.futures, got float; give "),
    ],
)
def test_what_is_no_executor_is_refused_in_one_line(executor: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        run_jobs(placed([tiny("sgd")], tmp_path), Where(**CPU, executor=executor), Display())


def test_threads_are_refused(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError, match=r"threads cannot .* one stream of random"):
        run_jobs(placed([tiny("sgd")], tmp_path), Where(**CPU, executor=threads), Display())


def test_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each core, at most eight; on CUDA one for each device."""
    monkeypatch.setattr("landscape.jobs.executors.num_cores", lambda: 20)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert (num_jobs(None, "cpu"), num_jobs(5, "cpu"), num_jobs(None, "cuda"), num_jobs(6, "cuda")) == (8, 5, 3, 6)


def test_devices_are_told_apart_by_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fails if every process of several GPUs takes the first."""
    given: list[Task] = []

    def keep(work: object, tasks: list[Task], count: int, watcher: object, place: Any) -> list[Outcome]:
        given.extend(place(task, number) for number, task in enumerate(tasks))
        return [DONE] * len(tasks)

    monkeypatch.setattr("landscape.jobs.executors.run_tasks", keep)
    with runner(Where(jobs=2), tmp_path, Display()) as run:
        run([Task(tiny("sgd"), tmp_path, "cuda"), Task(tiny("gc"), tmp_path, "cuda")], None)  # type: ignore[arg-type]
    assert [task.gpu for task in given] == [0, 1]
