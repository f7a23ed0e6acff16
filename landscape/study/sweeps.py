"""Runs over a grid of one setting: the radius for claim 5, the share of wrong labels for claim 8, the learning rate.

A run of the study whose setting is on the grid is used as it is. Right when the table of a sweep holds the test
accuracy of each of its runs, and NaN for one that diverged (`tests/landscape/study/test_sweeps.py`). Cost: the runs,
trained only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.claims.sweeps import SweepTable
from analysis.store import list_measurements, read
from landscape.jobs.job import Job
from landscape.records.layout import RUN_FILE
from landscape.study.config import StudyConfig
from landscape.study.parts import SWEPT
from landscape.study.tuning import Chosen

SWEEPS, RUNS = "sweeps", "runs"
# Those of `gcsam.training.TrainConfig`, which loads torch.
DEFAULTS = {"lr": 0.05, "rho": 0.05, "label_noise": 0.0}


@dataclass(frozen=True)
class Point:
    """One run on a grid.

    Args:
        setting: That is swept.
        value: Of it.
        job: To be done.
        folder: Of the run.
        is_base: Whether it is a run of the study itself.
    """

    setting: str
    value: float
    job: Job
    folder: Path
    is_base: bool


def points(config: StudyConfig, directory: Path, chosen: Chosen) -> list[Point]:
    """Return the runs of all sweeps, seed by seed.

    Args:
        config: The study.
        directory: Of the study.
        chosen: Method to the settings that a search found for it.
    """
    found = []
    for setting, values in config.sweep.grids().items():
        methods = swept_methods(config, setting)
        for seed in range(config.seeds):
            for method in methods:
                base = config.settings(method, seed, chosen)
                for value in values:
                    is_base = base.get(setting, DEFAULTS[setting]) == value
                    variant = "" if is_base else f"{setting}{value:g}"
                    job = Job(method, seed, {**base, setting: value}, None, variant=variant, may_diverge=not is_base)
                    folder = directory / (RUNS if is_base else SWEEPS) / job.name
                    found.append(Point(setting, value, job, folder, is_base))
    return found


def swept_methods(config: StudyConfig, setting: str) -> list[str]:
    """Return the methods that a sweep varies: those named, or all on which the setting acts.

    Args:
        config: The study.
        setting: One of `landscape.study.parts.SWEPT`.
    """
    named = config.sweep.methods or tuple(config.methods)
    return [method for method in named if setting != "rho" or config.ascends(method)]


def sweep_tables(config: StudyConfig, directory: Path, chosen: Chosen) -> list[SweepTable]:
    """Return what the sweeps came to, a table for each setting that is swept.

    Args:
        config: The study.
        directory: Of the study.
        chosen: As for `points`.
    """
    found = points(config, directory, chosen)
    return [_table(name, [p for p in found if p.setting == name]) for name in SWEPT if config.sweep.grids().get(name)]


def _table(setting: str, found: Sequence[Point]) -> SweepTable:
    methods = list(dict.fromkeys(point.job.method for point in found))
    seeds = list(dict.fromkeys(point.job.seed for point in found))
    values = list(dict.fromkeys(point.value for point in found))
    shape = (len(methods), len(seeds), len(values))
    numbers = {name: np.full(shape, np.nan) for name in ("test_accuracy", "validation_accuracy", "train_accuracy")}
    for point in found:
        path = point.folder / RUN_FILE
        if path.is_file() and "training/summary" in list_measurements(path):
            summary = read(path, "training/summary").variables
            place = (methods.index(point.job.method), seeds.index(point.job.seed), values.index(point.value))
            for name, array in numbers.items():
                array[place] = float(summary[name].data)
    return SweepTable(setting, tuple(values), tuple(methods), tuple(seeds), numbers)
