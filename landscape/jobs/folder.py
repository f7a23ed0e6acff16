"""What a run's folder says about its job beside the numbers: which job it is, who is at it, and why it failed.

`job.json` holds the job, so that a run is taken for another one's only where their numbers agree; `failure.txt` why it
failed; the lock is held by whoever is at work, and falls with that process however it ends. Right when a folder of
another job is refused by name and nothing is done twice (`tests/landscape/jobs/test_folder.py`).
Costs nothing; needs no torch unless the settings of two jobs differ in what they leave out.
"""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from landscape.errors import one_line
from landscape.jobs.job import Job, differing, without_places
from landscape.records.layout import RUN_FILE, write_text

NOTE_FILE, FAILURE_FILE, LOCK_FILE = "job.json", "failure.txt", ".job.lock"


class Busy(RuntimeError):
    """Another process is at work in the folder."""


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keep all other processes that ask out of a folder, on other machines of a shared file system too.

    Args:
        folder: Made where it is not.

    Yields:
        Once, with the lock held. The system takes it back when the process ends, killed or not.

    Raises:
        Busy: Another one holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise Busy(f"{folder}: another process is at work in it{by(folder)}") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def waiting_for(folder: Path) -> Iterator[None]:
    """Hold a folder as soon as nobody else does.

    Args:
        folder: That exists.

    Yields:
        Once, with the lock held.
    """
    with filelock.FileLock(folder / LOCK_FILE):
        yield


def is_held(folder: Path) -> bool:
    """Return whether a process is at work in a folder.

    Args:
        folder: Of a run.
    """
    try:
        with holding(folder):
            return False
    except Busy:
        return True


def by(folder: Path) -> str:
    """Return who is at work in a folder, or was last, as " (HOST process N)"; nothing where that is not known.

    Args:
        folder: Of a run.
    """
    found = _note(folder).get("by", "")
    return f" ({found})" if found else ""


def check_folder(job: Job, folder: Path) -> None:
    """Refuse a folder that holds another job; what else is measured on the same run may differ.

    Args:
        job: The one wanted.
        folder: Need not exist. One without a note was made by an earlier version, and is judged by its files alone.

    Raises:
        ValueError: It does; the message names what differs.
    """
    stored = _note(folder)
    if not stored or stored["digest"] == job.digest:
        return
    wanted = job.content
    if stored["version"] != wanted["version"]:
        raise ValueError(
            f"{folder} was made by a version whose numbers differ (jobs {stored['version']}, now {wanted['version']}); "
            "give another --output, or move the folder away"
        )
    differences = differing(wanted["settings"], stored["settings"])
    if differences and stored["settings"].keys() != wanted["settings"].keys():
        differences = differing(_completed(wanted["settings"]), _completed(stored["settings"]))
    mine, theirs = wanted["measurements"] or {}, stored["measurements"] or {}
    both = mine.keys() & theirs.keys()
    differences += differing({name: mine[name] for name in both}, {name: theirs[name] for name in both})
    if differences:
        raise ValueError(
            f"{folder} holds a run with other settings ({'; '.join(differences)}); give the same, give another "
            "--output, or move the folder away"
        )


def write_note(job: Job, folder: Path) -> None:
    """Write down which job a folder is for, and who is at it.

    Args:
        job: Which one.
        folder: Of the run, held.
    """
    content = {"digest": job.digest, "method": job.method, "seed": job.seed, "by": _here(), **job.content}
    write_text(folder / NOTE_FILE, json.dumps(content, indent=1))


def write_failure(folder: Path, error: BaseException) -> str:
    """Write down why a run failed: a line, and the traceback.

    Args:
        folder: Of the run, held.
        error: As it was caught.

    Returns:
        The line.
    """
    line = one_line(error) or type(error).__name__
    whole = "".join(traceback.format_exception(error))
    write_text(folder / FAILURE_FILE, f"{line}\n\n{_here()}\n{whole}")
    return line


def failure_of(folder: Path) -> str:
    """Return why a run failed, nothing where it did not.

    Args:
        folder: Of the run; it need not exist.
    """
    path = folder / FAILURE_FILE
    return path.read_text(encoding="utf-8").partition("\n")[0] if path.is_file() else ""


def failed_runs(directory: Path) -> list[tuple[str, int]]:
    """Return method and seed of the runs of a study that failed.

    Args:
        directory: Of the study.
    """
    notes = [_note(path.parent) for path in sorted(directory.glob(f"runs/*/{FAILURE_FILE}"))]
    return [(note["method"], note["seed"]) for note in notes if note]


def _note(folder: Path) -> dict[str, Any]:
    path = folder / NOTE_FILE
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = {"digest", "method", "seed", "version", "settings", "measurements"} - found.keys()
    except (ValueError, AttributeError):
        missing = {"all"}
    if missing:
        raise ValueError(f"{path}: is no note of a job; move {folder} away, or put back the file beside {RUN_FILE}")
    return found


def _completed(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with all defaults filled in."""
    from gcsam.training import TrainConfig

    # `root` is gone with the other places, but one data set cannot be named without it
    return without_places(TrainConfig(**{**settings, "root": "."}).model_dump())


def _here() -> str:
    return f"{socket.gethostname()} process {os.getpid()}"
