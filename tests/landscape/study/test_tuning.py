"""The search for settings, on runs whose outcome is written down here. Blind to training itself."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.store import Measurement, Variable, read, write
from landscape.records.layout import DIVERGED_FILE, RUN_FILE
from landscape.study.config import StudyConfig
from landscape.study.parts import Tuning
from landscape.study.tuning import (
    TUNING_FILE,
    Placed,
    Trial,
    choose,
    chosen_in,
    is_tuned,
    tuned,
    tuning_jobs,
    tuning_table,
)

TUNING = Tuning(3, (0.01, 1.0), (0.05, 0.2), seeds=2)
CONFIG = StudyConfig(
    train={"model": "mlp"},
    methods={"sgd": {}, "mine": {"method": "gcsam"}},
    seeds=2,
    tuning=TUNING,
)
Outcome = Callable[[Placed], tuple[float, float]]


def trial(number: int, accuracy: float, loss: float, seed: int = 1000) -> Trial:
    return Trial("sgd", number, seed, {"lr": 0.1 * number}, accuracy, loss)


def doing(outcome: Outcome, done: list[Placed] | None = None) -> Callable[[Sequence[Placed]], None]:
    """Return what does jobs by writing down their outcome: accuracy and loss on validation; NaN is a divergence."""

    def do(placed: Sequence[Placed]) -> None:
        for job, folder in placed:
            accuracy, loss = outcome((job, folder))
            folder.mkdir(parents=True)
            if math.isnan(accuracy):
                (folder / DIVERGED_FILE).write_text("training diverged", encoding="utf-8")
                continue
            # on the test split everything is the other way round
            numbers = {"validation_accuracy": accuracy, "validation_loss": loss, "test_accuracy": 1 - accuracy}
            variables = {name: Variable(np.array(value)) for name, value in numbers.items()}
            write(folder / RUN_FILE, "training", "summary", Measurement("", variables))
        (done if done is not None else []).extend(placed)

    return do


def by_rate(placed: Placed) -> tuple[float, float]:
    """The middle rate is best for sgd, the highest for the other."""
    job, _ = placed
    best = 0.1 if job.method == "sgd" else 1.0
    return 0.9 - 0.1 * abs(math.log10(job.settings["lr"] / best)), 0.5


def test_trials_are_jobs_that_are_trained_alone_with_seeds_of_their_own(tmp_path: Path) -> None:
    placed = tuning_jobs(CONFIG, tmp_path)
    assert len(placed) == 3 * 2 * 2
    job, folder = placed[-1]
    assert folder == tmp_path / "tuning" / "mine-trial2-seed1001"
    assert (job.title, job.measurements, job.may_diverge) == ("mine trial2, seed 1001", None, True)
    assert job.settings == {"method": "gcsam", "model": "mlp", "seed": 1001, "lr": 1.0, "rho": 0.1}
    assert {job.seed for job, _ in placed}.isdisjoint(range(CONFIG.seeds))
    assert all("rho" not in job.settings for job, _ in placed if job.method == "sgd")


def test_the_best_on_validation_is_chosen_and_told(tmp_path: Path) -> None:
    """Fails if the test split is looked at, or a setting at an end of its range is not told."""
    notes: list[str] = []
    chosen = tuned(CONFIG, tmp_path, doing(by_rate), notes.append)
    assert chosen == {"sgd": {"lr": 0.1}, "mine": {"lr": 1.0, "rho": 0.1}}
    assert notes == ["tuning mine: lr 1 is an end of its range; the range may be too narrow"]
    held = json.loads((tmp_path / TUNING_FILE).read_text(encoding="utf-8"))
    assert len(held["trials"]) == 12
    assert not list(tmp_path.glob("*.partial"))


def test_what_was_chosen_is_not_searched_for_again(tmp_path: Path) -> None:
    done: list[Placed] = []
    notes: list[str] = []
    first = tuned(CONFIG, tmp_path, doing(by_rate), notes.append)
    assert tuned(CONFIG, tmp_path, doing(by_rate, done), notes.append) == first
    assert (done, len(notes)) == ([], 1)


def test_a_method_that_is_added_is_searched_for_as_well(tmp_path: Path) -> None:
    """Fails if it is judged with settings that nobody looked for."""
    tuned(CONFIG, tmp_path, doing(by_rate), [].append)
    more = dataclasses.replace(CONFIG, methods={**CONFIG.methods, "wide": {"method": "sam"}})
    assert not is_tuned(more, tmp_path)

    def do(placed: Sequence[Placed]) -> None:
        doing(by_rate)([(job, folder) for job, folder in placed if not folder.exists()])

    chosen = tuned(more, tmp_path, do, [].append)
    assert chosen["wide"] == {"lr": 1.0, "rho": 0.1}
    assert is_tuned(more, tmp_path)


def test_a_control_is_judged_with_what_was_found_for_the_method_it_controls(tmp_path: Path) -> None:
    """Fails if it is searched for itself, which would change two things at once, or is told among the searched."""
    tuning = dataclasses.replace(TUNING, same_as={"control": "mine"})
    methods = {**CONFIG.methods, "control": {"method": "sam", "radius": "matched"}}
    config = dataclasses.replace(CONFIG, methods=methods, tuning=tuning)
    done: list[Placed] = []
    chosen = tuned(config, tmp_path, doing(by_rate, done), [].append)
    assert chosen["control"] == chosen["mine"] == {"lr": 1.0, "rho": 0.1}
    assert {job.method for job, _ in done} == {"sgd", "mine"}
    assert is_tuned(config, tmp_path)
    table = tuning_table(tmp_path)
    assert table is not None
    assert [table.variables[name].data.tolist() for name in ("control", "same_as")] == [["control"], ["mine"]]
    assert chosen_in(table)["control"] == chosen["control"]
    assert set(table.variables["method"].data) == {"sgd", "mine"}


def test_without_a_search_settings_stay(tmp_path: Path) -> None:
    assert tuned(StudyConfig(), tmp_path, doing(by_rate), pytest.fail) == {}
    assert tuning_table(tmp_path) is None


def test_ties_go_to_the_lower_loss_and_then_to_the_first() -> None:
    assert choose("sgd", [trial(0, 0.9, 0.4), trial(1, 0.9, 0.3), trial(2, 0.9, 0.3), trial(3, 0.8, 0.1)]).trial == 1


def test_seeds_of_a_trial_are_averaged_and_one_that_diverged_rules_it_out() -> None:
    """Fails if the best single run wins, or what is left of a trial is judged without the run that diverged."""
    lucky = [trial(0, 0.99, 0.1), trial(0, 0.5, 0.1, 1001)]
    broken = [trial(1, 0.99, 0.1), trial(1, math.nan, math.nan, 1001)]
    steady = [trial(2, 0.8, 0.9), trial(2, 0.8, 0.9, 1001)]
    assert choose("sgd", [*broken, *lucky, *steady]).trial == 2


def test_a_method_that_always_diverges_ends_the_study(tmp_path: Path) -> None:
    def outcome(placed: Placed) -> tuple[float, float]:
        return (math.nan, math.nan) if placed[0].method == "mine" else (0.5, 0.5)

    with pytest.raises(RuntimeError, match=r"every trial of mine diverged; lower the range of lr under \[tuning\]"):
        tuned(CONFIG, tmp_path, doing(outcome), pytest.fail)
    assert not (tmp_path / TUNING_FILE).exists()


def test_the_table_holds_every_trial(tmp_path: Path) -> None:
    def outcome(placed: Placed) -> tuple[float, float]:
        return (math.nan, math.nan) if placed[0].variant == "trial2" else by_rate(placed)

    tuned(CONFIG, tmp_path, doing(outcome), [].append)
    found = tuning_table(tmp_path)
    assert found is not None
    columns = {name: variable.data.tolist() for name, variable in found.variables.items()}
    rows = list(zip(*(columns[name] for name in ("method", "number", "seed", "lr", "chosen")), strict=True))
    assert rows[0] == ("sgd", 0, 1000, 0.01, False)
    assert [row[:3] for row in rows if row[4]] == [(m, 1, s) for m in ("sgd", "mine") for s in (1000, 1001)]
    assert np.isnan(columns["rho"]).tolist() == [name == "sgd" for name in columns["method"]]
    assert np.isnan(columns["validation_accuracy"]).tolist() == [number == 2 for number in columns["number"]]
    assert columns["validation_accuracy"][rows.index(("sgd", 1, 1000, 0.1, True))] == pytest.approx(0.9)
    write(tmp_path / "study.h5", "training", "tuning", found)
    assert read(tmp_path / "study.h5", "training/tuning") == found


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / TUNING_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"tuning\.json: holds no outcome of tuning \(KeyError\); delete it to choose"):
        tuned(CONFIG, tmp_path, pytest.fail, pytest.fail)


def test_judged_seeds_never_reach_those_of_the_search(tmp_path: Path) -> None:
    many = StudyConfig(seeds=1001, tuning=CONFIG.tuning)
    with pytest.raises(ValueError, match="a study that tunes has at most 1000 seeds, got 1001"):
        tuning_jobs(many, tmp_path)
