"""The order of a study: settings are found first, then the runs are done, and those of the sweeps.

Who does the jobs is given, so that one rule serves every way of doing them. Right when the main runs have the settings
that were found, and nothing is done twice (`tests/landscape/study/test_phases.py`). Costs nothing beside the jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.claims.sweeps import SweepTable
from analysis.store import Measurement
from landscape.jobs.folder import FAILURE_FILE
from landscape.records.layout import DIVERGED_FILE, RUN_FILE
from landscape.study.config import CONFIG_FILE, StudyConfig
from landscape.study.sweeps import RUNS, points, sweep_tables
from landscape.study.tuning import Chosen, Placed, is_tuned, tuned, tuning_table


@dataclass(frozen=True)
class Phases:
    """The jobs of a study once its settings are found.

    Args:
        runs: Those that are judged.
        sweeps: Those of the grids that are not among them.
    """

    runs: Sequence[Placed]
    sweeps: Sequence[Placed]

    @property
    def files(self) -> list[Path]:
        """The result file of each run that is judged."""
        return [folder / RUN_FILE for _, folder in self.runs]

    @property
    def sources(self) -> list[Path]:
        """What each run came to, the files that the study's own file is made from."""
        names = (RUN_FILE, DIVERGED_FILE, FAILURE_FILE)
        folders = [folder for _, folder in (*self.runs, *self.sweeps)]
        return [folder / name for folder in folders for name in names if (folder / name).is_file()]


@dataclass(frozen=True)
class Grids:
    """What a study's file holds beside its runs.

    Args:
        sweeps: A table for each setting that was swept.
        tuning: The trials; None where nothing was tuned.
    """

    sweeps: Sequence[SweepTable] = field(default_factory=list)
    tuning: Measurement | None = None


def phases(
    config: StudyConfig,
    directory: Path,
    do: Callable[[Sequence[Placed]], None],
    note: Callable[[str], None],
) -> Phases:
    """Find the settings of a study, where that was not done, and return the jobs that follow.

    Args:
        config: The study.
        directory: Of the study.
        do: Does jobs in their folders, those that are not done.
        note: Told what the reader should know.

    Returns:
        The jobs of the runs and sweeps, with the settings that were found.
    """
    return jobs_after(config, directory, tuned(config, directory, do, note))


def jobs_after(config: StudyConfig, directory: Path, chosen: Chosen) -> Phases:
    """Return the jobs of a study whose settings are known.

    Args:
        config: The study.
        directory: Of the study.
        chosen: Method to the settings that a search found for it.
    """
    runs = [(job, directory / RUNS / job.name) for job in config.jobs(chosen)]
    swept = [(point.job, point.folder) for point in points(config, directory, chosen) if not point.is_base]
    return Phases(runs, swept)


def grids(directory: Path) -> Grids:
    """Return what the searches and sweeps of a study came to.

    Args:
        directory: Of the study; one that holds runs and no `study.json` has neither.
    """
    path = directory / CONFIG_FILE
    if not path.is_file():
        return Grids()
    config = StudyConfig.from_json(path.read_text(encoding="utf-8"))
    if not is_tuned(config, directory):
        return Grids()
    chosen = tuned(config, directory, _nothing, _nothing)
    return Grids(sweep_tables(config, directory, chosen), tuning_table(directory))


def _nothing(_: object) -> None:
    """Do no job, and tell nobody."""
