"""What a study would do: its runs, their cost in gradients, and how long they take; nothing of it is done.

Steps and gradients are counted, not estimated: right when a run that is then done has taken as many
(`tests/landscape/test_dry_run.py`). Seconds are those of a few steps of each method, and of one gradient over the data
that are measured on, times what the measurements usually take: a guide to within a factor of about two.
Cost: loading the data, a few steps of each method, four gradients.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from analysis.store import list_measurements
from landscape.options import Device
from landscape.results import RUN_FILE
from landscape.stages import Stage, is_finished
from landscape.study_config import StudyConfig
from landscape.tables import show
from landscape.workers import num_cores

# Steps that are timed; the first ones are slower.
TIMED_STEPS = 6
# Gradients over all data that a measurement usually takes, a loss being a third of one and a Hessian product two.
USUAL = {
    "curvature/eigenvalues": 2 * 20,
    "curvature/trace": 2 * 60,
    "curvature/trace_centralized": 2 * 60,
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
    left = {method: 0 for method in config.methods}
    for method, seed in config.runs():
        path = directory / "runs" / f"{method}-seed{seed}" / RUN_FILE
        is_trained = path.is_file() and "training/summary" in list_measurements(path)
        left[method] += not (is_trained and all(is_finished(stage, path) for stage in config.stages()))
    table = Table(
        title=f"{directory}: {len(config.runs())} runs", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("method")
    for heading in ("seeds", "still to do", "steps", "batch gradients", "training", "measuring"):
        table.add_column(heading, justify="right")
    for method, cost in costs.items():
        numbers = (str(config.seeds), str(left[method]), str(cost.steps), str(cost.gradients))
        table.add_row(method, *numbers, duration(cost.training), duration(cost.measuring))
    total = sum(cost.seconds * left[method] for method, cost in costs.items())
    workers = min(num_cores(), max(sum(left.values()), 1))
    show(
        table,
        "Steps, gradients and times are of one run. "
        f"Still to do: {sum(left.values())} runs, {duration(total)} of work, "
        f"about {duration(total / workers)} with {workers} at a time. Nothing was done.",
    )


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

    settings = TrainConfig(**{**config.settings(method, 0), "device": device})
    splits = load_data(settings, device)
    steps = settings.epochs * splits.train.num_batches(settings.batch_size)
    ascends = METHODS[settings.method]["ascends"] and settings.rho > 0
    limit = min(TIMED_STEPS * settings.batch_size, len(splits.train))
    few = settings.replace(epochs=1, train_limit=limit, trajectory_every=0, trajectory_every_steps=0)
    with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
        run = train(few, folder)
        batches = splits.train.all_batches(settings.batch_size, config.samples)
        objective = analysis.Objective(run.model(device), torch.nn.CrossEntropyLoss(), batches)
        seconds = seconds_of_a_gradient(objective)
    usual = sum(_usual(stage) for stage in config.stages())
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
