"""`landscape study --compare`: what it trains, measures, remembers and prints; the numbers are tested in `analysis`.

One tiny comparison is done once, in this process; most tests work on copies of it.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import analysis
import landscape.jobs.executors
import landscape.study.ab
from analysis.claims import CLAIMS, collect, verify
from analysis.claims.table import DERIVED
from analysis.store import list_measurements, read, read_attributes
from landscape.jobs.attempts import Outcome, Task, attempt
from landscape.jobs.measurements import MEASURED, Measure, Measurements
from landscape.options import Device
from landscape.study.ab import MEASURED_FOR, Wish, comparison
from landscape.study.config import StudyConfig
from landscape.study.named import find_study
from landscape.study.results import AB
from tests.analysis.claims.runs import write_run
from tests.landscape.conftest import Done
from tests.landscape.recorder import Recorder

TOML = """
seeds = 2

[train]
data = "digits"
model = "mlp"
epochs = 1
train_limit = 60
test_limit = 30

[methods.plain]
method = "sgd"

[methods.gcsam]
rho = 0.1
"""
TEXT = "accuracy >= baseline - 0.2%, spread smaller"


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Do the tasks in this process, keep what they show, and draw nothing."""
    display = Recorder()

    def run_all(work: Callable[..., Outcome], tasks: list[Task], *_: object) -> list[Outcome]:
        return [work(task, display) for task in tasks]

    monkeypatch.setattr(landscape.jobs.executors, "run_tasks", run_all)
    monkeypatch.setattr(landscape.study.ab, "draw", lambda *_: None)
    return display


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compare two methods with three seeds; the folder is not to be changed."""
    folder = tmp_path_factory.mktemp("ab")
    (folder / "tiny.toml").write_text(TOML, encoding="utf-8")
    from landscape.study.file import read_study

    wish = Wish(str(folder / "tiny.toml"), "tiny", ("plain", "gcsam"), TEXT, output=folder / "out", device=Device.CPU)
    config = comparison(read_study(folder / "tiny.toml"), "plain", "gcsam", TEXT, 3)
    for job in config.jobs():
        attempt(Task(job, folder / "out" / "runs" / job.name, "cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landscape.study.ab, "draw", lambda *_: None)
        landscape.study.ab.run_comparison(config, wish, quiet=True)
    return folder


@pytest.fixture
def copy(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the comparison, times of its files included, and go there."""
    target = shutil.copytree(done, tmp_path / "copy")
    monkeypatch.chdir(target)
    return target


def options(*more: str, text: str = TEXT) -> list[str]:
    words = ["study", "tiny.toml", "--compare", "plain", "gcsam", "--success", text, "--output", "out", *more]
    return [*words, "--device", "cpu"]


def test_only_what_the_criteria_need_is_made(done: Path) -> None:
    runs = sorted(path.name for path in (done / "out" / "runs").iterdir())
    assert runs == [f"{method}-seed{seed}" for method in ("gcsam", "plain") for seed in range(3)]
    keys = {"training/history", "training/summary"}
    assert set(list_measurements(done / "out" / "runs" / "gcsam-seed0" / "run.h5")) == keys
    assert set(list_measurements(done / "out" / "study.h5")) == {AB, "training/runs"}
    stored = StudyConfig.from_json(read_attributes(done / "out" / "study.h5")["config"])
    assert (list(stored.methods), stored.seeds) == (["plain", "gcsam"], 3)
    assert StudyConfig.from_json((done / "out" / "study.json").read_text(encoding="utf-8")) == stored


def test_it_prints_table_sentence_and_command(cli: Callable[..., Done], copy: Path) -> None:
    """Without --seeds the folder's own number counts; three seeds are no look at a verdict."""
    shown = cli(*options())
    assert shown.status == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0] == "out: all 6 runs are finished and measured"
    assert "gcsam beside plain, 3 paired seeds" in shown.out
    assert "effect [97.5 % interval, look 1]" in shown.out
    at = lines.index("Not yet: 3 of the 5 paired seeds a verdict needs. To go on:")
    words = shlex.split(lines[at + 1])
    expected = ["landscape", *options()[:-4], "--output", "out", "--device", "cpu", "--seeds", "5"]
    assert words == expected
    assert lines[-1].startswith("Numbers: out/study.h5, out/runs. Figures: out/figures.")


