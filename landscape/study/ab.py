"""`landscape study --compare A B`: train two methods with the same seeds, measure what the criteria need, answer.

A study of two methods that measures no more than its criteria speak of, with an answer in place of verdicts: yes, no
or not yet, and the command that goes on. The looks at growing numbers of seeds are remembered in the study's file.
Right when only what is needed is measured, a second call starts nothing, and added seeds count as a second look
(`tests/landscape/study/test_ab.py`). Cost: the runs; for criteria about accuracy that is training alone.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.claims.run_numbers import IN_TRAINING, KINDS
from analysis.claims.success import EXAMPLE, parse_success
from landscape.jobs.executors import PROCESS, Where, check_executor
from landscape.jobs.measurements import MEASURED, Measure
from landscape.jobs.running import run_jobs
from landscape.options import Device
from landscape.progress import display
from landscape.records.layout import FIGURES, STUDY_FILE, is_current
from landscape.study.config import CONFIG_FILE, StudyConfig, claim_directory
from landscape.study.parts import Sweep
from landscape.study.phases import phases
from landscape.study.results import judge_ab
from landscape.study.running import draw, stopped_by_sigterm, tell_failures
from landscape.study.tuning import Placed
from landscape.tables.ab import ab_table, answer_lines
from landscape.tables.printing import show

# As many as a verdict needs.
SEEDS = 5
# Column of the run table to what has to be measured for it; all others come with the training.
MEASURED_FOR = {
    **dict.fromkeys(("lambda_max", "lambda_ratio"), "eigenvalues"),
    **dict.fromkeys(("trace", "trace_centralized"), "trace"),
    **dict.fromkeys(("worst", "average", "worst_adaptive", "average_adaptive"), "sharpness"),
    **dict.fromkeys(("corrupted_accuracy", "corruption_gap"), "robustness"),
    **{
        f"{kind}_{number}": "noise"
        for kind in KINDS
        for number in ("noise_trace", "noise_signal", "noise_scale", "ascent_cosine")
    },
}


@dataclass(frozen=True)
class Wish:
    """What the user gave to `landscape study`, so that the command that goes on can be told.

    Args:
        given: The study as given, a name or a file.
        name: Of the study, for its folder.
        methods: Baseline and candidate; None where --compare was not given.
        success: Criteria; empty where --success was not given.
        quick: Whether a small study is wanted.
        output: Folder; None for runs/NAME-A-vs-B.
        places: Where the data lie, as --root and --data.
        device: Where to compute.
        workers: Runs at a time; None for the default.
        executor: Who does the runs.
        retry: Whether to do again what failed.
    """

    given: str
    name: str
    methods: tuple[str, str] | None
    success: str
    quick: bool = False
    output: Path | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    device: Device = Device.AUTO
    workers: int | None = None
    executor: str = PROCESS
    retry: bool = False

    @property
    def folder(self) -> Path:
        """Of the study."""
        name = f"{self.name}-quick" if self.quick else self.name
        return self.output or Path("runs") / "-".join([name, "-vs-".join(self.methods or ())])

    def command(self, seeds: int) -> str:
        """Return the command that does the same with so many seeds.

        Args:
            seeds: In all.
        """
        words = ["landscape", "study", self.given, "--compare", *(self.methods or ()), "--success", self.success]
        words += ["--quick"] if self.quick else []
        words += ["--output", str(self.output)] if self.output else []
        words += [word for name, place in self.places.items() for word in (f"--{name}", place)]
        words += ["--jobs", str(self.workers)] if self.workers else []
        words += ["--executor", self.executor] if self.executor != PROCESS else []
        words += ["--device", self.device.value] if self.device is not Device.AUTO else []
        return shlex.join([*words, "--seeds", str(seeds)])


def start(wish: Wish, study: StudyConfig, seeds: int | None, *, dry_run: bool = False, quiet: bool = False) -> None:
    """Do what was wished, or show its plan.

    Args:
        wish: What the user gave.
        study: The study it is made from.
        seeds: In all; None for those the folder's study was begun with, or 5.
        dry_run: Whether only to show what it would cost.
        quiet: Show no progress.

    Raises:
        ValueError: --compare or --success is missing, or as for `comparison` and `run_comparison`.
    """
    if wish.methods is None or not wish.success:
        missing, there = ("--success", "--compare") if wish.methods else ("--compare", "--success")
        raise ValueError(f"{there} needs {missing}; for example --compare sgd gcsam --success {EXAMPLE}")
    config = comparison(study, *wish.methods, wish.success, seeds or seeds_before(wish.folder))
    if dry_run:
        from landscape.study.dry_run import show_plan

        show_plan(config, wish.folder, wish.device, wish.workers)
        return
    run_comparison(config, wish, quiet=quiet)


def comparison(study: StudyConfig, baseline: str, candidate: str, success: str, seeds: int) -> StudyConfig:
    """Return the study of two methods.

    Args:
        study: Its settings, and methods by name; beside them the methods of `gcsam.training.METHODS` can be had.
        baseline: The first method.
        candidate: The second.
        success: Criteria, see `analysis.claims.success`.
        seeds: Paired runs of each.

    Returns:
        Its settings.

    Raises:
        ValueError: A method is unknown, both are the same, or a criterion is not understood.
    """
    from gcsam.training import METHODS, TrainConfig
    from gcsam.training.functions import check_name

    if baseline == candidate:
        raise ValueError(f"--compare takes two different methods, got {baseline} twice; give the baseline first")
    methods = {}
    for name in (baseline, candidate):
        check_name(name, dict.fromkeys([*study.methods, *METHODS]), "method")
        methods[name] = study.methods.get(name, {})
    columns = [criterion.column for criterion in parse_success(success)]
    of = {MEASURED_FOR[column] for column in columns if column in MEASURED_FOR}
    measure = Measure(tuple(name for name in MEASURED if name in of))
    if any(column.endswith(IN_TRAINING) for column in columns):
        measure = dataclasses.replace(measure, probe="epochs:1", probe_budget=math.inf, probe_of=("noise",))
    tuning = study.tuning
    if tuning is not None:  # a control without what it controls is searched for like any method
        same_as = {name: other for name, other in tuning.same_as.items() if {name, other} <= methods.keys()}
        tuning = dataclasses.replace(tuning, same_as=same_as)
    config = dataclasses.replace(study, methods=methods, seeds=seeds, tuning=tuning, measure=measure, sweep=Sweep())
    for name in methods:
        TrainConfig(**config.settings(name, 0))  # a mistake is told here, and not by a worker
    return config


def seeds_before(directory: Path) -> int:
    """Return with how many seeds a folder's study was begun, or the usual number where there is none.

    Args:
        directory: It need not exist.
    """
    path = directory / CONFIG_FILE
    try:
        return StudyConfig.from_json(path.read_text(encoding="utf-8")).seeds
    except (FileNotFoundError, ValueError):  # a file that holds no study is told of when the folder is claimed
        return SEEDS


def run_comparison(config: StudyConfig, wish: Wish, *, quiet: bool = False) -> None:
    """Do what of a comparison is not done yet, and print the answer.

    Args:
        config: The settings.
        wish: Folder, criteria, and how to go on. The folder gets `study.h5`, `figures/`, and for each run
            `runs/<method>-seed<k>/run.h5`.
        quiet: Show no progress.

    Raises:
        ValueError: The directory holds a study with other settings, or the device is not there.
        RuntimeError: A run failed; the finished ones are kept.
    """
    directory = wish.folder
    stored = dataclasses.replace(config, measure=Measure())  # whatever is asked of it, it is the same study
    baseline, candidate = config.methods
    check_executor(wish.executor)
    claim_directory(stored, directory)
    study_file, figures = directory / STUDY_FILE, directory / FIGURES
    where = Where(wish.device, wish.workers, wish.executor, wish.retry)
    with stopped_by_sigterm(), display(quiet=quiet) as shown:

        def do(placed: Sequence[Placed]) -> None:
            tell_failures(placed, run_jobs(placed, where, shown), "an answer takes all of them")

        planned = phases(config, directory, do, shown.note)
        if not any(job.remaining(folder) for job, folder in planned.runs):
            shown.note(f"{directory}: all {len(planned.runs)} runs are finished and measured")
        do(planned.runs)
        with shown.stage("judging"):
            found = judge_ab(
                planned.files, study_file, baseline, candidate, wish.success, stored.without_places().to_json()
            )
        if not is_current(figures, [*planned.files, study_file]):
            draw(planned.files, study_file, figures, shown)
    location = f"Numbers: {study_file}, {directory / 'runs'}. Figures: {figures}."
    show(ab_table(found), *answer_lines(found, wish.command), location)
