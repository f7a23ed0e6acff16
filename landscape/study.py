"""The main job: train each method with each seed, measure every network, judge the claims, draw.

Each run is a task for a worker process and ends as one file, so the study is resumable at any point: finished runs are
found by their files, without torch, and left alone. Right when a second call starts nothing, and a study that was
stopped ends with the same numbers (`tests/landscape/test_study.py`).
Cost: the runs; their order and number of workers change no number but the times.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.store import Measurement, list_measurements, read
from landscape.options import Device
from landscape.progress import Display, display
from landscape.results import FIGURES, RUN_FILE, STUDY_FILE, TRAINING, VERDICTS, is_current, judge
from landscape.stages import is_finished
from landscape.study_config import StudyConfig, claim_directory
from landscape.tables import note_lines, show, untested_lines, verdict_table
from landscape.workers import num_cores, run_tasks

# Beyond this many processes memory, not time, is what runs out first; our choice.
MOST_WORKERS = 8
# As `landscape.stages.Stage.weight`.
TRAINING_WEIGHT = 2.0


@dataclass(frozen=True)
class Task:
    """One run of a study: train, then measure.

    Args:
        config: Of the study.
        method: Of training, as the study names it.
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

    def remaining(self) -> dict[str, float]:
        """Return the stages that its file does not hold yet, title to weight."""
        path, stages = self.folder / RUN_FILE, self.config.stages()
        if path.is_file() and "training/summary" in list_measurements(path):
            return {stage.title: stage.weight for stage in stages if not is_finished(stage, path)}
        return {TRAINING: TRAINING_WEIGHT, **{stage.title: stage.weight for stage in stages}}


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
    remaining = [task.remaining() for task in tasks]
    files, study_file, figures = [folder / RUN_FILE for folder in folders], directory / STUDY_FILE, directory / FIGURES
    with display(quiet=quiet) as shown:
        if not any(remaining) and is_current(study_file, files) and is_current(figures, [*files, study_file]):
            shown.note(f"{directory}: all {len(tasks)} runs are finished, measured, judged and drawn; nothing to do")
        else:
            _work(tasks, remaining, device, workers, shown)
            with shown.stage("judging the claims"):
                judge(files, study_file, config.to_json())
            _draw(files, study_file, figures, shown)
    found = read(study_file, VERDICTS)
    show(verdict_table(found), *note_lines(found), *untested_lines(found), *_where(directory, found))


def do_run(task: Task, shown: Display) -> None:
    """Train and measure one network; runs in a worker process.

    Args:
        task: Which one.
        shown: Told how far it is.
    """
    from gcsam.training import TrainConfig
    from landscape.measuring import measure
    from landscape.subjects import run_subject
    from landscape.training import train_run

    settings = {**task.config.settings(task.method, task.seed), "device": task.device}
    run, splits = train_run(TrainConfig(**settings), task.folder, shown, name=task.method)
    subject = run_subject(run, task.device, limit=task.config.samples, splits=splits)
    measure(subject, task.config.stages(), shown)


def _work(
    tasks: Sequence[Task],
    remaining: Sequence[Mapping[str, float]],
    device: Device,
    workers: int | None,
    shown: Display,
) -> None:
    """Do the runs that are not finished."""
    where = device.resolve()
    todo = [
        (dataclasses.replace(task, device=where), f"run {number} of {len(tasks)} ({task.title})", stages)
        for number, (task, stages) in enumerate(zip(tasks, remaining, strict=True), start=1)
        if stages
    ]
    if len(todo) < len(tasks):
        shown.note(f"{len(tasks) - len(todo)} of {len(tasks)} runs were finished before")
    if todo:
        work, titles, stages = zip(*todo, strict=True)
        run_tasks(do_run, work, workers or min(num_cores(), MOST_WORKERS), Board(shown, titles, stages))


def _draw(files: Sequence[Path], study_file: Path, figures: Path, shown: Display) -> None:
    from figures import draw_study  # matplotlib takes a second to load

    with shown.stage("drawing"):
        draw_study(files, figures, study_path=study_file)


def _where(directory: Path, found: Measurement) -> list[str]:
    seeds = int(found.variables["num_seeds"].data.max())
    least = int(found.variables["min_seeds"].data.max())
    lines = []
    if seeds < least:
        lines.append(
            f"{seeds} paired seeds; a verdict takes at least {least}: give the same command with --seeds {least}"
        )
    return [
        *lines,
        f"Numbers: {directory / STUDY_FILE}, {directory / 'runs'}. Figures: {directory / FIGURES}.",
        f"To read it all in a browser: landscape report {directory / STUDY_FILE} -o {directory / 'report.html'}",
    ]


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

    def end(self, index: int) -> None:
        """Say that a run is done."""
        self._done[index] = dict.fromkeys(self._stages[index], 1.0)
        self._shown.end(f"run {index}")
        self._shown.finished(self._titles[index], self._clock() - self._begun.get(index, self._clock()))
        self._update()

    def _sum(self, index: int) -> float:
        return sum(weight * self._done[index].get(title, 0.0) for title, weight in self._stages[index].items())

    def _total(self, index: int) -> float:
        return sum(self._stages[index].values())

    def _update(self) -> None:
        runs = range(len(self._titles))
        self._shown.update(self.ALL, self.ALL, sum(map(self._sum, runs)), sum(map(self._total, runs)))
