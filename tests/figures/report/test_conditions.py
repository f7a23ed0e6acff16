"""Grids, corrupted images and drifts in the report: the numbers of the files, and nothing where there are none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from analysis.store import Measurement, Variable, write
from figures.reading import Run, load_runs
from figures.report.build import build
from figures.report.conditions import drift, robustness, sweeps
from figures.report.content import Report
from figures.report.tables import answer_table, tuning_table
from tests.figures.report.conftest import write_conditions


def write_sweep(path: Path, setting: str, accuracy: list[list[list[float]]]) -> Run:
    values = np.array([0.01, 0.1])
    variables = {
        "value": Variable(values, ("value",)),
        "method": Variable(np.array(["sam", "gcsam"], dtype=object), ("method",)),
        "seed": Variable(np.arange(2), ("seed",)),
        "test_accuracy": Variable(np.array(accuracy), ("method", "seed", "value")),
    }
    write(path, "training", f"sweep_{setting}", Measurement("Sweep", variables))
    return Run(path)


def test_grids_hold_means_and_ranges_and_a_run_that_diverged_leaves_a_gap(tmp_path: Path) -> None:
    """Fails if the mean is taken over the seeds that are left, which would flatter the method."""
    study = write_sweep(tmp_path / "study.h5", "rho", [[[0.9, 0.5], [0.94, 0.7]], [[0.8, math.nan], [0.8, 0.9]]])
    picture = sweeps(study)
    assert picture is not None
    (panel,) = picture.panels
    sam, gcsam = panel.series
    assert (sam.name, list(sam.x)) == ("sam", ["0.01", "0.1"])
    assert list(sam.y) == pytest.approx([92.0, 60.0])
    assert list(sam.low) == pytest.approx([90.0, 50.0])
    assert list(sam.high) == pytest.approx([94.0, 70.0])
    assert gcsam.y[0] == pytest.approx(80.0)
    assert math.isnan(gcsam.y[1])
    assert "1 run diverged" in picture.caption
    assert "SAM 60 to 92 %" in picture.words


def test_corrupted_images_by_severity_and_by_kind(tmp_path: Path) -> None:
    picture = robustness(load_runs(write_conditions(tmp_path, {"sgd": (90.0, 92.0)})))
    assert picture is not None
    severity, kinds = picture.panels
    assert list(severity.series[0].y) == pytest.approx([90.5, 80.5, 70.5])
    assert list(severity.series[0].low) == pytest.approx([89.5, 79.5, 69.5])
    assert list(kinds.series[0].x) == ["gaussian noise", "blur"]
    assert list(kinds.series[0].y) == pytest.approx([76.0, 75.0])
    assert picture.words == "Mean over kinds, severities and seeds: SGD 75.5 %."


def test_hours_of_a_drift(tmp_path: Path) -> None:
    for seed, online in enumerate(([0.2, 0.9, 0.7], [0.4, 0.8, 0.6])):
        columns = {"severity": [0.0, 1.0, 2.0], "online_accuracy": online, "current_accuracy": online}
        history = {name: Variable(np.array(values), ("epoch",)) for name, values in columns.items()}
        summary = {"method": Variable(np.array("sam", dtype=object)), "seed": Variable(np.array(seed))}
        write(tmp_path / f"{seed}.h5", "training", "history", Measurement("TrainingHistory", history))
        write(tmp_path / f"{seed}.h5", "training", "summary", Measurement("TrainingSummary", summary))
    runs = load_runs(sorted(tmp_path.glob("*.h5")))
    picture = drift(runs)
    assert picture is not None
    assert list(picture.panels[0].series[0].y) == pytest.approx([85.0, 65.0])  # the clean epoch is no hour
    assert picture.words == "Online accuracy, mean over hours and seeds: SAM 75 %."
    assert "drift" in [section.name for section in build(None, runs).sections]


def test_trials_and_answers_are_tables(tmp_path: Path) -> None:
    def column(*values: object, dim: str = "trial") -> Variable:
        kind = object if isinstance(values[0], str) else None
        return Variable(np.array(values, dtype=kind), (dim,))

    study = tmp_path / "study.h5"
    trials = {
        "method": column("sgd", "sam"),
        "seed": column(1000, 1000),
        "lr": column(0.1, 0.2),
        "rho": column(math.nan, 0.05),
        "validation_accuracy": column(0.9, 0.95),
        "validation_loss": column(0.3, 0.2),
        "chosen": column(False, True),
        "control": column("sam-matched", "random", dim="control"),
        "same_as": column("gcsam", "gcsam", dim="control"),
    }
    write(study, "training", "tuning", Measurement("Tuning", trials))
    texts = {"criterion": "accuracy larger", "answers": "not yet", "unit": "percentage points", "reason": "few seeds"}
    rows = {name: column(text, dim="criterion") for name, text in texts.items()}
    numbers = {"effect": 0.3, "interval_low": -0.1, "interval_high": 0.7, "seeds_needed": 12.0}
    rows |= {name: column(number, dim="criterion") for name, number in numbers.items()}
    words = {"candidate": "gcsam", "baseline": "sgd", "answer": "not yet"}
    rows |= {name: Variable(np.array(text, dtype=object)) for name, text in words.items()}
    rows |= {"looks": column(5, 10, dim="look"), "look_confidence": Variable(np.array(0.9875))}
    write(study, "claims", "ab", Measurement("SuccessVerdict", rows))
    tuning, success = tuning_table(Run(study)), answer_table(Run(study))
    assert tuning is not None
    assert success is not None
    assert tuning.caption.endswith(
        "not judged. The control SAM at qρ has the settings found for GCSAM. The control random P has the settings "
        "found for GCSAM."
    )
    assert [cell.text for cell in tuning.rows[1]] == ["SAM", "yes", "1000", "0.2", "0.05", "95.00", "0.2"]
    assert [cell.text for cell in success.rows[0]][1:4] == ["not yet", "+0.30 pp [−0.10 pp, +0.70 pp]", "12"]
    assert success.caption == (
        "Does GCSAM meet what was asked beside SGD? Not yet. Intervals of 98.8 %, for look 2 at the growing number of "
        "seeds."
    )
    names = [section.name for section in build(Run(study), []).sections]
    assert names == ["question", "success", "tuning", "methods"]


def test_a_report_without_them_misses_nothing(report: Report) -> None:
    assert {"sweeps", "robustness", "drift", "tuning", "success"}.isdisjoint(
        section.name for section in report.sections
    )
    assert [sweeps(None), robustness([]), drift([]), tuning_table(None), answer_table(None)] == [None] * 5
