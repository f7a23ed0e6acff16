"""One run of a study as a job: all that decides its numbers, and nothing else, so that it can be done anywhere.

A job is plain data: it can be pickled, sent to another process or machine, and compared with what a folder holds.
Right when a job that was sent and done elsewhere gives the files that it gives here (`tests/landscape/test_jobs.py`).
Costs nothing; needs no torch until it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.store import list_measurements
from landscape import stages
from landscape.noise_stages import minibatch
from landscape.progress import Display
from landscape.results import DIVERGED_FILE, RUN_FILE, TRAINING
from landscape.scans import Scan, scan
from landscape.stages import Stage, is_finished
from landscape.study_parts import MEASURED, Measure

# As `landscape.stages.Stage.weight`.
TRAINING_WEIGHT = 2.0


@dataclass(frozen=True)
class Measurements:
    """What is measured on a run once it is trained.

    Args:
        rho: Radius of the sharpness measurements.
        points: Of the surface, along both directions.
        samples: Training samples that are measured on, or None for all.
        batch_size: Of the batches whose ascent directions are compared.
        of: Some of `landscape.study_parts.MEASURED`.
    """

    rho: float
    points: int
    samples: int | None
    batch_size: int
    of: tuple[str, ...] = MEASURED

    def stages(self) -> list[Stage]:
        """Return the measurements in order: the surface last, since it can be stopped midway."""
        eigenvalues, trace = stages.curvature()
        found = {
            "eigenvalues": [eigenvalues],
            "trace": [trace, stages.centralized_trace()],
            "sharpness": stages.sharpness(rho=self.rho),
            "noise": [stages.noise(), minibatch((self.batch_size,))],
            "surface": [scan(Scan(points=str(self.points), plan="given"))],  # which repeats to the last bit
        }
        return [stage for name in MEASURED if name in self.of for stage in found[name]]


@dataclass(frozen=True)
class Job:
    """Train one network, then measure it.

    Args:
        method: As the study names it.
        seed: Of initialization and data order.
        settings: Of `gcsam.training.TrainConfig`, all but the device; what is left out has its default there.
        measurements: None for a run that is trained alone.
        variant: What sets it apart from the method's run with that seed, one word: "trial3", "rho0.1".
        may_diverge: Whether a training that diverges is an answer, noted in its folder, and no failure.
        watching: Says what a probe measures while it is trained; None for no probe.
    """

    method: str
    seed: int
    settings: Mapping[str, Any]
    measurements: Measurements | None
    variant: str = ""
    may_diverge: bool = False
    watching: Measure | None = None

    @property
    def name(self) -> str:
        """That of its folder."""
        return "-".join(filter(None, (self.method, self.variant, f"seed{self.seed}")))

    @property
    def title(self) -> str:
        """What the reader knows it by."""
        return f"{self.method}{f' {self.variant}' if self.variant else ''}, seed {self.seed}"

    def stages(self) -> list[Stage]:
        """Return the measurements to be made, in order."""
        return [] if self.measurements is None else self.measurements.stages()

    def remaining(self, folder: Path) -> dict[str, float]:
        """Return what its file does not hold yet.

        Args:
            folder: Of the run; it need not exist.

        Returns:
            Title of each stage to its weight, in order.
        """
        path = folder / RUN_FILE
        if (folder / DIVERGED_FILE).is_file():
            return {}
        if path.is_file() and "training/summary" in list_measurements(path):
            return {stage.title: stage.weight for stage in self.stages() if not is_finished(stage, path)}
        return {TRAINING: TRAINING_WEIGHT, **{stage.title: stage.weight for stage in self.stages()}}


def do_job(job: Job, folder: Path, device: str, shown: Display) -> None:
    """Do what of a job its folder does not hold yet.

    Args:
        job: Which one.
        folder: Of the run; made where it is not.
        device: "cpu" or "cuda".
        shown: Told how far it is.
    """
    from gcsam.training import TrainConfig, TrainingDiverged
    from landscape.measuring import measure
    from landscape.probing import wish
    from landscape.subjects import run_subject
    from landscape.training import train_run

    config, watching = TrainConfig(**{**job.settings, "device": device}), job.watching
    probe = None
    if watching is not None:
        probe = wish(watching.probe, watching.probe_budget, watching.probe_samples)
    try:
        run, splits = train_run(config, folder, shown, probe, name=job.method)
    except TrainingDiverged as error:
        if not job.may_diverge:
            raise
        (folder / DIVERGED_FILE).write_text(f"{error}\n", encoding="utf-8")
        return
    if job.measurements is not None:
        subject = run_subject(run, device, limit=job.measurements.samples, splits=splits)
        measure(subject, job.stages(), shown)
