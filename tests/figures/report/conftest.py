"""A small study with chosen numbers, written by the store alone, and its report in both forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.store import Measurement, Variable, create, provenance, write
from figures.reading import Run, load_runs
from figures.report.build import build
from figures.report.content import Report
from tests.figures.synthetic import METHODS, measurement, write_run

# A name that would be a tag, a link in Markdown and a second cell if it were not escaped.
NASTY = 'a<b>|"x"[y](z)</script>'
Claim = dict[str, Any]


def claim(number: int, quantity: str, comparison: str, effect: float, low: float, high: float, **others: Any) -> Claim:
    row = {
        "statement": f"Claim {number} holds",
        "role": "decides",
        "direction": "lower",
        "unit": "%",
        "verdict": "inconclusive",
        "reason": "2 of the 5 seeds a verdict needs",
        "caveat": "",
        "num_seeds": 2,
        "p_corrected": 1.0,
        "effect_size": 0.5,
        "detectable": 40.0,
    }
    given = {"number": number, "quantity": quantity, "comparison": comparison}
    return {**row, **given, "effect": effect, "interval_low": low, "interval_high": high, **others}


CLAIMS = (
    claim(1, "ascent_ratio", "gcsam vs 1", -13.5, -21.4, -5.5),
    claim(3, "lambda_max", "gcsam vs sam", 20.4, -5.6, 53.7, caveat="not at matched train_loss"),
    claim(3, "trace", "gcsam vs sgd", -60.0, -80.0, -20.0, p_corrected=0.0004),
    claim(4, "test_accuracy", "gcsam vs sam", 0.42, -4.9, 5.7, unit="percentage points"),
    claim(5, "", "not made", np.nan, np.nan, np.nan, role="untested", reason="needs runs over a grid of rho"),
    claim(7, "step_seconds_median", "gcsam vs sgd", 100.0, 80.0, 120.0, role="reported", reason="no bound"),
    claim(9, "trace", "with generalization_gap, all runs", 0.37, -0.6, 0.9, unit="rank correlation", detectable=np.nan),
)


def write_verdicts(path: Path, claims: Sequence[Claim] = CLAIMS, overall: dict[int, str] | None = None) -> None:
    numbers = list(dict.fromkeys(row["number"] for row in claims))
    combined = [(overall or {}).get(number, "inconclusive") for number in numbers]
    columns = {name: ([row[name] for row in claims], "claim") for name in claims[0]}
    write(
        path,
        "claims",
        "verdicts",
        measurement(
            of="Verdicts", **columns, claim_number=(numbers, "claim_number"), overall=(combined, "claim_number"),
            min_seeds=5,
        ),
    )  # fmt: skip


def write_table(path: Path, **extra: Sequence[float]) -> None:
    rows = [(method, seed) for seed in range(2) for method in METHODS]
    columns = {
        "method": Variable(np.array([m for m, _ in rows], dtype=object), ("run",)),
        "seed": Variable(np.array([s for _, s in rows]), ("run",)),
        "test_accuracy": Variable(np.linspace(0.9, 0.97, len(rows)), ("run",), "1", "of the selected weights"),
        "lambda_max": Variable(np.geomspace(1e-5, 1e3, len(rows)), ("run",), "loss", "largest eigenvalue"),
        "never": Variable(np.full(len(rows), np.nan), ("run",)),
        **{name: Variable(np.asarray(values, dtype=float), ("run",)) for name, values in extra.items()},
    }
    write(path, "training", "runs", Measurement("RunTable", columns))


CONFIG = '{"train": {"data": "digits"}, "methods": {"sgd": {"lr": 0.1}, "gcsam": {}}, "seeds": 2, "samples": null}'


def write_report_study(folder: Path, without: Sequence[str] = ()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(2):
        for method in METHODS:
            path = folder / "runs" / f"{method}-seed{seed}" / "run.h5"
            path.parent.mkdir(parents=True)
            rho = 0.1 if method == "sam" else 0.05
            create(
                path, provenance(config={"method": method, "lr": 0.05, "rho": rho}, checkpoint_sha256=f"{method}{seed}")
            )
            write_run(path, method, seed, without)
    study = folder / "study.h5"
    create(study, provenance(config=CONFIG, device="cpu"))
    write_verdicts(study)
    write_table(study)
    return study


def write_conditions(
    folder: Path, clean: Mapping[str, Sequence[float]], severity: Sequence[float] = (0.0, 1.0, 3.0)
) -> list[Path]:
    """Write runs whose accuracy falls ten points from severity to severity, and one from the first kind to the second.

    Args:
        folder: Made if it does not exist.
        clean: Method to the percentage of each seed at the first severity and kind.
        severity: Stored ones.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for method, numbers in clean.items():
        for seed, number in enumerate(numbers):
            falls = np.array([[0.0], [1.0]]) + 10.0 * np.arange(len(severity))
            variables = {
                "corruption": Variable(np.array(["gaussian_noise", "blur"], dtype=object), ("corruption",)),
                "severity": Variable(np.array(severity), ("severity",)),
                "accuracy": Variable((number - falls) / 100, ("corruption", "severity")),
            }
            summary = {"method": Variable(np.array(method, dtype=object)), "seed": Variable(np.array(seed))}
            paths.append(folder / f"{method}-{seed}.h5")
            write(paths[-1], "training", "robustness", Measurement("Robustness", variables))
            write(paths[-1], "training", "summary", Measurement("TrainingSummary", summary))
    return paths


def runs_of(study: Path) -> list[Path]:
    return sorted(study.parent.glob("runs/*/run.h5"))


def built(study: Path) -> Report:
    return build(Run(study), load_runs(runs_of(study)))


@pytest.fixture(scope="session")
def report_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's file, which is only read."""
    return write_report_study(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def report(report_study: Path) -> Report:
    return built(report_study)
