"""Tasks in processes of their own. Real processes, since what matters is what is left of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from landscape.workers import run_tasks
from tests.landscape.jobs import work


class Recorder:
    """Keeps all it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def progress(self, index: int, text: str, done: float, total: float) -> None:
        self.seen.append(("progress", index, text, done, total))

    def finished(self, index: int, title: str, seconds: float) -> None:
        self.seen.append(("finished", index, title, seconds))

    def end(self, index: int) -> None:
        self.seen.append(("end", index))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_task_is_run_once_and_what_it_shows_arrives(tmp_path: Path) -> None:
    tasks = [("good", tmp_path / str(i)) for i in range(3)]
    recorder = Recorder()
    run_tasks(work, tasks, 2, recorder)
    for index, (_, path) in enumerate(tasks):
        pid, threads = path.read_text(encoding="utf-8").split()
        assert int(threads) == 1  # whatever the number of cores, so that numbers do not depend on it
        assert not is_alive(int(pid))
        mine = [entry for entry in recorder.seen if entry[1] == index]
        assert mine == [("progress", index, "good", 1, 2), ("finished", index, "good", 1.5), ("end", index)]


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("mistake", ValueError, "^data must hold at least one batch, got none; [^\n]*$"),
        ("failure", RuntimeError, r"^descend\(\) without ascend\(\)[^\n]*$"),
        ("bug", AssertionError, r"jobs\.py.*\n(.*\n)*.*cannot reshape"),
        ("die", RuntimeError, "died without a word, perhaps for want of memory; .* --workers 1"),
    ],
)
def test_a_task_that_fails_ends_the_others(tmp_path: Path, kind: str, error: type[Exception], message: str) -> None:
    """Fails if the other worker is left to its long task, or if a dead worker is waited for."""
    begun = time.monotonic()
    with pytest.raises(error, match=message):
        run_tasks(work, [("long", tmp_path / "0"), (kind, tmp_path / "1"), ("good", tmp_path / "2")], 2, Recorder())
    assert time.monotonic() - begun < 50
    assert not (tmp_path / "2").exists()
    for name in ("0", "1"):
        if (tmp_path / name).exists():
            assert not is_alive(int((tmp_path / name).read_text(encoding="utf-8").split()[0]))
