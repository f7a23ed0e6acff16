"""A display that keeps all it is told."""

from __future__ import annotations

from landscape.progress import Display


class Recorder(Display):
    """Notes and stages in order, and how far each was."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []
        self.updates: list[tuple[str, str, float, float]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finished(self, title: str, seconds: float) -> None:
        self.stages.append(title)

    def update(self, task: str, text: str, done: float, total: float) -> None:
        self.updates.append((task, text, done, total))
