"""Tasks in processes of their own. Real processes, since what matters is what is left of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landscape.jobs.workers import run_tasks
from tests.landscape.jobs.tasks import work


class Recorder:
    """Keeps all it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def progress(self, index: int, text: str, done: float, total: float) -> None:
        self.seen.append(("progress", index, text, done, total))

    def finished(self, index: int, title: str, seconds: float) -> None:
        self.seen.append(("finished", index, title, seconds))

    def end(self, index: int, result: object) -> None:
        self.seen.append(("end", index, result))

    def died(self, index: int) -> None:
        self.seen.append(("died", index))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_task_is_run_once_and_what_it_shows_arrives(tmp_path: Path) -> None:
    tasks = [("good", tmp_path / str(i)) for i in range(3)]
    recorder = Recorder()
    assert run_tasks(work, tasks, 2, recorder) == ["done"] * 3
    for index, (_, path) in enumerate(tasks):
        pid, threads = path.read_text(encoding="utf-8").split()
        assert int(threads) == 1  # whatever the number of cores, so that numbers do not depend on it
        assert not is_alive(int(pid))
        mine = [entry for entry in recorder.seen if entry[1] == index]
        assert mine == [("progress", index, "good", 1, 2), ("finished", index, "good", 1.5), ("end", index, "done")]


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("mistake", ValueError, "^data must hold at least one batch, got none; [^\n]*$"),
        ("failure", RuntimeError, r"^descend\(\) without ascend\(\)[^\n]*$"),
        ("bug", AssertionError, r"tasks\.py.*\n(.*\n)*.*cannot reshape"),
    ],
)
def test_a_task_that_raises_ends_the_others(tmp_path: Path, kind: str, error: type[Exception], message: str) -> None:
    """Fails if the other worker is left to its long task."""
    begun = time.monotonic()
    with pytest.raises(error, match=message):
        run_tasks(work, [("long", tmp_path / "0"), (kind, tmp_path / "1"), ("good", tmp_path / "2")], 2, Recorder())
    assert time.monotonic() - begun < 50
    assert not (tmp_path / "2").exists()
    for name in ("0", "1"):
        if (tmp_path / name).exists():
            assert not is_alive(int((tmp_path / name).read_text(encoding="utf-8").split()[0]))


def test_a_task_whose_process_was_killed_goes_on_in_another(tmp_path: Path) -> None:
    """Fails if a dead worker is waited for, if it ends the others, or if what kills each process is tried for ever."""
    recorder = Recorder()
    tasks = [("die once", tmp_path / "0"), ("die", tmp_path / "1"), ("good", tmp_path / "2")]
    assert run_tasks(work, tasks, 1, recorder) == ["done", None, "done"]
    deaths = [index for kind, index, *_ in recorder.seen if kind == "died"]
    assert deaths == [0, 1, 1, 1]
    lines = [path.read_text(encoding="utf-8").splitlines() for _, path in tasks]
    assert [len(found) for found in lines] == [2, 3, 1]
    assert len({line.split()[0] for found in lines for line in found}) == 5  # the last two shared a process


def test_each_process_gets_a_place_of_its_own(tmp_path: Path) -> None:
    """Fails if tasks go to devices in turn, so that two may meet on one while the other idles."""
    tasks = [("good", tmp_path / str(number)) for number in range(4)]
    run_tasks(work, tasks, 2, Recorder(), lambda task, number: (task[0], tmp_path / f"place-{number}"))
    for number in range(2):
        lines = (tmp_path / f"place-{number}").read_text(encoding="utf-8").splitlines()
        assert len({line.split()[0] for line in lines}) == 1


def test_processes_that_cannot_start_are_told_at_once(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from landscape.jobs.workers import run_tasks\n"
        "from tests.landscape.jobs.tasks import work\n"
        "from tests.landscape.jobs.test_workers import Recorder\n"
        f"run_tasks(work, [('good', {str(tmp_path / '0')!r})], 1, Recorder())\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'needs: if __name__ == "__main__"' in done.stderr.splitlines()[-1]
