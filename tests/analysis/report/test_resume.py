"""A report in a file: stopped after any measure it goes on, and takes nothing of other weights, data or settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import analysis
from analysis import Status, sharpness, sharpness_report
from analysis.report import sharpness_report as module
from analysis.report.measures import MEASURES
from analysis.store import list_measurements, read, read_attributes
from tests.analysis.report.networks import relu_network

NAMES = ["magnitudes", "eigenvalues", "worst", "average", "critical"]
ORDER = ["magnitudes", "eigenvalues", "critical", "worst", "average"]  # by priority


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the measures that were computed, as they are."""
    names: list[str] = []

    def spied(measure: Any) -> Any:
        def compute(*arguments: Any) -> Any:
            names.append(measure.name)
            return measure.compute(*arguments)

        return dataclasses.replace(measure, compute=compute)

    def named(wanted: Any) -> Any:
        return tuple(spied(measure) for measure in MEASURES if wanted is None or measure.name in wanted)

    monkeypatch.setattr(module, "named", named)
    return names


@pytest.mark.parametrize("stop_at", [0, 1, 3, 4])
def test_a_report_stopped_midway_goes_on(tmp_path: Path, made: list[str], stop_at: int) -> None:
    path = tmp_path / "run.h5"
    whole = sharpness_report(relu_network(), measures=NAMES)
    made.clear()

    def stop(done: int, total: int) -> None:
        if len(made) == stop_at + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sharpness_report(relu_network(), measures=NAMES, path=path, progress=stop)
    before = analysis.load(path, "sharpness/report")
    assert before.status is Status.INTERRUPTED  # type: ignore[union-attr]
    finished = ORDER[: stop_at if stop_at else 0]
    made.clear()
    found = sharpness_report(relu_network(), measures=NAMES, path=path)
    assert made == ORDER[len(finished) :]
    assert torch.equal(found.value, whole.value)
    assert torch.equal(found.low.nan_to_num(), whole.low.nan_to_num())
    assert {line.spent for line in found.lines if line.measure in finished} <= {0.0}
    kept = [row for row in str(found).splitlines() if row.endswith(" file")]
    assert len(kept) == len(finished)
    assert analysis.load(path, "sharpness/report") == found
    assert found.status is Status.COMPLETE
    made.clear()
    again = sharpness_report(relu_network(), measures=NAMES, path=path)
    assert made == []
    assert torch.equal(again.value, found.value)
    assert float(again.spent.sum()) == 0


def test_each_result_is_in_the_file_beside_the_report(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    found = sharpness_report(relu_network(), measures=NAMES, path=path)
    assert set(list_measurements(path)) == {
        "curvature/eigenvalues",
        "sharpness/magnitudes",
        "sharpness/worst",
        "sharpness/average",
        "sharpness/critical",
        "sharpness/report",
    }
    assert analysis.load(path, "worst") == sharpness(relu_network())
    attributes = read_attributes(path)
    assert attributes["checkpoint_sha256"] == found.weights_sha256
    assert attributes["device"] == "cpu"


def test_only_what_other_settings_touch_is_made_anew(tmp_path: Path, made: list[str]) -> None:
    path = tmp_path / "run.h5"
    sharpness_report(relu_network(), measures=NAMES, path=path)
    made.clear()
    found = sharpness_report(relu_network(), measures=NAMES, path=path, rho=0.1)
    assert made == ["worst", "average"]
    assert found["worst"].value == sharpness(relu_network(), 0.1).value


def test_what_a_budget_cut_short_is_made_anew_with_more_and_kept_with_less(tmp_path: Path, made: list[str]) -> None:
    """An average of 15 pairs ends well, and yet is not one of 100; eigenvalues that converged are the same for any."""
    path = tmp_path / "run.h5"
    names = ["eigenvalues", "average"]
    short = sharpness_report(relu_network(), measures=names, budget=45, path=path)
    assert short["lambda_max"].status in {"CONVERGED", "BREAKDOWN"}
    assert 10 <= short["average"].allowed < 40
    for budget, expected in ((16, []), (None, ["average"]), (45, []), (None, [])):
        made.clear()
        found = sharpness_report(relu_network(), measures=names, budget=budget, path=path)
        assert made == expected
    assert found["average"].value == sharpness(relu_network(), kind="average").value
    assert found["average"].allowed == 100


def test_other_weights_and_other_data_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    sharpness_report(relu_network(), measures=["magnitudes"], path=path)
    with pytest.raises(ValueError, match=r"^path: .*run\.h5 holds a report of other weights; give another file$"):
        sharpness_report(relu_network(10.0), measures=["magnitudes"], path=path)
    objective = relu_network()
    other = objective.on([(x + 1, y) for x, y in objective.data])
    with pytest.raises(ValueError, match=r"^path: .*run\.h5 holds a report of other data; give another file$"):
        sharpness_report(other, measures=["magnitudes"], path=path)


def test_another_result_in_the_place_of_the_report_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    sharpness(relu_network()).save(path, "report")
    with pytest.raises(ValueError, match=r"holds a Sharpness as sharpness/report, no report; give another file$"):
        sharpness_report(relu_network(), measures=["magnitudes"], path=path)


def test_measurements_of_unknown_weights_are_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    sharpness(relu_network(10.0)).save(path, "worst")
    before = read(path, "sharpness/worst")
    with pytest.raises(ValueError, match=r"holds sharpness/worst of unknown weights and no report; give another file$"):
        sharpness_report(relu_network(), measures=["worst"], path=path)
    assert read(path, "sharpness/worst") == before
    found = sharpness_report(relu_network(), measures=["magnitudes"], path=path)  # nothing of its own is there
    assert found["loss"].status == "COMPLETE"
