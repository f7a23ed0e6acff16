"""Run tasks in a few processes of their own, relay what they show, and stop them all at any moment.

Small networks gain little from a second thread and everything from a second process. A process may be killed at any
moment because every file is written so that a kill loses at most the step being computed. Right when each task is run
once, a failing task ends the others, and nothing is left running afterwards (`tests/landscape/test_workers.py`).
Costs: starting a process, about 2 s each, most of it the import of torch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from landscape.errors import FAILED, WRONG_USAGE, exit_status, one_line
from landscape.progress import Display

# Called with a task and a display in a process of its own; must be a function of a module, so that it can be sent.
Work = Callable[[Any, Display], None]


class Watcher(Protocol):
    """Told what goes on in the tasks, each named by its index."""

    def progress(self, index: int, text: str, done: float, total: float) -> None:
        """Hear how far the stage `text` of a task is."""

    def finished(self, index: int, title: str, seconds: float) -> None:
        """Hear that a stage of a task is done."""

    def end(self, index: int) -> None:
        """Hear that a task is done."""


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(work: Work, tasks: Sequence[Any], num_workers: int, watcher: Watcher) -> None:
    """Run each task once, in the given order, as many at a time as there are workers.

    Args:
        work: Function of a module, called as work(task, display).
        tasks: What can be pickled.
        num_workers: Processes, at least 1, of one thread each, so that their number changes no result.
        watcher: Told what goes on.

    Raises:
        ValueError: A task failed by a mistake in what was given; all others are stopped.
        RuntimeError: A task failed otherwise, or its process died; all others are stopped.
    """
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    waiting = list(enumerate(tasks))
    busy: dict[Connection, int] = {}
    processes: list[BaseProcess] = []
    try:
        for _ in range(min(num_workers, len(tasks))):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
            processes.append(process)
            with _interrupt_withheld():
                process.start()
            theirs.close()  # so that a dead worker ends the pipe
            busy[ours] = _give(ours, waiting)
        while busy:
            for connection in wait(list(busy)):
                _hear(connection, busy, waiting, watcher)  # type: ignore[arg-type]
    finally:
        started = [process for process in processes if process.pid is not None]
        for process in started:
            process.terminate()
        for process in started:
            process.join()


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


def _give(connection: Connection, waiting: list[tuple[int, Any]]) -> int:
    index, task = waiting.pop(0)
    connection.send(task)
    return index


def _hear(
    connection: Connection, busy: dict[Connection, int], waiting: list[tuple[int, Any]], watcher: Watcher
) -> None:
    index = busy[connection]
    try:
        kind, *rest = connection.recv()
    except EOFError:
        raise RuntimeError(
            "a worker process died without a word, perhaps for want of memory; finished work is kept, start again "
            "with --workers 1"
        ) from None
    if kind == "progress":
        watcher.progress(index, *rest)
    elif kind == "finished":
        watcher.finished(index, *rest)
    elif kind == "failed":
        _raise(*rest)
    else:
        watcher.end(index)
        del busy[connection]
        if waiting:
            busy[connection] = _give(connection, waiting)


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
        while True:
            task = connection.recv()
            try:
                work(task, relay)
            except BrokenPipeError:
                return
            except Exception as error:
                status = exit_status(error)
                connection.send(("failed", status, traceback.format_exc() if status is None else one_line(error)))
                return
            connection.send(("end",))
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
