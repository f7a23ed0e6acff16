"""What is shown while work goes on. Blind to how bars look: it reads the text of a recorded terminal."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from landscape.progress import Bars, Display, Lines, Pace, display


class Clock:
    """Seconds set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_left_is_of_the_work_remaining() -> None:
    """Fails if work found done at the start counts as done since: 60 of 100 would then seem to take no time."""
    clock = Clock()
    pace = Pace(clock)
    assert pace.left(50, 100) == ""
    clock.now = 10
    assert pace.left(60, 100) == "0:40 left"  # 10 in 10 s, 40 to go
    clock.now = 20
    assert pace.left(70, 100) == "0:30 left"
    assert pace.left(100, 100) == ""


def test_time_left_in_hours() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.left(0, 100)
    clock.now = 100
    assert pace.left(1, 100) == "2:45:00 left"  # 99 * 100 s


def run_a_stage(screen: Display) -> None:
    with screen, screen.stage("Hessian [trace]") as advance:
        advance(1, 4)
        advance(2, 4)


def test_a_pipe_gets_whole_lines_without_control_characters() -> None:
    file = io.StringIO()
    run_a_stage(Lines(Console(file=file, width=20), heartbeat=0))
    lines = file.getvalue().splitlines()
    assert lines[0] == "Hessian [trace]: 0 %"
    assert lines[1].startswith("Hessian [trace]: 25 %")
    assert lines[-1] == "Hessian [trace]: done in 0.0 s"
    assert "\x1b" not in file.getvalue()


def test_lines_about_one_task_keep_their_distance() -> None:
    file = io.StringIO()
    run_a_stage(Lines(Console(file=file), heartbeat=60))
    assert file.getvalue().splitlines() == ["Hessian [trace]: done in 0.0 s"]


def test_a_terminal_gets_a_bar_and_keeps_what_is_finished() -> None:
    file = io.StringIO()
    screen = Bars(Console(file=file, force_terminal=True, width=100, height=20))
    with screen, screen.stage("Hessian [trace]") as advance:
        advance(2, 4)
        time.sleep(0.3)  # bars are drawn ten times a second
    assert "50 %" in file.getvalue()
    assert "Hessian [trace]: done in 0." in file.getvalue()  # the brackets are not markup


def test_a_stage_that_fails_is_not_said_to_be_done() -> None:
    file = io.StringIO()
    screen = Lines(Console(file=file))
    with pytest.raises(RuntimeError), screen.stage("trace"):
        raise RuntimeError
    assert file.getvalue() == ""


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run_a_stage(display(quiet=True))
    assert capsys.readouterr().out == ""
    run_a_stage(display(quiet=False))
    assert capsys.readouterr().out == "Hessian [trace]: done in 0.0 s\n"
