"""Equal budgets: every method of a study searches its settings with as many trials, and keeps those best on validation.

Trials are jobs like any other, trained only, with seeds of their own. What they came to, and what was chosen, is one
JSON file, written whole. Right when the chosen trial has the highest mean validation accuracy, ties going to the lower
validation loss, whatever the test split says (`tests/landscape/study/test_tuning.py`). Cost: the trials.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.store import Measurement, Variable, read
from landscape.jobs.job import Job
from landscape.records.layout import DIVERGED_FILE, RUN_FILE, write_text
from landscape.study.config import StudyConfig
from landscape.study.parts import Tuning

TUNING_FILE, TUNING = "tuning.json", "tuning"
RULE = "highest mean validation accuracy, ties by mean validation loss; the test split is not looked at"
Placed = tuple[Job, Path]
Chosen = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Trial:
    """One run of a search.

    Args:
        method: As the study names it.
        trial: Number, from 0.
        seed: Of the run.
        settings: That were tried: lr, and rho where it is searched.
        accuracy: On the validation split; NaN where the training diverged.
        loss: Likewise.
    """

    method: str
    trial: int
    seed: int
    settings: Mapping[str, float]
    accuracy: float
    loss: float


def tuning_jobs(config: StudyConfig, directory: Path) -> list[Placed]:
    """Return the trials of a study with their folders, trial by trial, so that methods advance together.

    Args:
        config: The study, with a search.
        directory: Of the study.

    Raises:
        ValueError: The study has so many seeds that some would be those of the trials.
    """
    tuning = _searched(config)
    if config.seeds > Tuning.FIRST_SEED:
        raise ValueError(f"a study that tunes has at most {Tuning.FIRST_SEED} seeds, got {config.seeds}")
    points = {method: tuning.points(with_rho=config.ascends(method)) for method in searched_methods(config)}
    jobs = [
        Job(
            method,
            seed,
            {**config.settings(method, seed), **points[method][trial]},
            None,
            variant=f"trial{trial}",
            may_diverge=True,
        )
        for trial in range(tuning.trials)
        for method in points
        for seed in range(Tuning.FIRST_SEED, Tuning.FIRST_SEED + tuning.seeds)
    ]
    return [(job, directory / TUNING / job.name) for job in jobs]


def searched_methods(config: StudyConfig) -> list[str]:
    """Return the methods with trials of their own: all but those that take the settings of another.

    Args:
        config: The study, with a search.
    """
    return [method for method in config.methods if method not in _searched(config).same_as]


def tuned(
    config: StudyConfig, directory: Path, do: Callable[[Sequence[Placed]], None], note: Callable[[str], None]
) -> Chosen:
    """Return the settings found for each method; search for them where it was not done.

    Args:
        config: The study; one without a search keeps its settings.
        directory: Of the study; gets `tuning.json`.
        do: Does jobs in their folders, those that are not done.
        note: Told of each setting that was found at an end of its range.

    Returns:
        Method to the settings it is judged with.

    Raises:
        RuntimeError: Every trial of a method diverged.
    """
    if config.tuning is None:
        return {}
    path = directory / TUNING_FILE
    if not is_tuned(config, directory):
        placed = tuning_jobs(config, directory)
        do(placed)
        trials = [_outcome(job, folder, config.tuning) for job, folder in placed]
        best = {
            method: choose(method, [trial for trial in trials if trial.method == method])
            for method in searched_methods(config)
        }
        _write(path, trials, {**best, **{method: best[other] for method, other in config.tuning.same_as.items()}})
        for trial in best.values():
            for name in config.tuning.ends(trial.settings):
                note(
                    f"tuning {trial.method}: {name} {trial.settings[name]:g} is an end of its range; the range may be "
                    "too narrow"
                )
    return found_settings(directory)


def found_settings(directory: Path) -> Chosen:
    """Return what a search that is done found: method to its settings.

    Args:
        directory: Of the study, with a `tuning.json`.
    """
    return {method: values["settings"] for method, values in _read(directory / TUNING_FILE)["chosen"].items()}


def is_tuned(config: StudyConfig, directory: Path) -> bool:
    """Return whether nothing is left to search: each method has its settings, those that were added too.

    Args:
        config: The study.
        directory: Of the study.
    """
    path = directory / TUNING_FILE
    return config.tuning is None or (path.is_file() and config.methods.keys() <= _read(path)["chosen"].keys())


def choose(method: str, trials: Sequence[Trial]) -> Trial:
    """Return the best trial of a method; of equally good ones the first.

    Args:
        method: Its name.
        trials: Its runs, with one seed or several.

    Returns:
        The first run of the trial. A trial that diverged with one of its seeds is none.

    Raises:
        RuntimeError: All diverged.
    """
    by_number: dict[int, list[Trial]] = {}
    for trial in trials:
        by_number.setdefault(trial.trial, []).append(trial)
    whole = [runs for runs in by_number.values() if all(math.isfinite(run.accuracy) for run in runs)]
    if not whole:
        raise RuntimeError(f"tuning: every trial of {method} diverged; lower the range of lr under [tuning]")
    return max(whole, key=lambda runs: (_mean(runs, "accuracy"), -_mean(runs, "loss")))[0]


def tuning_table(directory: Path) -> Measurement | None:
    """Return the trials as the study's file holds them, or None where nothing was tuned.

    Args:
        directory: Of the study.
    """
    path = directory / TUNING_FILE
    if not path.is_file():
        return None
    found = _read(path)
    trials, chosen = found["trials"], {method: values["trial"] for method, values in found["chosen"].items()}
    takers = {method: values["of"] for method, values in found["chosen"].items() if values.get("of", method) != method}

    def numbers(name: str, units: str, description: str) -> Variable:
        values = [math.nan if trial.get(name) is None else trial[name] for trial in trials]
        return Variable(np.array(values, dtype=np.float64), ("trial",), units, description)

    def names(of: Iterable[str], dim: str, description: str) -> Variable:
        return Variable(np.array(list(of), dtype=object), (dim,), description=description)

    is_chosen = np.array([trial["trial"] == chosen[trial["method"]] for trial in trials])
    return Measurement(
        "Tuning",
        {
            "method": names((trial["method"] for trial in trials), "trial", "of the run"),
            "number": Variable(
                np.array([t["trial"] for t in trials]), ("trial",), "1", "of the method's trial, from 0"
            ),
            "seed": Variable(np.array([t["seed"] for t in trials]), ("trial",), "1", "of the run; none that is judged"),
            "lr": numbers("lr", "1", "learning rate that was tried"),
            "rho": numbers("rho", "weight", "radius that was tried; NaN where none is searched"),
            "validation_accuracy": numbers(
                "validation_accuracy", "1", "as a fraction; NaN where the training diverged"
            ),
            "validation_loss": numbers("validation_loss", "loss", "likewise"),
            "chosen": Variable(is_chosen, ("trial",), description="whether the method is judged with these settings"),
            "control": names(takers, "control", "method that is not searched"),
            "same_as": names(takers.values(), "control", "method whose settings it has"),
        },
        {"rule": found["rule"]},
    )


def chosen_in(table: Measurement) -> dict[str, dict[str, float]]:
    """Return what a search found, from the table of its trials: method to its settings.

    Args:
        table: As `tuning_table` makes it.
    """
    columns = {name: variable.data.tolist() for name, variable in table.variables.items()}
    rows = zip(*(columns[name] for name in ("method", "lr", "rho", "chosen")), strict=True)
    found = {
        str(method): {"lr": lr} if math.isnan(rho) else {"lr": lr, "rho": rho}
        for method, lr, rho, is_chosen in rows
        if is_chosen
    }
    takers = zip(columns["control"], columns["same_as"], strict=True)
    return {**found, **{str(method): found[str(other)] for method, other in takers}}


def _outcome(job: Job, folder: Path, tuning: Tuning) -> Trial:
    number = int(job.variant.removeprefix("trial"))
    names = ["lr"] + (["rho"] if tuning.rho is not None and "rho" in job.settings else [])
    settings = {name: float(job.settings[name]) for name in names}
    if (folder / DIVERGED_FILE).is_file():
        return Trial(job.method, number, job.seed, settings, math.nan, math.nan)
    summary = read(folder / RUN_FILE, "training/summary").variables
    accuracy, loss = (float(summary[f"validation_{name}"].data) for name in ("accuracy", "loss"))
    return Trial(job.method, number, job.seed, settings, accuracy, loss)


def _mean(runs: Sequence[Trial], name: str) -> float:
    return statistics.fmean(getattr(run, name) for run in runs)


def _searched(config: StudyConfig) -> Tuning:
    assert config.tuning is not None
    return config.tuning


def _write(path: Path, trials: Sequence[Trial], best: Mapping[str, Trial]) -> None:
    content = {
        "rule": RULE,
        "chosen": {
            method: {"of": trial.method, "trial": trial.trial, "settings": dict(trial.settings)}
            for method, trial in best.items()
        },
        "trials": [
            {
                "method": trial.method,
                "trial": trial.trial,
                "seed": trial.seed,
                **trial.settings,
                "validation_accuracy": None if math.isnan(trial.accuracy) else trial.accuracy,
                "validation_loss": None if math.isnan(trial.loss) else trial.loss,
            }
            for trial in trials
        ],
    }
    write_text(path, json.dumps(content, indent=1))


def _read(path: Path) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["chosen"], found["trials"], found["rule"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: holds no outcome of tuning ({type(error).__name__}); delete it to choose anew"
        ) from None
    return found
