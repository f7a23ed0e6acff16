"""What one run of a study costs: steps and gradients, which are counted, and seconds, which are a guide.

Steps, gradients and the measurements of a probe are right when a run that is then done has taken as many
(`tests/landscape/study/test_cost.py`). Seconds are those of a few steps with one thread, as runs have, and of one
gradient over the data that are measured on, times what the measurements usually take: a guide to within a factor of
about two. Cost: loading the data, a few steps, four gradients.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from landscape.jobs.attempts import one_thread
from landscape.jobs.measurements import Measure
from landscape.measuring.robustness import SEVERITIES, TITLE
from landscape.measuring.stages import PROBES, STEPS, Stage
from landscape.records.layout import TRAINING
from landscape.study.config import StudyConfig

# Steps that are timed; the first ones are slower.
TIMED_STEPS = 6
LOSS = 1 / 3  # in gradients; a Hessian product is two
# Gradients over all data that a measurement usually takes.
USUAL = {
    "curvature/eigenvalues": 2 * 20,
    "curvature/trace": 2 * 60,
    "curvature/trace_centralized": 2 * 60,
    "curvature/density": 2 * PROBES * STEPS,
    "sharpness/worst": 41 + 53 * LOSS,
    "sharpness/worst_adaptive": 41 + 53 * LOSS,
    "sharpness/average": 201 * LOSS,
    "sharpness/average_adaptive": 201 * LOSS,
    "noise/gradient_noise": 3,
    "noise/minibatch": 8,  # 64 batches of 32, at most three gradients each kind
}
# The same of a probe, over its own samples: the eigenvalue starts from the last one's vector, the trace has 10 vectors.
PROBED = {"lambda_max": 2 * 8, "trace": 2 * 10, "noise": 3, "sharpness": 2 + 2 * LOSS}


@dataclass(frozen=True)
class Cost:
    """Of one run of a method.

    Args:
        steps: Of training.
        gradients: Of a batch, of all steps.
        probes: Measurements on the way.
        training: Seconds.
        watching: Seconds of the measurements on the way.
        measuring: Title of each measurement at the end to its seconds.
    """

    steps: int
    gradients: int
    probes: int
    training: float
    watching: float
    measuring: Mapping[str, float]

    def seconds(self, left: Collection[str]) -> float:
        """Return what is left to do of a run.

        Args:
            left: Titles, as from `landscape.jobs.Job.remaining`.
        """
        on_the_way = self.training + self.watching if TRAINING in left else 0.0
        return on_the_way + sum(seconds for title, seconds in self.measuring.items() if title in left)


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
    from gcsam.training.corruptions import CORRUPTIONS
    from gcsam.training.drift import Stream

    settings = TrainConfig(**{**config.settings(method, 0), "device": device})
    splits = load_data(settings, device)
    steps = Stream(settings, splits).num_steps
    ascends = METHODS[settings.method]["ascends"] and settings.rho > 0
    limit = min(TIMED_STEPS * settings.batch_size, len(splits.train))
    few = settings.replace(drift="none", epochs=1, train_limit=limit, trajectory_every=0, trajectory_every_steps=0)
    with tempfile.TemporaryDirectory(prefix="landscape-") as folder, one_thread():
        run = train(few, folder)
        batches = splits.train.all_batches(settings.batch_size, config.samples)
        objective = analysis.Objective(run.model(device), torch.nn.CrossEntropyLoss(), batches)
        of_a_gradient = seconds_of_a_gradient(objective)
    training = steps * float(statistics.median(run.history["step_seconds"]))
    of_a_sample = of_a_gradient / min(config.samples or len(splits.train), len(splits.train))
    measuring = {stage.title: of_a_gradient * _usual(stage) for stage in config.measurements().stages()}
    if "robustness" in config.measure.of:
        measuring[TITLE] = of_a_sample * LOSS * (len(CORRUPTIONS) * len(SEVERITIES) + 1) * len(splits.test)
    probes = num_probes(config.measure, steps, settings.epochs)
    of_a_probe = of_a_sample * min(config.measure.probe_samples, len(splits.train)) * _probed(config.measure)
    watching = watched(probes, of_a_probe, config.measure.probe_budget * training)
    return Cost(steps, steps * (2 if ascends else 1), probes, training, watching, measuring)


def num_probes(measure: Measure, steps: int, epochs: int) -> int:
    """Return how many times a probe measures during a run, if its budget leaves out none.

    Args:
        measure: What the study asks for.
        steps: Of the training.
        epochs: Likewise.

    Example:
        >>> num_probes(Measure(probe="epochs:3"), 300, 30), num_probes(Measure(probe="every:50"), 120, 30)
        (11, 3)
    """
    from analysis.probe.schedule import from_text

    if not measure.probe:
        return 0
    schedule = from_text(measure.probe)
    return sum(map(schedule.at_step, range(steps + 1))) + sum(map(schedule.at_epoch, range(1, epochs + 1)))


def watched(probes: int, seconds: float, budget: float) -> float:
    """Return how long a probe takes in all: as long as its budget at most, but for the first, which is never left out.

    Args:
        probes: As from `num_probes`.
        seconds: Of each.
        budget: In seconds.

    Example:
        >>> watched(10, 2.0, float("inf")), watched(10, 2.0, 5.0), watched(10, 2.0, 1.0), watched(0, 2.0, 5.0)
        (20.0, 5.0, 2.0, 0.0)
    """
    return max(seconds, min(probes * seconds, budget)) if probes else 0.0


def _probed(measure: Measure) -> float:
    return LOSS + sum(PROBED[name] for name in measure.probe_of)


def _usual(stage: Stage) -> float:
    if stage.is_grid:
        points: list[int] = stage.settings["points"]
        return points[0] * points[1] * LOSS
    return USUAL[stage.key]
