"""Do a list of jobs, each in its folder, and say what became of each: the one way all runs of a study are done.

May be called several times in one study, for phases that need what the one before has found. Right when finished jobs
are left alone, a failing one stops no other, and two calls at the same time do each job once
(`tests/landscape/jobs/test_running.py`). Cost: that of the jobs; nothing, and no torch, where all are finished.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from landscape.jobs.attempts import Outcome, Task
from landscape.jobs.board import Board
from landscape.jobs.executors import Runner, Where, check_executor, device_of, runner
from landscape.jobs.folder import by, check_folder, failure_of, is_held
from landscape.jobs.job import Job
from landscape.progress import Display

# How often to look whether another process has finished with a run; a look costs opening one file.
POLL_SECONDS = 1.0


def run_jobs(pairs: Sequence[tuple[Job, Path]], where: Where, shown: Display) -> list[Outcome]:
    """Do what of the jobs is not done yet.

    Args:
        pairs: Each job with the folder of its run; no folder twice.
        where: Who does them.
        shown: Told how far they are.

    Returns:
        What became of each, in the order given: "finished", "failed" (now or before) or "stopped".

    Raises:
        ValueError: A folder holds another job, or there is no such executor or device; nothing was begun then.
    """
    check_executor(where.executor)
    pairs = [(job, folder.absolute()) for job, folder in pairs]  # other processes have other working directories
    for job, folder in pairs:
        check_folder(job, folder)
    remaining = [job.remaining(folder) for job, folder in pairs]
    outcomes = [_before(folder, where, left) for left, (_, folder) in zip(remaining, pairs, strict=True)]
    todo = [index for index, outcome in enumerate(outcomes) if outcome is None]
    if todo:
        _say_what_was_before(outcomes, shown)
        device = device_of(where)
        titles = [f"run {index + 1} of {len(pairs)} ({pairs[index][0].title})" for index in todo]
        tasks = [Task(*pairs[index], device, retry=where.retry) for index in todo]
        board = Board(shown, titles, [remaining[index] for index in todo])
        with runner(where, tasks[0].folder.parent, shown) as run:
            for index, outcome in zip(todo, _all_of(tasks, titles, run, board, shown), strict=True):
                outcomes[index] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


def _before(folder: Path, where: Where, remaining: Mapping[str, float]) -> Outcome | None:
    """Return what became of a job before, None for one that is to be done."""
    if not remaining:
        return Outcome("finished")
    reason = "" if where.retry else failure_of(folder)
    return Outcome("failed", reason) if reason else None


def _say_what_was_before(outcomes: Sequence[Outcome | None], shown: Display) -> None:
    states = [outcome.state for outcome in outcomes if outcome is not None]
    if "finished" in states:
        shown.note(f"{states.count('finished')} of {len(outcomes)} runs were finished before")
    if "failed" in states:
        shown.note(f"{states.count('failed')} of {len(outcomes)} runs failed before; --retry does them again")


def _all_of(tasks: Sequence[Task], titles: Sequence[str], run: Runner, board: Board, shown: Display) -> list[Outcome]:
    """Do tasks; wait for those that another process is at, and look what it has left to do."""
    found: dict[int, Outcome] = {}
    told: set[int] = set()
    while len(found) < len(tasks):
        waiting = [index for index in range(len(tasks)) if index not in found]
        ready = [index for index in waiting if not is_held(tasks[index].folder)]
        if ready:
            outcomes = run([tasks[index] for index in ready], _Some(board, ready))
            found |= {i: outcome for i, outcome in zip(ready, outcomes, strict=True) if outcome.state != "busy"}
        held = [index for index in waiting if index not in found]
        for index in (index for index in held if index not in told):
            shown.note(f"{titles[index]}: another process is at work on it{by(tasks[index].folder)}; waiting for it")
        told |= {*held}
        if held:
            time.sleep(POLL_SECONDS)
    return [found[index] for index in range(len(tasks))]


class _Some:
    """Tell the board about some of its runs, which are numbered anew.

    Args:
        board: Of all.
        indices: There, of those here.
    """

    def __init__(self, board: Board, indices: Sequence[int]) -> None:
        self._board, self._indices = board, indices

    def progress(self, index: int, text: str, done: float, total: float) -> None:
        self._board.progress(self._indices[index], text, done, total)

    def finished(self, index: int, title: str, seconds: float) -> None:
        self._board.finished(self._indices[index], title, seconds)

    def end(self, index: int, outcome: Outcome) -> None:
        self._board.end(self._indices[index], outcome)

    def died(self, index: int) -> None:
        self._board.died(self._indices[index])
