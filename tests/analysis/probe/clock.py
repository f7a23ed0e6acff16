"""A clock that tests move."""

from __future__ import annotations


class Clock:
    def __init__(self) -> None:
        self.now = 100.0  # clocks do not begin at 0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds
