"""What the user sees while work goes on: bars on a terminal, plain lines in a pipe, nothing with `--quiet`.

Everything goes to stdout, so that stderr holds errors alone. Right when a pipe gets whole lines without control
characters, and the time left is that of the work remaining, not of the work skipped
(`tests/landscape/test_progress.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

# A line now and then shows in a log that work goes on; our choice, because a study of five minutes then fits a screen.
HEARTBEAT_SECONDS = 15.0

Advance = Callable[[float, float], None]


class Pace:
    """Estimate the time left from what was done since the first call; what was found done then does not count.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin: tuple[float, float] | None = None

    def left(self, done: float, total: float) -> str:
        """Return the time left as "2:31 left", or nothing before anything is known.

        Args:
            done: Work done so far, in any unit.
            total: All work, in the same unit.
        """
        now = self._clock()
        if self._begin is None:
            self._begin = (now, done)
        since, before = self._begin
        if done <= before or done >= total:
            return ""
        seconds = round((now - since) * (total - done) / (done - before))
        hours, minutes = divmod(seconds // 60, 60)
        return f"{hours}:{minutes:02}:{seconds % 60:02} left" if hours else f"{minutes}:{seconds % 60:02} left"


class Display:
    """Show nothing: what `--quiet` asks for, and what the two others have in common."""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """Say something that stays: a stage that is finished, or skipped."""

    def finished(self, title: str, seconds: float) -> None:
        """Say that a stage is done.

        Args:
            title: Of the stage.
            seconds: It took.
        """
        self.note(f"{title}: done in {seconds:.1f} s")

    def update(self, task: str, text: str, done: float, total: float) -> None:
        """Say how far a task is.

        Args:
            task: Names the bar; the same one is moved as long as the task goes on.
            text: What is being done now.
            done: Work done so far.
            total: All work, in the same unit.
        """

    def end(self, task: str) -> None:
        """Take a task's bar away."""

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        """Show one piece of work, and how long it took.

        Args:
            title: What is being done.

        Yields:
            A function (done, total) to be called as the work goes on.
        """
        begun = time.monotonic()
        self.update(title, title, 0, 1)
        try:
            yield lambda done, total: self.update(title, title, done, total)
        finally:
            self.end(title)
        self.finished(title, time.monotonic() - begun)


class Lines(Display):
    """Plain lines, each written at once: what was begun, how far it is now and then, and what is finished.

    Args:
        console: Where to.
        heartbeat: Seconds between two lines about one task.
    """

    def __init__(self, console: Console, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._console, self._heartbeat = console, heartbeat
        self._tasks: dict[str, tuple[Pace, float]] = {}

    def note(self, text: str) -> None:
        """Write a line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._console.file.flush()

    def update(self, task: str, text: str, done: float, total: float) -> None:
        """Write a line if the last one about this task is some seconds old."""
        now = time.monotonic()
        pace, last = self._tasks.get(task, (Pace(), now))
        left = pace.left(done, total)
        if now - last >= self._heartbeat:
            last = now
            self.note(f"{text}: {_percent(done, total)}{', ' if left else ''}{left}")
        self._tasks[task] = (pace, last)

    def end(self, task: str) -> None:
        """Forget the task's pace."""
        self._tasks.pop(task, None)


class Bars(Display):
    """A bar with time left for each task, and what is finished above them.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console) -> None:
        wide = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # a bar keeps to its line on a narrow terminal
        title = TextColumn("{task.description}", markup=False, table_column=wide)
        texts = ("{task.percentage:>3.0f} %", "{task.fields[left]:>9}")
        percentage, left = (TextColumn(text, markup=False, table_column=Column(no_wrap=True)) for text in texts)
        columns = (title, BarColumn(bar_width=16), percentage, left)
        self._progress = Progress(*columns, console=console, transient=True, expand=True)
        self._tasks: dict[str, tuple[Pace, TaskID]] = {}

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Print above the bars."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, task: str, text: str, done: float, total: float) -> None:
        """Move the bar."""
        if task not in self._tasks:
            self._tasks[task] = (Pace(), self._progress.add_task(text, left=""))
        pace, bar = self._tasks[task]
        self._progress.update(bar, description=text, completed=done, total=total, left=pace.left(done, total))

    def end(self, task: str) -> None:
        """Take the bar away."""
        if task in self._tasks:
            self._progress.remove_task(self._tasks.pop(task)[1])


def display(*, quiet: bool) -> Display:
    """Return what fits the output.

    Args:
        quiet: Whether to show nothing.
    """
    console = Console()
    if quiet:
        return Display()
    return Bars(console) if console.is_terminal else Lines(console)


def _percent(done: float, total: float) -> str:
    return f"{100 * done / total:.0f} %" if total else "0 %"
