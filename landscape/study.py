"""The main job: train each method with each seed, measure every network, judge the claims, draw.

Each run is a task for a worker process and ends as one file, so the study is resumable at any point: finished runs are
found by their files, without torch, and left alone. Right when a second call starts nothing, and a study that was
stopped ends with the same numbers (`tests/landscape/test_study.py`).
Cost: the runs; their order and number of workers change no number but the times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.store import Measurement, list_measurements, read
from landscape.options import Device
from landscape.progress import Display, display
from landscape.results import FIGURES, RUN_FILE, STUDY_FILE, VERDICTS, is_current, judge
from landscape.stages import is_finished
from landscape.study_config import StudyConfig, claim_directory
from landscape.tables import show, untested_lines, verdict_table
from landscape.workers import num_cores, run_tasks

# Beyond this many processes memory, not time, is what runs out first; our choice.
MOST_WORKERS = 8


@dataclass(frozen=True)
class Task:
    """One run of a study: train, then measure.

    Args:
        config: Of the study.
        method: Of training.
        seed: Of initialization and data order.
        folder: Of the run.
        device: "cpu" or "cuda".
    """

    config: StudyConfig
    method: str
    seed: int
    folder: Path
    device: str

    @property
    def title(self) -> str:
        """What the reader knows it by."""
        return f"{self.method}, seed {self.seed}"

    def is_finished(self) -> bool:
        """Return whether its file holds all it is to hold."""
        path = self.folder / RUN_FILE
        if not path.is_file() or "training/summary" not in list_measurements(path):
            return False
        return all(is_finished(stage, path) for stage in self.config.stages())


def run_study(
    config: StudyConfig,
    directory: Path,
    *,
    device: Device = Device.AUTO,
    workers: int | None = None,
    quiet: bool = False,
) -> None:
    """Do what of a study is not done yet, and print its verdicts.

    Args:
        config: The settings.
        directory: Gets `study.h5`, `figures/`, and for each run `runs/<method>-seed<k>/run.h5`.
        device: Where to compute.
        workers: Runs at a time. None: one for each core, at most 8.
        quiet: Show no progress.

    Raises:
        ValueError: The directory holds a study with other settings, or the device is not there.
        RuntimeError: A run failed; the finished ones are kept.
    """
    claim_directory(config, directory)
    folders = [directory / "runs" / f"{method}-seed{seed}" for method, seed in config.runs()]
    tasks = [
        Task(config, method, seed, folder, "") for (method, seed), folder in zip(config.runs(), folders, strict=True)
    ]
    done = [task.is_finished() for task in tasks]
    files, study_file, figures = [folder / RUN_FILE for folder in folders], directory / STUDY_FILE, directory / FIGURES
    with display(quiet=quiet) as shown:
        if all(done) and is_current(study_file, files) and is_current(figures, [*files, study_file]):
            shown.note(f"{directory}: all {len(tasks)} runs are finished, measured, judged and drawn; nothing to do")
        else:
            _work(tasks, done, device, workers, shown)
            with shown.stage("judging the claims"):
                judge(files, study_file, config.to_json())
            _draw(files, study_file, figures, shown)
    found = read(study_file, VERDICTS)
    show(verdict_table(found), *untested_lines(found), *_where(directory, found))


def do_run(task: Task, shown: Display) -> None:
    """Train and measure one network; runs in a worker process.

    Args:
        task: Which one.
        shown: Told how far it is.
    """
    from gcsam.training import TrainConfig
    from landscape.measuring import measure
    from landscape.subjects import open_run, run_subject
    from landscape.training import train_run

    settings = {**task.config.train, "method": task.method, "seed": task.seed, "device": task.device}
    train_run(TrainConfig(**settings), task.folder, shown)
    subject = run_subject(task.folder, open_run(task.folder), task.config.samples, task.device)
    measure(subject, task.config.stages(), shown)


def _work(tasks: Sequence[Task], done: Sequence[bool], device: Device, workers: int | None, shown: Display) -> None:
    """Do the runs that are not finished."""
    where = device.resolve()
    todo = [
        Task(t.config, t.method, t.seed, t.folder, where) for t, is_done in zip(tasks, done, strict=True) if not is_done
    ]
    if len(todo) < len(tasks):
        shown.note(f"{len(tasks) - len(todo)} of {len(tasks)} runs were finished before")
    if todo:
        board = Board(shown, [task.title for task in todo], 1 + len(todo[0].config.stages()), len(tasks))
        run_tasks(do_run, todo, workers or min(num_cores(), MOST_WORKERS), board)


def _draw(files: Sequence[Path], study_file: Path, figures: Path, shown: Display) -> None:
    from figures import draw_study  # matplotlib takes a second to load

    with shown.stage("drawing"):
        draw_study(files, figures, study_path=study_file)


def _where(directory: Path, found: Measurement) -> list[str]:
    seeds = int(found.variables["num_seeds"].data.max())
    least = int(found.variables["min_seeds"].data.max())
    lines = []
    if seeds < least:
        lines.append(f"{seeds} paired seeds; a verdict takes at least {least}: landscape study --seeds {least}")
    return [*lines, f"Numbers: {directory / STUDY_FILE}, {directory / 'runs'}. Figures: {directory / FIGURES}."]


class Board:
    """Shows each run under way, and the whole: which run of how many, which stage, time left.

    Args:
        shown: Where to.
        titles: Of the runs, in order.
        stages: In each run.
        total: Runs of the study, those finished before included.
        clock: Returns seconds.
    """

    ALL = "all runs"

    def __init__(
        self,
        shown: Display,
        titles: Sequence[str],
        stages: int,
        total: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown, self._titles, self._stages, self._total, self._clock = shown, titles, stages, total, clock
        self._finished = [0] * len(titles)  # stages of each run
        self._begun: dict[int, float] = {}
        shown.update(self.ALL, self.ALL, 0, len(titles))

    def progress(self, index: int, text: str, done: float, total: float) -> None:
        """Move the bars of a run and of the whole."""
        self._begun.setdefault(index, self._clock())
        share = min(done / total, 1.0) if total else 0.0
        self._shown.update(f"run {index}", f"{self._name(index)}: {text}", share, 1)
        self._update(share)

    def finished(self, index: int, title: str, seconds: float) -> None:  # noqa: ARG002
        """Count a stage."""
        self._finished[index] = min(self._finished[index] + 1, self._stages)
        self._update(0)

    def end(self, index: int) -> None:
        """Say that a run is done."""
        self._finished[index] = self._stages
        self._shown.end(f"run {index}")
        self._shown.finished(self._name(index), self._clock() - self._begun.get(index, self._clock()))
        self._update(0)

    def _name(self, index: int) -> str:
        return f"run {self._total - len(self._titles) + index + 1} of {self._total}, {self._titles[index]}"

    def _update(self, share: float) -> None:
        self._shown.update(self.ALL, self.ALL, (sum(self._finished) + share) / self._stages, len(self._titles))
