"""Do a job once, wherever it was sent: alone in its folder, with one thread, and whatever happens told in a line.

This is the one function that any executor is given. Right when a failing job leaves its traceback beside its files, a
stopped one leaves nothing, and jobs sent to threads of one process do not mix their random numbers
(`tests/landscape/jobs/test_running.py`). Cost: that of the job.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landscape.jobs.folder import FAILURE_FILE, Busy, check_folder, failure_of, holding, write_failure, write_note
from landscape.jobs.job import Job, do_job
from landscape.progress import Display

# torch has one stream of random numbers for a process: two jobs at a time would draw from each other's.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Task:
    """A job with its place; plain data.

    Args:
        job: What to do.
        folder: Of the run; absolute where another process does it.
        device: "auto", "cpu" or "cuda", resolved where the job is done.
        gpu: Which CUDA device, modulo how many there are; None takes the current one.
        retry: Whether to try again what failed before.
    """

    job: Job
    folder: Path
    device: str
    gpu: int | None = None
    retry: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a job; plain data.

    Args:
        state: "finished"; "failed", which is not tried again by itself; "stopped" from outside, which is; or "busy":
            another process was at it.
        reason: For any but the first, on one line.
    """

    state: Literal["finished", "failed", "stopped", "busy"]
    reason: str = ""


def attempt(task: Task, shown: Display | None = None) -> Outcome:
    """Do what of a job is not done yet.

    With one thread whatever the number of cores, because the order in which threads add decides the last bits.

    Args:
        task: Which one, and where.
        shown: Told how far it is.

    Returns:
        What became of it. A failure is also written into the folder.

    Raises:
        ConnectionError: Whoever wanted to be told how far it is, is gone.
    """
    try:
        with _ONE_AT_A_TIME, holding(task.folder):
            return _held(task, Display() if shown is None else shown)
    except Busy as error:
        return Outcome("busy", str(error))


def _held(task: Task, shown: Display) -> Outcome:
    try:
        check_folder(task.job, task.folder)
        if not task.job.remaining(task.folder):
            return Outcome("finished")
    except ValueError as error:  # somebody else's work: nothing is written beside it
        return Outcome("failed", str(error))
    if not task.retry and (reason := failure_of(task.folder)):
        return Outcome("failed", reason)
    (task.folder / FAILURE_FILE).unlink(missing_ok=True)
    write_note(task.job, task.folder)
    try:
        with _place(task) as device:
            do_job(task.job, task.folder, device, shown)
    except ConnectionError:
        raise
    except Exception as error:
        return Outcome("failed", write_failure(task.folder, error))
    return Outcome("finished")


@contextmanager
def _place(task: Task) -> Iterator[str]:
    """Make the task's device the current one, with one thread; then as before."""
    import torch

    from gcsam.training.config import resolve_device

    device = resolve_device(task.device).type
    chosen: AbstractContextManager[object] = nullcontext()
    if device == "cuda" and task.gpu is not None:
        chosen = torch.cuda.device(task.gpu % torch.cuda.device_count())
    with chosen, one_thread():
        yield device


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, as every run of a study does, and afterwards with as many as before."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
