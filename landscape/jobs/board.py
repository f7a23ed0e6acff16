"""What is shown of many runs at a time: each one under way, the whole, and what became of each.

Right when the share done is weighted by what takes long (`tests/landscape/jobs/test_board.py`). Costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from landscape.jobs.attempts import Outcome
from landscape.progress import Display


class Board:
    """Shows each run under way, and the whole: which run of how many, which stage, time left.

    Args:
        shown: Where to.
        titles: Of the runs, in order.
        stages: Of each run, what is to be done, title to weight.
        clock: Returns seconds.
    """

    ALL = "all runs"

    def __init__(
        self,
        shown: Display,
        titles: Sequence[str],
        stages: Sequence[Mapping[str, float]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown, self._titles, self._stages, self._clock = shown, titles, stages, clock
        self._done: list[dict[str, float]] = [{} for _ in titles]  # share of each stage
        self._begun: dict[int, float] = {}
        self._update()

    def progress(self, index: int, text: str, done: float, total: float) -> None:
        """Move the bars of a run and of the whole."""
        self._begun.setdefault(index, self._clock())
        self._done[index][text.split(":")[0]] = min(done / total, 1.0) if total else 0.0
        self._shown.update(f"run {index}", f"{self._titles[index]}: {text}", self._sum(index), self._total(index))
        self._update()

    def finished(self, index: int, title: str, seconds: float) -> None:  # noqa: ARG002
        """Count a stage."""
        self._done[index][title] = 1.0
        self._update()

    def end(self, index: int, outcome: Outcome) -> None:
        """Say what became of a run."""
        self._shown.end(f"run {index}")
        if outcome.state == "busy":  # it will come again
            return
        self._done[index] = dict.fromkeys(self._stages[index], 1.0)
        if outcome.state == "finished":
            self._shown.finished(self._titles[index], self._clock() - self._begun.get(index, self._clock()))
        else:
            self._shown.note(f"{self._titles[index]}: {outcome.state}: {outcome.reason}")
        self._update()

    def died(self, index: int) -> None:
        """Say that the process of a run was killed."""
        self._shown.note(f"{self._titles[index]}: its process was killed; it goes on from its last epoch in another")

    def _sum(self, index: int) -> float:
        return sum(weight * self._done[index].get(title, 0.0) for title, weight in self._stages[index].items())

    def _total(self, index: int) -> float:
        return sum(self._stages[index].values())

    def _update(self) -> None:
        runs = range(len(self._titles))
        self._shown.update(self.ALL, self.ALL, sum(map(self._sum, runs)), sum(map(self._total, runs)))
