"""Where the runs of a study are done: in processes of our own, in this one, or by any executor of `concurrent.futures`.

Whoever does them, each run has one thread and its folder to itself, so that the place changes no number but the times.
Right when a run file made here equals the one made by a pool, by processes of the user's own and by a Dask cluster, in
every number (`tests/landscape/jobs/test_running.py`, `test_cluster.py`). Cost: starting the processes, about 2 s each.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from landscape.errors import one_line
from landscape.jobs.attempts import Outcome, Task, attempt
from landscape.jobs.workers import MOST_DEATHS, Watcher, num_cores, run_tasks
from landscape.options import Device
from landscape.progress import Display

# Beyond this many processes memory, not time, is what runs out first; our choice.
MOST_JOBS = 8
PROCESS, SERIAL, DASK = "process", "serial", "dask://"
ALLOWED = "give process, serial, dask://HOST:PORT or package.module:function"

Runner = Callable[[Sequence[Task], Watcher], list[Outcome]]


@dataclass(frozen=True)
class Where:
    """How the jobs of a study are done; decides no number but the times.

    Args:
        device: Where to compute.
        jobs: At a time, where the processes are our own. None: one for each core, at most 8; on CUDA one for each
            device.
        executor: "process" (processes of our own), "serial" (this one), "dask://HOST:PORT" (a cluster that is
            running), "package.module:function" (called without arguments, returns an executor), or an executor.
        retry: Whether to try again what failed before.
    """

    device: Device = Device.AUTO
    jobs: int | None = None
    executor: str | Executor = PROCESS
    retry: bool = False


def check_executor(executor: str | Executor) -> None:
    """Refuse what is no executor, before anything is done.

    Args:
        executor: As in `Where`.

    Raises:
        ValueError: It is none, or one of threads.
    """
    if isinstance(executor, ThreadPoolExecutor):
        raise ValueError(
            "an executor of threads cannot do several runs at a time, because torch has one stream of random numbers "
            "for a process; give a ProcessPoolExecutor, or serial"
        )
    if isinstance(executor, str):
        is_named = executor in {PROCESS, SERIAL} or re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", executor)
        if not is_named and not re.fullmatch(r"dask://(\[[\da-fA-F:]+\]|[^/:\s]+):\d+", executor):
            raise ValueError(f"--executor {executor}: is unknown; {ALLOWED}")
    elif not isinstance(executor, Executor):
        raise ValueError(f"executor must be one of concurrent.futures, got {type(executor).__name__}; {ALLOWED}")


@contextmanager
def runner(where: Where, folder: Path, shown: Display) -> Iterator[Runner]:
    """Open what does the jobs, and close it afterwards, unless it was given open.

    Args:
        where: Who it is.
        folder: That all have to see.
        shown: Told what the user should know about it.

    Yields:
        A function that does tasks and returns what became of each.

    Raises:
        ValueError: It is none, or cannot be had.
    """
    check_executor(where.executor)
    if not isinstance(where.executor, str):
        yield _submitting(where.executor)
    elif where.executor == PROCESS:
        yield _in_processes(where)
    elif where.executor == SERIAL:
        yield _one_by_one
    elif where.executor.startswith(DASK):
        from landscape.jobs.cluster import connected

        with connected(where.executor, folder, shown) as executor:
            yield _submitting(executor)
    else:
        with _called(where.executor) as executor:
            yield _submitting(executor)


def device_of(where: Where) -> str:
    """Return the device to send with each task: resolved here where the work is done here.

    Args:
        where: Who does it.

    Raises:
        ValueError: It is to be done here, and the device is not there.
    """
    return where.device.resolve() if where.executor in {PROCESS, SERIAL} else where.device.value


def num_jobs(jobs: int | None, device: str) -> int:
    """Return how many runs are done at a time in processes of our own.

    Args:
        jobs: As asked for.
        device: "cpu" or "cuda".
    """
    if jobs is not None:
        return jobs
    if device == "cuda":
        import torch

        return torch.cuda.device_count()
    return min(num_cores(), MOST_JOBS)


def _in_processes(where: Where) -> Runner:
    def run(tasks: Sequence[Task], watcher: Watcher) -> list[Outcome]:
        count = num_jobs(where.jobs, tasks[0].device)
        return [found or _killed() for found in run_tasks(attempt, tasks, count, watcher, _on_gpu)]

    return run


def _on_gpu(task: Task, number: int) -> Task:
    """Give each process a CUDA device of its own, as long as there are enough."""
    return dataclasses.replace(task, gpu=number)


def _killed() -> Outcome:
    reason = f"its process was killed {MOST_DEATHS} times, perhaps for want of memory; try with --jobs 1"
    return Outcome("stopped", reason)


def _one_by_one(tasks: Sequence[Task], watcher: Watcher) -> list[Outcome]:
    found = []
    for index, task in enumerate(tasks):
        found.append(attempt(task, _Told(watcher, index)))
        watcher.end(index, found[-1])
    return found


class _Told(Display):
    """Tell a watcher how far a task is."""

    def __init__(self, watcher: Watcher, index: int) -> None:
        self._watcher, self._index = watcher, index

    def finished(self, title: str, seconds: float) -> None:
        self._watcher.finished(self._index, title, seconds)

    def update(self, task: str, text: str, done: float, total: float) -> None:  # noqa: ARG002
        self._watcher.progress(self._index, text, done, total)


def _submitting(executor: Executor) -> Runner:
    def run(tasks: Sequence[Task], watcher: Watcher) -> list[Outcome]:
        found: dict[int, Outcome] = {}
        futures: dict[Future[Outcome], int] = {}
        try:
            for index, task in enumerate(tasks):
                try:
                    futures[executor.submit(attempt, dataclasses.replace(task, gpu=index))] = index
                except RuntimeError as error:  # broken meanwhile, or shut down
                    found[index] = _lost(error)
                    watcher.end(index, found[index])
            for future in as_completed(futures):
                index = futures[future]
                found[index] = _outcome(future)
                watcher.end(index, found[index])
        finally:
            for future in futures:
                future.cancel()
        return [found[index] for index in range(len(tasks))]

    return run


def _outcome(future: Future[Outcome]) -> Outcome:
    """Return what a job came to; what is raised here is not the job's fault, since `attempt` returns its failures."""
    try:
        return future.result()
    except Exception as error:
        return _lost(error)


def _lost(error: Exception) -> Outcome:
    return Outcome("stopped", f"the executor lost it ({type(error).__name__}: {one_line(error)})".replace(": )", ")"))


@contextmanager
def _called(name: str) -> Iterator[Executor]:
    from gcsam.training.functions import call_with_accepted, find_function

    found = call_with_accepted(find_function(name, "--executor"), {}, f"--executor {name}")
    if isinstance(found, str):
        raise ValueError(f"--executor {name}: must return an executor, but returned str")
    check_executor(found)
    with found as executor:
        yield executor
