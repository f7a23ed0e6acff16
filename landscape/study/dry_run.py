"""What a study would do: its runs, their cost in gradients, and how long they take; nothing of it is done.

Right when each run is in the plan once, with the cost of its method, and after the study none is left
(`tests/landscape/study/test_dry_run.py`). Cost: that of `landscape.study.cost` for each method.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from landscape.jobs.executors import num_jobs
from landscape.options import Device
from landscape.study.config import StudyConfig
from landscape.study.cost import cost_of
from landscape.study.phases import jobs_after
from landscape.study.sweeps import RUNS, points
from landscape.study.tuning import TUNING, TUNING_FILE, Chosen, Placed, found_settings, tuning_jobs
from landscape.tables.printing import show


def show_plan(config: StudyConfig, directory: Path, device: Device, jobs: int | None = None) -> None:
    """Print what `run_study` would do.

    Args:
        config: The settings.
        directory: Of the study; runs that are finished in it cost nothing.
        device: Where it would compute.
        jobs: Runs at a time; None for as many as without `--jobs`.
    """
    costs = {method: cost_of(config, method, device.resolve()) for method in config.methods}
    table = Table(title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("method")
    for heading in ("runs", "still to do", "steps", "batch gradients", "training", "measuring"):
        table.add_column(heading, justify="right")
    num_runs = num_left = 0
    total = 0.0
    for part, placed in parts(config, directory).items():
        for method in dict.fromkeys(job.method for job, _ in placed):
            own = [(job, folder) for job, folder in placed if job.method == method]
            left = [titles for titles in (job.remaining(folder) for job, folder in own) if titles]
            cost = costs[method] if part == RUNS else replace(costs[method], watching=0.0, measuring={})
            numbers = (len(own), len(left), cost.steps, cost.gradients)
            measuring = cost.watching + sum(cost.measuring.values())
            label = method if part == RUNS else f"{method}, {part}"
            times = (duration(cost.training), duration(measuring) if measuring else "none")
            table.add_row(label, *map(str, numbers), *times)
            num_runs, num_left = num_runs + len(own), num_left + len(left)
            total += sum(map(cost.seconds, left))
    table.title = f"{directory}: {num_runs} runs"
    at_a_time = min(num_jobs(jobs, device.resolve()), max(num_left, 1))
    show(
        table,
        "Steps, gradients and times are of one run. "
        f"Still to do: {num_left} runs, {duration(total)} of work, "
        f"about {duration(total / at_a_time)} with {at_a_time} at a time. Nothing was done.",
    )


def parts(config: StudyConfig, directory: Path) -> dict[str, list[Placed]]:
    """Return the jobs of a study: those of its search, its runs, and those of each sweep.

    Args:
        config: The study.
        directory: Of the study. Where its search is not done, the runs are taken to have the middle of each range.

    Returns:
        Jobs with their folders by "tuning", "runs", and the name of each swept setting.
    """
    chosen: Chosen = {}
    found: dict[str, list[Placed]] = {}
    if config.tuning is not None:
        found[TUNING] = tuning_jobs(config, directory)
        middle = config.tuning.trials // 2
        chosen = {job.method: job.settings for job, _ in found[TUNING] if job.variant == f"trial{middle}"}
        chosen = {method: {key: own[key] for key in ("lr", "rho") if key in own} for method, own in chosen.items()}
        chosen = {**chosen, **{method: chosen[other] for method, other in config.tuning.same_as.items()}}
        if (directory / TUNING_FILE).is_file():
            chosen = {**chosen, **found_settings(directory)}  # a method that was added has none yet
    found[RUNS] = list(jobs_after(config, directory, chosen).runs)
    for point in points(config, directory, chosen):
        if not point.is_base:
            found.setdefault(point.setting.replace("_", " "), []).append((point.job, point.folder))
    return found


def duration(seconds: float) -> str:
    """Return a time for the reader.

    Args:
        seconds: >= 0.

    Example:
        >>> duration(0.4), duration(48), duration(400), duration(9000)
        ('1 s', '48 s', '7 min', '2.5 h')
    """
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
