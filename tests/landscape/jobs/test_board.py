"""What is shown of many runs: shares by weight, and what became of each."""

from __future__ import annotations

from landscape.jobs.attempts import Outcome
from landscape.jobs.board import Board
from tests.landscape.recorder import Recorder


class Clock:
    """Seconds set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_board_moves_each_run_and_the_whole_by_weight() -> None:
    """Fails if stages count alike, or if one run's report takes another's share back."""
    display, clock = Recorder(), Clock()
    stages = [{"training": 2.0, "trace": 1.0, "surface": 5.0}, {"surface": 5.0}]
    board = Board(display, ["run 1 of 3 (a)", "run 3 of 3 (b)"], stages, clock)
    board.progress(0, "training: epoch 1 of 2, validation accuracy 0.5", 1, 2)
    assert display.updates[-2:] == [
        ("run 0", "run 1 of 3 (a): training: epoch 1 of 2, validation accuracy 0.5", 1.0, 8.0),
        ("all runs", "all runs", 1.0, 13.0),
    ]
    board.progress(1, "surface", 2, 10)
    assert display.updates[-1] == ("all runs", "all runs", 2.0, 13.0)
    board.finished(0, "training", 3.0)
    assert display.updates[-1][2] == 3.0
    board.progress(0, "trace", 50, 25)  # an estimate of the total may be too low
    assert display.updates[-1][2] == 4.0
    clock.now = 12.0
    board.end(1, Outcome("finished"))
    assert display.stages == ["run 3 of 3 (b)"]
    assert display.updates[-1][2] == 8.0
    board.progress(0, "what was finished before", 1, 2)  # is not among the work
    assert display.updates[-1][2] == 8.0


def test_the_board_says_what_became_of_each_run() -> None:
    """Fails if a run that another process is at, and that comes again, is counted as done."""
    display, clock = Recorder(), Clock()
    board = Board(display, ["a", "b", "c"], [{"training": 2.0}] * 3, clock)
    board.progress(0, "training: epoch 1 of 2", 1, 2)
    board.died(0)
    board.end(0, Outcome("failed", "training diverged"))
    board.end(1, Outcome("busy", "another process"))
    assert display.updates[-1] == ("all runs", "all runs", 2.0, 6.0)
    board.end(1, Outcome("stopped", "killed 3 times"))
    assert display.notes == [
        "a: its process was killed; it goes on from its last epoch in another",
        "a: failed: training diverged",
        "b: stopped: killed 3 times",
    ]
    assert display.stages == []
    board.end(2, Outcome("finished"))
    assert display.stages == ["c"]