def test_the_second_call_writes_nothing(cli: Callable[..., Done], copy: Path, in_process: Recorder) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    assert cli(*options()).status == 0
    assert in_process.stages == []
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()} == before


def test_looks_are_remembered_whatever_is_asked_and_whoever_judges(
    cli: Callable[..., Done], copy: Path, in_process: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five seeds are the first look, six the second; the same six again are no third."""
    shown = cli(*options("--seeds", "5"))
    assert shown.status == 0, shown.err
    assert shown.out.splitlines()[0] == "6 of 10 runs were finished before"
    assert in_process.stages == ["training"] * 4
    looks = [read(copy / "out" / "study.h5", AB).variables["looks"].data.tolist()]
    shown = cli(*options("--seeds", "6", text="loss smaller"))
    assert "[98.75 % interval, look 2]" in shown.out
    monkeypatch.setattr(analysis, "verify", lambda table: verify(table, CLAIMS[:1]))  # all take seconds
    assert cli("verify", "out").status == 0  # makes the study's file anew
    for _ in range(2):
        assert "look 2" in cli(*options()).out
        looks.append(read(copy / "out" / "study.h5", AB).variables["looks"].data.tolist())
    assert looks == [[5], [5, 6], [5, 6]]


def test_another_criterion_adds_its_measurement(cli: Callable[..., Done], copy: Path, in_process: Recorder) -> None:
    shown = cli(*options(text="noise scale smaller"))
    assert shown.status == 0, shown.err
    assert in_process.stages == ["gradient noise", "agreement of batches"] * 6
    assert np.isfinite(read(copy / "out" / "study.h5", AB).variables["candidate_mean"].data).all()


def test_the_plan_is_shown_and_nothing_done(cli: Callable[..., Done], copy: Path, in_process: Recorder) -> None:
    shown = cli(*options("--seeds", "4", "--dry-run"))
    assert shown.status == 0, shown.err
    assert "out: 8 runs" in shown.out
    assert "Still to do: 2 runs" in shown.out
    assert in_process.stages == []


@pytest.mark.parametrize("part", MEASURED[:-1])
def test_each_column_comes_from_the_measurement_named(part: str, tmp_path: Path) -> None:
    """Fails if a criterion's measurement would not be made: with it alone the columns are there, without it not."""
    path, columns = tmp_path / "run.h5", [name for name, needed in MEASURED_FOR.items() if needed == part]
    made = {stage.key for stage in Measurements(0.05, 3, None, 8, of=(part,)).stages()}
    made |= {"training/history", "training/summary", *(["training/robustness"] if part == "robustness" else [])}
    write_run(path)
    with h5py.File(path, "r+") as file:
        for other in set(list_measurements(path)) - made:
            del file[other]
    table = collect([path])
    assert {name for name in MEASURED_FOR if np.isfinite(table.values(name)).all()} == set(columns)
    assert set(columns) <= set(DERIVED)


def test_all_other_columns_come_with_the_training(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        for kind in ("curvature", "sharpness", "noise", "training/robustness"):
            del file[kind]
    table = collect([tmp_path / "run.h5"])
    assert all(np.isfinite(table.values(name)).all() for name in DERIVED if name not in MEASURED_FOR)
    assert set(MEASURED) >= set(MEASURED_FOR.values())


def test_methods_of_a_file_and_methods_by_name() -> None:
    study = StudyConfig({"data": "digits", "model": "mlp"}, {"gcsam": {"rho": 0.2}}, points=7, samples=9)
    config = comparison(study, "random", "gcsam", "lambda_max smaller, worst smaller, lambda_ratio smaller", 4)
    assert dict(config.methods) == {"random": {}, "gcsam": {"rho": 0.2}}
    assert (config.seeds, config.points, config.samples) == (4, 7, 9)
    assert config.measure == Measure(("eigenvalues", "sharpness"))
    watched = comparison(study, "random", "gcsam", "centralized_training_noise_scale smaller", 4)
    assert watched.measure == Measure((), "epochs:1", math.inf, probe_of=("noise",))


def test_a_control_keeps_the_settings_of_what_it_controls_only_beside_it() -> None:
    """Fails if a search asks for the settings of a method that is not compared."""
    study = find_study("digits-full", {})
    for baseline, same_as in (("gcsam", {"random": "gcsam"}), ("sgd", {})):
        tuning = comparison(study, baseline, "random", TEXT, 3).tuning
        assert tuning is not None
        assert tuning.same_as == same_as


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[StudyConfig, Wish]]:
    kept: list[tuple[StudyConfig, Wish]] = []
    monkeypatch.setattr(landscape.study.ab, "run_comparison", lambda config, wish, **rest: kept.append((config, wish)))
    return kept


@pytest.mark.parametrize(
    ("more", "seeds", "folder"),
    [
        ("", 5, "runs/digits-sgd-vs-gcsam"),
        ("--quick --seeds 9", 9, "runs/digits-quick-sgd-vs-gcsam"),
        ("--jobs 3 --device cpu --output 'my runs'", 5, "my runs"),
    ],
)
def test_options_reach_the_settings_and_the_command_gives_them_back(
    more: str,
    seeds: int,
    folder: str,
    cli: Callable[..., Done],
    started: list[tuple[StudyConfig, Wish]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["study", "--compare", "sgd", "gcsam", "--success", TEXT, *shlex.split(more)]
    assert cli(*words).status == 0
    (config, wish), *_ = started
    assert (config.seeds, wish.folder) == (seeds, Path(folder))
    assert config.train["data"] == find_study("digits", {}).train["data"]
    assert ("train_limit" in config.train) == ("--quick" in more)
    again = shlex.split(wish.command(40))
    assert cli(*again[1:]).status == 0
    assert (started[1][0].seeds, started[1][1]) == (40, wish)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--compare", "sgd", "gcsam"],
            '--compare needs --success; for example --compare sgd gcsam --success "accuracy >= baseline - 0.2%, spread '
            'smaller"',
        ),
        (
            ["--success", "accuracy larger"],
            '--success needs --compare; for example --compare sgd gcsam --success "accuracy >= baseline - 0.2%, spread '
            'smaller"',
        ),
        (
            ["--compare", "sgd", "sgd", "--success", TEXT],
            "--compare takes two different methods, got sgd twice; give the baseline first",
        ),
        (
            ["--compare", "sgd", "gcsma", "--success", TEXT],
            "method 'gcsma' is unknown; choose one of sgd, gc, sam, gcsam, random, sam-matched, fsam; did you mean "
            "'gcsam'?",
        ),
        (
            ["--compare", "sgd", "gcsam", "--success", "accuracy >= baseline", "--points", "9"],
            "--points 9 has no use with --compare, which measures no surface; leave it out",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(words: list[str], message: str, cli: Callable[..., Done]) -> None:
    shown = cli("study", *words)
    assert (shown.status, shown.out) == (2, "")
    assert shown.err == f"landscape study: {message}\n"


def test_a_mistake_in_a_criterion_is_told_before_anything_runs(cli: Callable[..., Done], copy: Path) -> None:
    shown = cli(*options(text="acuracy larger"))
    assert shown.status == 2
    assert "quantity 'acuracy' is unknown" in shown.err
    assert "did you mean 'accuracy'?" in shown.err


def test_another_study_in_the_folder_is_refused(cli: Callable[..., Done], copy: Path) -> None:
    shown = cli("study", "--compare", "sgd", "gcsam", "--success", TEXT, "--output", "out")
    assert shown.status == 2
    assert "out holds a study with other settings" in shown.err


def test_a_file_that_holds_no_study_is_told_of(cli: Callable[..., Done], copy: Path) -> None:
    (copy / "out" / "study.json").write_text("[]", encoding="utf-8")
    shown = cli(*options())
    assert shown.status == 2
    assert "out/study.json: it holds no settings of a study" in shown.err.replace(os.sep, "/")


def test_lost_figures_are_drawn_again(cli: Callable[..., Done], copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(landscape.study.ab, "draw", lambda *given: drawn.append(given))
    assert cli(*options()).status == 0
    (files, study_file, figures, _), *_ = drawn
    assert [len(files), study_file, figures] == [6, Path("out/study.h5"), Path("out/figures")]
