"""The main job: train each method with each seed, measure every network, judge the claims, draw.

Each run is a job that ends as one file, so the study is resumable at any point: finished runs are found by their files,
without torch, and left alone; one that fails stops no other. Right when a second call starts nothing, and a study that
was stopped ends with the same numbers (`tests/landscape/study/test_running.py`).
Cost: the runs; their order, their number at a time and their place change no number but the times.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from analysis.store import Measurement, read
from landscape.jobs.attempts import Outcome
from landscape.jobs.executors import PROCESS, Where, check_executor
from landscape.jobs.folder import waiting_for
from landscape.jobs.running import run_jobs
from landscape.options import Device
from landscape.progress import Display, display
from landscape.records.layout import FIGURES, STUDY_FILE, is_current, is_trained
from landscape.study.config import StudyConfig, claim_directory
from landscape.study.phases import Phases, grids, phases
from landscape.study.results import VERDICTS, judge
from landscape.study.tuning import Placed
from landscape.tables.printing import show
from landscape.tables.verdicts import note_lines, untested_lines, verdict_table

ADVICE = {
    "failed": " (failure.txt in the folder of each says why; --retry does them again)",
    "stopped": " (the same command goes on with them)",
}


def run_study(
    config: StudyConfig,
    directory: Path,
    *,
    device: Device = Device.AUTO,
    workers: int | None = None,
    quiet: bool = False,
    executor: str | Executor = PROCESS,
    retry: bool = False,
) -> None:
    """Do what of a study is not done yet, and print its verdicts.

    Args:
        config: The settings.
        directory: Gets `study.h5`, `figures/`, and for each run `runs/<method>-seed<k>/run.h5`. Every worker of a
            cluster has to see it under this path.
        device: Where to compute.
        workers: Runs at a time, in processes of our own. None: one for each core, at most 8; on CUDA one per device.
        quiet: Show no progress.
        executor: Does the runs: "process", "serial", "dask://HOST:PORT", "package.module:function", or an executor of
            `concurrent.futures`, which stays open.
        retry: Do again what failed before.

    Raises:
        ValueError: The directory holds a study with other settings, or the device or executor is not there.
        RuntimeError: Runs failed or were stopped; the others are finished, and judged with these counted as missing.
    """
    check_executor(executor)
    claim_directory(config, directory)
    where = Where(device, workers, executor, retry)
    with stopped_by_sigterm(), display(quiet=quiet) as shown:

        def search(placed: Sequence[Placed]) -> None:
            tell_failures(placed, run_jobs(placed, where, shown), "settings are found once all trials are finished")

        planned = phases(config, directory, search, shown.note)
        placed = [*planned.runs, *planned.sweeps]
        outcomes = run_jobs(placed, where, shown)
        files = [path for path in planned.files if is_trained(path.parent)]
        if files:
            is_complete = all(outcome.state == "finished" for outcome in outcomes)
            _conclude(config, directory, planned, files, shown, is_complete=is_complete)
    if files:
        found = read(directory / STUDY_FILE, VERDICTS)
        show(verdict_table(found), *note_lines(found), *untested_lines(found), *_where(directory, found))
    tell_failures(placed, outcomes, "verdicts count them as missing")


def _conclude(
    config: StudyConfig,
    directory: Path,
    planned: Phases,
    files: Sequence[Path],
    shown: Display,
    *,
    is_complete: bool,
) -> None:
    """Judge and draw, unless that was done after the last run."""
    study_file, figures = directory / STUDY_FILE, directory / FIGURES
    with waiting_for(directory):  # two processes that share a study judge it one after the other
        if is_current(study_file, planned.sources) and is_current(figures, [*files, study_file]):
            count = len(planned.runs) + len(planned.sweeps)
            done = f"all {count} runs are finished, measured, " if is_complete else "the finished runs are "
            shown.note(f"{directory}: {done}judged and drawn; nothing to do")
            return
        with shown.stage("judging the claims"):
            judge(files, study_file, config.without_places().to_json(), grids=grids(directory), missing=config.runs())
        draw(files, study_file, figures, shown)


def tell_failures(placed: Sequence[Placed], outcomes: Sequence[Outcome], meaning: str) -> None:
    """Say which runs are not finished and why, and end with an error if there are any.

    Args:
        placed: The jobs with their folders.
        outcomes: What became of each.
        meaning: Of runs that are missing, for the reader.

    Raises:
        RuntimeError: There are.
    """
    told = []
    for state in ("failed", "stopped"):
        reasons: dict[str, list[str]] = {}
        for (job, _), outcome in zip(placed, outcomes, strict=True):
            if outcome.state == state:
                reasons.setdefault(outcome.reason, []).append(job.name)
        show(*(f"{state}: {', '.join(names)}: {reason}" for reason, names in reasons.items()))
        if count := sum(map(len, reasons.values())):
            told.append(f"{count} of {len(placed)} runs {state}{ADVICE[state]}")
    if told:
        raise RuntimeError(f"{'; '.join(told)}; {meaning}")


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Answer the signal with which a machine or a queue ends its processes as Ctrl-C is answered.

    Yields:
        Once; the signal is answered as before afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def draw(files: Sequence[Path], study_file: Path, figures: Path, shown: Display) -> None:
    """Draw what the files hold.

    Args:
        files: Of the runs.
        study_file: The study's own.
        figures: Folder.
        shown: Told that it is drawing.
    """
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
