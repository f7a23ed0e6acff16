"""`landscape measure` by the list of the report: one definition with the study, budgets, dry runs, what is lacking."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from analysis import Objective, load, sharpness
from analysis.store import list_measurements
from landscape.measuring import stages
from landscape.measuring.choice import CHEAP, DEFAULT, Choice
from landscape.measuring.measure import measure
from landscape.network.subject import Subject
from landscape.tables.measured import reading
from tests.landscape.conftest import Done
from tests.landscape.recorder import Recorder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def objective() -> Objective:
    torch.manual_seed(0)
    return Objective(torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss(), (torch.randn(8, 3), torch.arange(8) % 2))


def test_measures_of_a_study_are_those_of_the_list() -> None:
    """Fails if title, place or settings differ: then a study's file would be refused, or measured twice."""
    made = {stage.key: stage for stage in Choice(DEFAULT, top=3, rho=0.1, seed=2).stages}
    study = [*stages.curvature(top=3, seed=2), *stages.sharpness(rho=0.1, seed=2)]
    assert set(made) == {stage.key for stage in study}
    for stage in study:
        assert (made[stage.key].title, made[stage.key].settings) == (stage.title, stage.settings)


def test_default_all_and_some(cli: Callable[..., Done], run: Path) -> None:
    names = [measure.name for measure in Choice().measures]
    assert set(names) == {*DEFAULT, *CHEAP}
    assert len(Choice(["all"]).measures) == len(Choice(["all", "trace"]).measures) > len(names)
    done = cli("measure", run, "--of", "worst_m", "--of", "magnitudes", "--m", "20", "--samples", "60")
    assert (done.status, done.err) == (0, "")
    there = [key for key in list_measurements(run / "run.h5") if not key.startswith("training")]
    assert set(there) == {"sharpness/worst_m", "sharpness/magnitudes"}
    found = load(run / "run.h5", "worst_m")
    assert (found.m, len(found.samples)) == (20, 3)  # type: ignore[union-attr]
    assert "loss exact; gradient norm exact; weight norm exact" in done.out
    assert "standard error" in done.out[done.out.index("sharpness/worst_m") :]
    again = cli("measure", run, "--of", "worst_m", "--m", "30")
    assert again.status == 2
    assert "holds sharpness/worst_m with m 20, asked for is 30" in again.err
    assert "skipped" in cli("measure", run, "--of", "worst_m").out  # whatever m the file has


def test_a_budget_leaves_out_what_does_not_fit_and_says_so(cli: Callable[..., Done], run: Path) -> None:
    """50 gradients: 4 to time, 1.3 magnitudes, 30 eigenvalues, 1.5, 7.7 and 2 * 1.7; those 24 of worst do not fit."""
    done = cli("measure", run, "--budget", "50")
    assert (done.status, done.err) == (0, "")
    path = run / "run.h5"
    cheap = {"curvature/eigenvalues", *(f"sharpness/{name}" for name in CHEAP)}
    assert {key for key in list_measurements(path) if not key.startswith("training")} == cheap
    lines = [line for line in done.out.splitlines() if "left out" in line]
    assert lines[0] == "worst-case sharpness: left out, would cost about 24 gradients; give a larger --budget"
    assert len(lines) == 5
    more = cli("measure", run, "--budget", "50")  # what is finished costs nothing now
    assert "sharpness/worst" in list_measurements(path)
    assert len([line for line in more.out.splitlines() if "left out" in line]) == 4


def test_a_dry_run_prints_the_plan_and_writes_nothing(cli: Callable[..., Done], run: Path) -> None:
    before = (run / "run.h5").read_bytes()
    done = cli("measure", run, "--dry-run", "--of", "all", "--budget", "5 min")
    assert (done.status, done.err) == (0, "")
    assert (run / "run.h5").read_bytes() == before
    assert "adaptive PAC-Bayes sigma" in done.out
    assert "of 5 min 0 s allowed" in done.out
    assert cli("measure", run, "--of", "magnitudes").status == 0
    assert "loss, gradient" not in cli("measure", run, "--dry-run").out  # it is there
    assert "loss, gradient" in cli("measure", run, "--dry-run", "--again").out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--of", "tracee"], "landscape measure: --of must be all or some of magnitudes, eigenvalues"),
        (["--budget", "soon"], "landscape measure: --budget must be a time such as '30 s', '5 min' or '2 h'"),
        (["--budget", "nan"], "landscape measure: --budget must be a time such as '30 s', '5 min' or '2 h'"),
        (["--rho", "nan"], "rho must be a finite number > 0, got nan; 0.05 is the usual one"),
        (["--m", "0"], "invalid value for '--m'"),
    ],
)
def test_mistakes_are_told(cli: Callable[..., Done], run: Path, options: list[str], message: str) -> None:
    done = cli("measure", run, *options)
    assert done.status == 2
    assert message in " ".join(done.err.replace("│", " ").split())


def test_what_cannot_be_had_does_not_stop_the_others(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2), torch.nn.Flatten())
    objective = Objective(model, torch.nn.CrossEntropyLoss(), (torch.randn(6, 1, 2, 2), torch.arange(6) % 2))
    subject = Subject("net", tmp_path / "run.h5", objective, "a" * 64, "{}", "data")
    display = Recorder()
    measure(subject, Choice(["relative_flatness", "magnitudes"]).stages, display)
    assert "sharpness/magnitudes" in list_measurements(subject.path)
    assert "sharpness/relative_flatness" not in list_measurements(subject.path)
    notes = [note for note in display.notes if "not available" in note]
    assert notes == [
        "relative flatness: not available, the model must have a measured nn.Linear, got none; name the weight "
        "matrices: parameters=[...]"
    ]


def test_what_a_study_needs_is_still_an_error(objective: Objective) -> None:
    with pytest.raises(ValueError, match="k must be from 1 on with k <= D = 8") as caught:
        Choice(["eigenvalues"], top=9).stages[0].compute(objective, None, lambda *_: None)
    assert not isinstance(caught.value, stages.NotAvailable)


def test_readings_of_stored_measurements(objective: Objective) -> None:
    stage = Choice(["magnitudes"]).stages[0]
    found = stage.compute(objective, None, lambda *_: None)
    value, evidence = reading(stage.key, found.to_measurement())
    assert value.split()[0] == f"{found.loss:#.4g}"  # type: ignore[attr-defined]
    assert evidence == "loss exact; gradient norm exact; weight norm exact"
    worst = sharpness(objective)
    assert reading("sharpness/worst", worst.to_measurement()) == (f"{worst.value:#.4g}", "at least")
    assert reading("sharpness/other", worst.to_measurement()) == ("", "")


def test_a_rise_along_one_step_has_no_error(cli: Callable[..., Done], run: Path) -> None:
    done = cli("measure", run, "--of", "one_step")
    assert (done.status, done.err) == (0, "")
    assert "exact; rho 0.05" in done.out
