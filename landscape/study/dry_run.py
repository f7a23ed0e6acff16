"""What a study would do: its runs, their cost in gradients, and how long they take; nothing of it is done.

Steps and gradients are counted, not estimated: right when a run that is then done has taken as many
(`tests/landscape/study/test_dry_run.py`). Seconds are those of a few steps of each method, and of one gradient over the
data that are measured on, times what the measurements usually take: a guide to within a factor of about two.
Cost: loading the data, a few steps of each method, four gradients.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from landscape.jobs.workers import num_cores
from landscape.measuring.stages import PROBES, STEPS, Stage
from landscape.options import Device
from landscape.study.config import StudyConfig
from landscape.study.phases import jobs_after
from landscape.study.sweeps import RUNS, points
from landscape.study.tuning import TUNING, TUNING_FILE, Chosen, Placed, found_settings, tuning_jobs
from landscape.tables.printing import show

# Steps that are timed; the first ones are slower.
TIMED_STEPS = 6
# Gradients over all data that a measurement usually takes, a loss being a third of one and a Hessian product two.
USUAL = {
    "curvature/eigenvalues": 2 * 20,
    "curvature/trace": 2 * 60,
    "curvature/trace_centralized": 2 * 60,
    "curvature/density": 2 * PROBES * STEPS,
    "sharpness/worst": 41 + 53 / 3,
    "sharpness/worst_adaptive": 41 + 53 / 3,
    "sharpness/average": 201 / 3,
    "sharpness/average_adaptive": 201 / 3,
    "noise/gradient_noise": 3,
    "noise/minibatch": 8,  # 64 batches of 32, at most three gradients each kind
}


@dataclass(frozen=True)
class Cost:
    """Of one run of a method.

    Args:
        steps: Of training.
        gradients: Of a batch, of all steps.
        training: Seconds.
        measuring: Seconds.
    """

    steps: int
    gradients: int
    training: float
    measuring: float

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.training + self.measuring


def show_plan(config: StudyConfig, directory: Path, device: Device) -> None:
    """Print what `run_study` would do.

    Args:
        config: The settings.
        directory: Of the study; runs that are finished in it cost nothing.
        device: Where it would compute.
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
            left = sum(bool(job.remaining(folder)) for job, folder in own)
            cost = costs[method] if part == RUNS else replace(costs[method], measuring=0.0)
            numbers = (len(own), left, cost.steps, cost.gradients)
            measuring = duration(cost.measuring) if cost.measuring else "none"
            label = method if part == RUNS else f"{method}, {part}"
            table.add_row(label, *map(str, numbers), duration(cost.training), measuring)
            num_runs, num_left, total = num_runs + len(own), num_left + left, total + left * cost.seconds
    table.title = f"{directory}: {num_runs} runs"
    workers = min(num_cores(), max(num_left, 1))
    show(
        table,
        "Steps, gradients and times are of one run. "
        f"Still to do: {num_left} runs, {duration(total)} of work, "
        f"about {duration(total / workers)} with {workers} at a time. Nothing was done.",
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


def cost_of(config: StudyConfig, method: str, device: str) -> Cost:
    """Count the steps and gradients of a run, and time a few of them.

    Args:
        config: Of the study.
        method: Its name there.
        device: "cpu" or "cuda".

    Returns:
        Counts that are exact, seconds that are a guide.
    """
    import torch

    import analysis
    from analysis.report.budget import seconds_of_a_gradient
    from gcsam.training import TrainConfig, load_data, train
    from gcsam.training.config import METHODS
    from gcsam.training.drift import Stream

    settings = TrainConfig(**{**config.settings(method, 0), "device": device})
    splits = load_data(settings, device)
    steps = Stream(settings, splits).num_steps
    ascends = METHODS[settings.method]["ascends"] and settings.rho > 0
    limit = min(TIMED_STEPS * settings.batch_size, len(splits.train))
    few = settings.replace(drift="none", epochs=1, train_limit=limit, trajectory_every=0, trajectory_every_steps=0)
    with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
        run = train(few, folder)
        batches = splits.train.all_batches(settings.batch_size, config.samples)
        objective = analysis.Objective(run.model(device), torch.nn.CrossEntropyLoss(), batches)
        seconds = seconds_of_a_gradient(objective)
    usual = sum(_usual(stage) for stage in config.measurements().stages())
    training = steps * float(statistics.median(run.history["step_seconds"]))
    return Cost(steps, steps * (2 if ascends else 1), training, usual * seconds)


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


def _usual(stage: Stage) -> float:
    if stage.is_grid:
        points: list[int] = stage.settings["points"]
        return points[0] * points[1] / 3
    return USUAL[stage.key]
