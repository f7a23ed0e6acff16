"""Runs of a study done once more, from its file alone, and every number laid beside the stored one.

The file of a study holds its settings, those that its search found, and each number of each run: all that a doubter
needs. Right when a run that is done again agrees in every number, and one stored digit that was changed is found
(`tests/landscape/study/test_reproducing.py`). Cost: that of the runs; searches and sweeps are not done again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from analysis.claims import RunTable, collect
from analysis.claims.sweeps import COLUMNS
from analysis.store import list_measurements, provenance, read, read_attributes
from landscape.jobs.executors import Where
from landscape.jobs.job import Job
from landscape.jobs.running import run_jobs
from landscape.progress import Display
from landscape.records.layout import RUN_FILE
from landscape.study.config import StudyConfig
from landscape.study.named import missing_place
from landscape.study.tuning import TUNING, chosen_in

TIME = "s"  # unit of the columns that no two calls share
# What of a file's provenance decides the last digits.
DECISIVE = ("processor", "device", "python", "library_versions")


@dataclass(frozen=True)
class Likeness:
    """A run beside the same one, done again.

    Args:
        run: Its name, "gcsam-seed0".
        compared: How many numbers one or both have, without times.
        differing: Column to the stored number and the new one, where these differ in any digit.
    """

    run: str
    compared: int
    differing: Mapping[str, tuple[float, float]]

    @property
    def largest(self) -> tuple[str, float]:
        """The column that differs most and its relative difference; "" and 0 where none does."""
        differences = {name: _relative(*pair) for name, pair in self.differing.items()}
        name = max(differences, key=differences.__getitem__, default="")
        return name, differences.get(name, 0.0)


def stored_jobs(study: Path, places: Mapping[str, str]) -> dict[str, Job]:
    """Return the judged runs of a study as jobs by name, with the settings they had.

    Args:
        study: Its file.
        places: Where the data lie on this machine: "root" and "data" of the settings of training.

    Raises:
        ValueError: The file holds no study, or its data are to be had nowhere.
    """
    there = list_measurements(study)
    text = read_attributes(study).get("config", "{}")
    if "training/runs" not in there or "methods" not in text:
        raise ValueError(f"{study}: holds no study with its settings; give the study.h5 that landscape study wrote")
    config = StudyConfig.from_json(text)
    config = dataclasses.replace(config, train={**config.train, **places})
    option = missing_place(config, places)
    if option:
        raise ValueError(f"{study}: its data are needed: give {option}")
    key = f"training/{TUNING}"
    chosen = chosen_in(read(study, key)) if key in there else {}
    return {job.name: job for job in config.jobs(chosen)}


def reproduce(
    study: Path, names: Sequence[str], folder: Path, where: Where, places: Mapping[str, str], shown: Display
) -> list[Likeness]:
    """Do runs of a study again, and compare them with what its file says.

    Args:
        study: Its file; it is not changed.
        names: Of the runs; none for all that it holds.
        folder: Gets a folder for each run; finished ones in it are compared as they are.
        where: Who does the runs.
        places: As for `stored_jobs`.
        shown: Told how far they are.

    Returns:
        A comparison for each run.

    Raises:
        ValueError: There is no such run, or its folder holds another one.
        RuntimeError: A run failed.
    """
    jobs = stored_jobs(study, places)
    for name in names:
        if name not in jobs:
            raise ValueError(f"{study}: has no run {name!r}; choose of {', '.join(jobs)}")
    placed = [(jobs[name], folder / name) for name in names or jobs]
    for (job, _), outcome in zip(placed, run_jobs(placed, where, shown), strict=True):
        if outcome.state != "finished":
            raise RuntimeError(f"{job.name} {outcome.state}: {outcome.reason}")
    again = collect([path / RUN_FILE for _, path in placed])
    stored = RunTable.load(study)
    return [_likeness(job, stored, again) for job, _ in placed]


def other_conditions(study: Path, device: str) -> list[str]:
    """Return what differs between the machine of a study's file and this one, a text for each.

    Args:
        study: Its file.
        device: Where the runs were done here.
    """
    stored, here = read_attributes(study), provenance(device=device)
    return [
        f"{name} {stored[name]}, here {here[name]}"
        for name in DECISIVE
        if name in stored and stored[name] != here[name]
    ]


def likeness_table(found: Sequence[Likeness]) -> Table:
    """Return a row for each run.

    Args:
        found: The comparisons.
    """
    table = Table(title="done again, beside what is stored", title_justify="left")
    for heading in ("run", "numbers", "equal to the last digit", "largest difference"):
        table.add_column(heading, justify="right" if heading.startswith(("numbers", "equal")) else "left")
    for run in found:
        name, size = run.largest
        told = f"{name}: {size:.1e} of it" if name else "none"
        if math.isinf(size):
            told = "{}: stored {:g}, now {:g}".format(name, *run.differing[name])
        table.add_row(run.run, str(run.compared), str(run.compared - len(run.differing)), told)
    return table


def _likeness(job: Job, stored: RunTable, again: RunTable) -> Likeness:
    names = [name for name, variable in stored.columns.items() if variable.units != TIME and name not in COLUMNS]
    one, other = ({name: table.by_seed(job.method, name)[job.seed] for name in names} for table in (stored, again))
    pairs = {name: (one[name], other[name]) for name in names}
    measured = {name: pair for name, pair in pairs.items() if not all(map(math.isnan, pair))}
    differing = {name: pair for name, pair in measured.items() if pair[0] != pair[1]}
    return Likeness(job.name, len(measured), differing)


def _relative(first: float, second: float) -> float:
    """Return the difference in shares of the larger one; infinite where one of them is no number."""
    if not (math.isfinite(first) and math.isfinite(second)):
        return math.inf
    return abs(first - second) / max(abs(first), abs(second))
