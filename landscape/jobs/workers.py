"""Run tasks in a few processes of their own, relay what they show, and stop them all at any moment.

Small networks gain little from a second thread and everything from a second process. A process may be killed at any
moment because every file is written so that a kill loses at most the step being computed. Right when each task is run
once, one whose process was killed goes on in another process, and nothing is left running afterwards
(`tests/landscape/jobs/test_workers.py`).
Costs: starting a process, about 2 s each, most of it the import of torch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from landscape.errors import FAILED, WRONG_USAGE, exit_status, one_line
from landscape.progress import Display

# Called with a task and a display in a process of its own; must be a function of a module, so that it can be sent.
Work = Callable[[Any, Display], Any]
# Our choice: once may be an accident, and what is killed each time will not fit the next time either.
MOST_DEATHS = 3


class Watcher(Protocol):
    """Told what goes on in the tasks, each named by its index."""

    def progress(self, index: int, text: str, done: float, total: float) -> None:
        """Hear how far the stage `text` of a task is."""

    def finished(self, index: int, title: str, seconds: float) -> None:
        """Hear that a stage of a task is done."""

    def end(self, index: int, result: Any) -> None:
        """Hear that a task is done, and what came of it."""

    def died(self, index: int) -> None:
        """Hear that the process of a task was killed."""


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    work: Work,
    tasks: Sequence[Any],
    num_workers: int,
    watcher: Watcher,
    place: Callable[[Any, int], Any] | None = None,
) -> list[Any]:
    """Run each task once, in the given order, as many at a time as there are workers.

    Args:
        work: Function of a module, called as work(task, display).
        tasks: What can be pickled.
        num_workers: Processes, at least 1, of one thread each, so that their number changes no result.
        watcher: Told what goes on.
        place: Called as place(task, number of the process, from 0); gives the task to send.

    Returns:
        What came of each task; None where its process was killed three times.

    Raises:
        ValueError: A task raised a mistake in what was given; all others are stopped.
        RuntimeError: A task raised another error, or no process can be started; all others are stopped.
    """
    with _Pool(work, tasks, watcher, place or (lambda task, _: task)) as pool:
        pool.run(num_workers)
        return pool.results


class _Pool:
    """The processes, who does what, and what came of it."""

    def __init__(self, work: Work, tasks: Sequence[Any], watcher: Watcher, place: Callable[[Any, int], Any]) -> None:
        self._work, self._tasks, self._watcher, self._place = work, tasks, watcher, place
        self._context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        self._waiting = deque(range(len(tasks)))
        self._deaths = [0] * len(tasks)
        self._processes: dict[int, BaseProcess] = {}
        self._busy: dict[Connection, tuple[int, int]] = {}  # number of the process, index of its task
        self._ready: set[int] = set()
        self.results: list[Any] = [None] * len(tasks)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        started = [process for process in self._processes.values() if process.pid is not None]
        for process in started:
            process.terminate()
        for process in started:
            process.join()

    def run(self, num_workers: int) -> None:
        for number in range(min(num_workers, len(self._tasks))):
            self._start(number)
        while self._busy:
            for connection in wait(list(self._busy)):
                self._hear(connection)  # type: ignore[arg-type]

    def _start(self, number: int) -> None:
        """Start a process, and give it a task."""
        ours, theirs = self._context.Pipe()
        process: BaseProcess = self._context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        self._processes[number] = process
        self._ready.discard(number)
        with _interrupt_withheld():
            process.start()
        theirs.close()  # so that a dead worker ends the pipe
        self._give(ours, number)

    def _give(self, connection: Connection, number: int) -> None:
        index = self._waiting.popleft()
        self._busy[connection] = (number, index)
        with suppress(BrokenPipeError):  # it is dead already, which the next message tells
            connection.send(self._place(self._tasks[index], number))

    def _hear(self, connection: Connection) -> None:
        number, index = self._busy[connection]
        try:
            kind, *rest = connection.recv()
        except (EOFError, OSError):  # the second where it was killed within a message
            self._bury(connection)
            return
        if kind == "ready":
            self._ready.add(number)
        elif kind == "progress":
            self._watcher.progress(index, *rest)
        elif kind == "finished":
            self._watcher.finished(index, *rest)
        elif kind == "failed":
            _raise(*rest)
        else:
            self.results[index] = rest[0]
            self._watcher.end(index, rest[0])
            del self._busy[connection]
            if self._waiting:
                self._give(connection, number)

    def _bury(self, connection: Connection) -> None:
        """Go on with the task of a dead process in a new one."""
        number, index = self._busy.pop(connection)
        connection.close()
        self._processes[number].join()  # gone for good, and its locks with it
        if number not in self._ready:
            raise RuntimeError(
                "a worker process ended before it began; what it wrote above says why. A script that starts a study "
                'needs: if __name__ == "__main__"'
            )
        self._watcher.died(index)
        self._deaths[index] += 1
        if self._deaths[index] < MOST_DEATHS:
            self._waiting.appendleft(index)
        if self._waiting:
            self._start(number)


@contextmanager
def _interrupt_withheld() -> Iterator[None]:
    """Let a process that is started here never see Ctrl-C: it inherits the mask, while ours is given back."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _raise(status: int | None, text: str) -> None:
    if status == WRONG_USAGE:
        raise ValueError(text)
    if status == FAILED:
        raise RuntimeError(text)
    raise AssertionError(f"in a worker process:\n{text}")  # a bug: it traces back


def _serve(connection: Connection, work: Work) -> None:
    """Work off tasks until the pipe ends; Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch  # here, because this is the one function that runs in the worker

    torch.set_num_threads(1)
    relay = _Relay(connection)
    try:
        connection.send(("ready",))
        while True:
            task = connection.recv()
            try:
                result = work(task, relay)
            except BrokenPipeError:
                return
            except Exception as error:
                status = exit_status(error)
                connection.send(("failed", status, traceback.format_exc() if status is None else one_line(error)))
                return
            connection.send(("end", result))
    except (EOFError, OSError):
        return  # the parent is done, or gone


class _Relay(Display):
    """Send to the parent how far the task is; what was skipped is not worth a line among many runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def finished(self, title: str, seconds: float) -> None:
        self._connection.send(("finished", title, seconds))

    def update(self, task: str, text: str, done: float, total: float) -> None:  # noqa: ARG002
        self._connection.send(("progress", text, done, total))
