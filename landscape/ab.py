"""`landscape study --compare A B`: train two methods with the same seeds, measure what the criteria need, answer.

A study of two methods that measures no more than its criteria speak of, with an answer in place of verdicts: yes, no
or not yet, and the command that goes on. The looks at growing numbers of seeds are remembered in the study's file.
Right when only what is needed is measured, a second call starts nothing, and added seeds count as a second look
(`tests/landscape/test_ab.py`). Cost: the runs; for criteria about accuracy that is training alone.
"""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path

from analysis.claims.success import EXAMPLE, parse_success
from landscape.ab_table import ab_table, answer_lines
from landscape.options import Device
from landscape.progress import display
from landscape.results import FIGURES, RUN_FILE, STUDY_FILE, is_current, judge_ab
from landscape.stages import Stage
from landscape.study import Task, do_tasks, draw
from landscape.study_config import CONFIG_FILE, StudyConfig, claim_directory
from landscape.tables import show

# As many as a verdict needs.
SEEDS = 5
# Column of the run table to the measurement it is read from; all others come with the training.
MEASURED_IN = {
    "lambda_max": "curvature/eigenvalues",
    "lambda_ratio": "curvature/eigenvalues",
    "trace": "curvature/trace",
    "trace_centralized": "curvature/trace_centralized",
    **{name: f"sharpness/{name}" for name in ("worst", "average", "worst_adaptive", "average_adaptive")},
    **{
        f"{kind}_{number}": f"noise/{measurement}"
        for kind in ("raw", "centralized", "control")
        for number, measurement in (
            ("noise_trace", "gradient_noise"),
            ("noise_signal", "gradient_noise"),
            ("noise_scale", "gradient_noise"),
            ("ascent_cosine", "minibatch"),
        )
    },
}


@dataclass(frozen=True)
class Comparison(StudyConfig):
    """A study of two methods, baseline first, that makes some of a study's measurements.

    Args:
        keys: Of the measurements, "kind/name".
    """

    keys: tuple[str, ...] = ()

    def stages(self) -> list[Stage]:
        """Return the measurements made on each run."""
        return [stage for stage in super().stages() if stage.key in self.keys]

    def as_study(self) -> StudyConfig:
        """Return what is stored: the same study, whatever is asked of it."""
        return StudyConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(StudyConfig)})


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
        workers: Runs at a time; None for the default.
        device: Where to compute.
    """

    given: str
    name: str
    methods: tuple[str, str] | None
    success: str
    quick: bool = False
    output: Path | None = None
    workers: int | None = None
    device: Device = Device.AUTO

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
        words += ["--workers", str(self.workers)] if self.workers else []
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
        from landscape.dry_run import show_plan

        show_plan(config, wish.folder, wish.device)
        return
    run_comparison(config, wish, quiet=quiet)


def comparison(study: StudyConfig, baseline: str, candidate: str, success: str, seeds: int) -> Comparison:
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
    keys = tuple(dict.fromkeys(MEASURED_IN[column] for column in columns if column in MEASURED_IN))
    settings = {field.name: getattr(study, field.name) for field in dataclasses.fields(StudyConfig)}
    config = Comparison(**{**settings, "methods": methods, "seeds": seeds, "keys": keys})
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


def run_comparison(config: Comparison, wish: Wish, *, quiet: bool = False) -> None:
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
    directory, stored = wish.folder, config.as_study()
    baseline, candidate = config.methods
    claim_directory(stored, directory)
    folders = [directory / "runs" / f"{method}-seed{seed}" for method, seed in config.runs()]
    tasks = [Task(config, *run, folder, "") for run, folder in zip(config.runs(), folders, strict=True)]
    remaining = [task.remaining() for task in tasks]
    files, study_file, figures = [folder / RUN_FILE for folder in folders], directory / STUDY_FILE, directory / FIGURES
    with display(quiet=quiet) as shown:
        if any(remaining):
            do_tasks(tasks, remaining, wish.device, wish.workers, shown)
        else:
            shown.note(f"{directory}: all {len(tasks)} runs are finished and measured")
        with shown.stage("judging"):
            found = judge_ab(files, study_file, baseline, candidate, wish.success, stored.to_json())
        if not is_current(figures, [*files, study_file]):
            draw(files, study_file, figures, shown)
    where = f"Numbers: {study_file}, {directory / 'runs'}. Figures: {figures}."
    show(ab_table(found), *answer_lines(found, wish.command), where)
