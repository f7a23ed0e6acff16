"""The plan of a study holds each of its runs once, and none that is done."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from landscape.study.config import StudyConfig
from landscape.study.dry_run import parts
from landscape.study.parts import Sweep, Tuning
from tests.landscape.conftest import Done

SMALL = StudyConfig(train={"model": "mlp"}, seeds=2)


def test_trials_and_points_of_sweeps_are_planned_beside_the_runs(tmp_path: Path) -> None:
    """Fails if what costs most of a study is left out of its plan, or a run on a grid is counted twice."""
    sweep = Sweep(rho=(0.0, 0.1), label_noise=(0.0, 0.4))
    tuned = dataclasses.replace(SMALL, methods={"sgd": {}, "gcsam": {}}, tuning=Tuning(3, (0.01, 0.1)), sweep=sweep)
    found = parts(tuned, tmp_path)
    counts = {part: Counter(job.method for job, _ in placed) for part, placed in found.items()}
    assert counts == {
        "tuning": {"sgd": 3, "gcsam": 3},
        "runs": {"sgd": 2, "gcsam": 2},
        "rho": {"gcsam": 4},
        "label noise": {"sgd": 2, "gcsam": 2},
    }
    assert {job.settings["lr"] for job, _ in found["rho"]} == {0.0316}  # the middle trial, until the best is known
    taking = dataclasses.replace(tuned, tuning=Tuning(3, (0.01, 0.1), same_as={"sgd": "gcsam"}))
    found = parts(taking, tmp_path)
    assert {job.method for job, _ in found["tuning"]} == {"gcsam"}
    assert {job.settings["lr"] for job, _ in found["runs"]} == {0.0316}
    chosen = {method: {"trial": 0, "settings": {"lr": 0.01}} for method in tuned.methods}
    held = json.dumps({"rule": "", "trials": [], "chosen": chosen})
    (tmp_path / "tuning.json").write_text(held, encoding="utf-8")
    assert {job.settings["lr"] for job, _ in parts(tuned, tmp_path)["rho"]} == {0.01}
    added = dataclasses.replace(tuned, methods={**tuned.methods, "sam": {}})
    rates = {job.method: job.settings["lr"] for job, _ in parts(added, tmp_path)["runs"]}
    assert rates == {"sgd": 0.01, "gcsam": 0.01, "sam": 0.0316}  # one that was added has not been searched for


TOML = """
seeds = 2
[train]
model = "mlp"
epochs = 2
train_limit = 60
test_limit = 30
[methods.sgd]
[methods.sgd-long]
method = "sgd"
epochs = 4
[measure]
of = ["eigenvalues"]
"""


def test_a_study_of_ones_own_is_planned_then_done(tmp_path: Path, cli: Callable[..., Done]) -> None:
    """The plan does nothing; after the study nothing is left to do, and both names are in its table of runs."""
    file, folder = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(TOML, encoding="utf-8")
    command = ("study", file, "--output", folder, "--device", "cpu")
    planned = cli(*command, "--dry-run")
    assert (planned.status, planned.err) == (0, "")
    assert not folder.exists()
    rows = {line.split()[0]: line.split()[1:5] for line in planned.out.splitlines() if line.strip().startswith("sgd")}
    assert rows == {"sgd": ["2", "2", "4", "4"], "sgd-long": ["2", "2", "8", "8"]}
    assert "Still to do: 4 runs" in planned.out
    done = cli(*command, "--executor", "serial", "--quiet")
    assert (done.status, done.err) == (0, "")
    assert {path.name for path in (folder / "runs").iterdir()} == {
        f"{name}-seed{seed}" for name in ("sgd", "sgd-long") for seed in (0, 1)
    }
    from analysis.claims import RunTable

    assert set(RunTable.load(folder / "study.h5").method) == {"sgd", "sgd-long"}
    assert "Still to do: 0 runs, 1 s of work" in re.sub(r"\s+", " ", cli(*command, "--dry-run").out)
