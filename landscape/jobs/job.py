"""One run of a study as a job: all that decides its numbers, and nothing else, so that it can be done anywhere.

A job is plain data: it can be pickled, sent to another process or machine, and compared with what a folder holds.
Right when a job that was sent and done elsewhere gives the files that it gives here
(`tests/landscape/jobs/test_job.py`).
Costs nothing; needs no torch until it is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.store import list_measurements, place_free
from landscape.jobs.measurements import Measure, Measurements
from landscape.measuring import robustness
from landscape.measuring.stages import Stage, is_finished
from landscape.progress import Display
from landscape.records.layout import DIVERGED_FILE, RUN_FILE, TRAINING

# To be raised whenever the code, or a default of a setting, comes to give other numbers for the same job: runs made
# before are then refused, not mixed with those made after.
JOBS_VERSION = 1
# Decide no number: where to compute, and where the data lie.
PLACES = ("device", "root")
# As `landscape.measuring.stages.Stage.weight`.
TRAINING_WEIGHT = 2.0


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

    @property
    def content(self) -> dict[str, Any]:
        """All that decides its numbers, as JSON holds it: no name, no device, and of files of data the name alone."""
        measurements = None if self.measurements is None else asdict(self.measurements)
        if measurements is not None:
            del measurements["of"]  # to measure more, or less, changes none of the other numbers
        settings = {"seed": self.seed, **without_places(self.settings)}
        whole = {"version": JOBS_VERSION, "settings": settings, "measurements": measurements}
        found: dict[str, Any] = json.loads(json.dumps(whole, sort_keys=True))
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of the content: equal for jobs that give the same numbers, as far as can be told without torch.

        A setting that is left out and one that is given its default value are told apart here; `landscape.jobs.folder`
        compares once more with all defaults filled in before it calls two jobs different.
        """
        return hashlib.sha256(json.dumps(self.content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def is_tried_on_shifted_inputs(self) -> bool:
        """Whether its robustness is measured."""
        return self.measurements is not None and "robustness" in self.measurements.of

    def stages(self) -> list[Stage]:
        """Return the measurements of the objective to be made, in order."""
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
        left = robustness.left(path) if self.is_tried_on_shifted_inputs else {}
        left |= {stage.title: stage.weight for stage in self.stages() if not is_finished(stage, path)}
        is_trained = path.is_file() and "training/summary" in list_measurements(path)
        return left if is_trained else {TRAINING: TRAINING_WEIGHT, **left}


def without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without what only says where things are.

    Args:
        settings: Of `gcsam.training.TrainConfig`.

    Example:
        >>> without_places({"data": "npz:/home/me/scans.npz", "device": "cpu", "lr": 0.1})
        {'data': 'npz:scans.npz', 'lr': 0.1}
    """
    kept = {name: value for name, value in settings.items() if name not in PLACES}
    if "data" in kept:
        kept["data"] = place_free(str(kept["data"]))
    return kept


def differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return what differs between settings and stored ones, a text for each: "lr 0.1, stored 0.2".

    Args:
        mine: Settings by name.
        theirs: Those that are stored.
    """
    return [
        f"{name} {mine.get(name, 'by default')}, stored {theirs.get(name, 'by default')}"
        for name in sorted(mine.keys() | theirs.keys())
        if mine.get(name) != theirs.get(name)
    ]


def do_job(job: Job, folder: Path, device: str, shown: Display) -> None:
    """Do what of a job its folder does not hold yet.

    Args:
        job: Which one.
        folder: Of the run; made where it is not.
        device: "cpu" or "cuda".
        shown: Told how far it is.

    Raises:
        TrainingDiverged: The loss stopped being finite.
    """
    from gcsam.training import TrainConfig, TrainingDiverged
    from landscape.measuring.measure import measure
    from landscape.measuring.probing import wish
    from landscape.measuring.training import train_run
    from landscape.network.opening import run_subject

    config, watching = TrainConfig(**{**job.settings, "device": device}), job.watching
    probe = None
    if watching is not None:
        probe = wish(watching.probe, watching.probe_budget, watching.probe_samples, watching.probe_of)
    try:
        run, splits = train_run(config, folder, shown, probe, name=job.method)
    except TrainingDiverged as error:
        if not job.may_diverge:
            raise
        (folder / DIVERGED_FILE).write_text(f"{error}\n", encoding="utf-8")
        return
    if job.is_tried_on_shifted_inputs:
        robustness.measure_robustness(run, device, shown, splits=splits)
    if job.measurements is not None:
        subject = run_subject(run, device, limit=job.measurements.samples, splits=splits)
        measure(subject, job.stages(), shown)
