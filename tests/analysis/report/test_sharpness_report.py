"""The report against the public functions, within budgets, where measures cannot be had, and through the file."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

import analysis
from analysis import (
    Objective,
    Status,
    hessian_eigenvalues,
    hessian_trace,
    pac_bayes_sigma,
    relative_flatness,
    sharpness,
    sharpness_report,
)
from analysis.report import sharpness_report as module
from analysis.report.measure import LOSS, Measure
from analysis.report.measures import MEASURES
from analysis.report.rows import SharpnessReport
from tests.analysis.noise.untouched import assert_same, everything
from tests.analysis.report.networks import Counting, relu_network
from tests.cases import CASES, IDS, Case

CHEAP = ["magnitudes", "eigenvalues", "trace", "worst", "worst_m", "average", "fisher_rao", "critical"]


@pytest.fixture(scope="module")
def objective() -> Objective:
    return relu_network()


@pytest.fixture(scope="module")
def whole(objective: Objective) -> SharpnessReport:
    return sharpness_report(objective)


def test_all_rows_are_there_in_the_order_of_the_list(whole: SharpnessReport) -> None:
    assert whole.name == tuple(quantity.name for measure in MEASURES for quantity in measure.quantities)
    assert whole.value.isfinite().all()
    assert whole.status is Status.COMPLETE
    assert {"INTERRUPTED", "LEFT_OUT", "NOT_AVAILABLE"}.isdisjoint(whole.statuses)
    assert (whole.num_parameters, whole.num_samples, whole.m) == (51, 20, 4)


def test_rows_are_what_the_functions_return(whole: SharpnessReport, objective: Objective) -> None:
    def t(error: float, num: int) -> float:
        return error * float(stats.t.ppf(0.975, num - 1))

    top, trace = hessian_eigenvalues(objective, k=5), hessian_trace(objective)
    assert whole["lambda_max"].value == float(top.values[0])
    assert whole["lambda_max"].high - whole["lambda_max"].value == pytest.approx(float(top.residuals[0]), rel=1e-6)
    assert whole["lambda_ratio"].value == pytest.approx(float(top.values[0] / top.values[4]), rel=1e-12)
    assert (whole["trace"].value, whole["frobenius"].value) == (trace.value, trace.frobenius)
    expected = trace.frobenius - t(trace.frobenius_standard_error, len(trace.samples))
    assert whole["frobenius"].low == pytest.approx(expected, rel=1e-12)
    for name, settings in (
        ("worst", {}),
        ("worst_m", {"m": 4}),
        ("worst_adaptive", {"adaptive": True}),
        ("worst_linf", {"norm": "linf", "rho": 0.001}),
        ("average", {"kind": "average"}),
        ("average_adaptive", {"kind": "average", "adaptive": True}),
    ):
        found = sharpness(objective, **settings)  # type: ignore[arg-type]
        assert whole[name].value == found.value
        if len(found.samples) > 1:
            assert whole[name].low == pytest.approx(found.value - t(found.standard_error, len(found.samples)))
        else:
            assert whole[name].low == found.value
            assert math.isnan(whole[name].high)
    sigma = pac_bayes_sigma(objective, adaptive=True)
    assert whole["pac_bayes_adaptive"].value == sigma.value
    assert whole["pac_bayes_adaptive"].high == pytest.approx(sigma.high + t(sigma.standard_error, 50))
    flat = relative_flatness(objective)
    assert whole["relative_flatness"].value == float(flat.value)
    assert whole["relative_flatness"].high == pytest.approx(
        float(flat.value + t(float(flat.standard_error), flat.num_hvps))
    )


def test_settings_reach_the_measures(objective: Objective) -> None:
    given = {"rho": 0.2, "rho_linf": 0.02, "top": 3, "m": 10, "seed": 4}
    found = sharpness_report(objective, measures=["worst_m", "worst_linf", "eigenvalues"], **given)  # type: ignore[arg-type]
    assert found["worst_m"].value == sharpness(objective, 0.2, m=10, seed=4).value
    assert found["worst_linf"].value == sharpness(objective, 0.02, norm="linf", seed=4).value
    assert found["lambda_max"].value == float(hessian_eigenvalues(objective, k=3, seed=4).values[0])
    assert found["lambda_ratio"].title == "lambda_1 / lambda_3"
    assert found["worst_m"].title == "worst, L2, rho 0.2, m 10"
    assert {name: getattr(found, name) for name in given} == given


@pytest.mark.parametrize("budget", [3, 5, 40, 70, 120])
def test_a_budget_in_gradients_is_kept_and_spent_by_priority(budget: float) -> None:
    """Beyond it: losses of an ascent that are not bounded, at most 2 * 10 at its end, and those of checks, 2 each."""
    objective = Counting(relu_network())
    found = sharpness_report(objective, budget=budget, measures=[name for name in CHEAP if name != "fisher_rao"])
    seen = objective.seen["gradients"] + LOSS * objective.seen["losses"] + 2 * objective.seen["hvps"]
    assert seen <= max(budget, 4) + (20 + 2 * 4) * LOSS
    assert found.budget == str(budget)
    left_out = [line.status == "LEFT_OUT" for line in found.lines]
    assert any(left_out)
    assert found.status is Status.LEFT_OUT
    assert (found["loss"].status == "LEFT_OUT") == (budget <= 5)  # four go to timing
    assert found["average"].status == "LEFT_OUT"
    assert found["average"].expected == pytest.approx(161 / 3)  # 80 pairs and the loss at the weights


def test_fewer_units_within_a_budget_are_told() -> None:
    """13 products cost 26, with 5.3 for timing and magnitudes; fails if it says so where the tolerance was met."""
    objective = relu_network()
    found = sharpness_report(objective, budget=4 + 27, measures=["trace"])
    assert found["trace"].note == "13 of 100 Hessian products, for the budget"
    assert found["trace"].status == "MAX_HVPS"
    assert found["trace"].value == hessian_trace(objective, max_hvps=13).value
    assert found["trace"].allowed == 13
    assert (found["trace"].expected, found["trace"].spent) == (26.0, 26.0)
    met = sharpness_report(objective, budget=4 + 60, measures=["eigenvalues"])
    assert met["lambda_max"].status in {"CONVERGED", "BREAKDOWN"}
    assert (met["lambda_max"].allowed, met["lambda_max"].note) == (30, "")


def test_a_budget_in_seconds_goes_by_the_clock(monkeypatch: pytest.MonkeyPatch, objective: Objective) -> None:
    clock = [0.0]

    def tick() -> float:
        clock[0] += 1.0
        return clock[0]

    monkeypatch.setattr("analysis.report.budget.time.perf_counter", tick)
    found = sharpness_report(objective, budget="12 s", measures=["magnitudes", "critical", "average"])
    assert found.seconds_per_gradient == 1.0
    # 1 for the start, 8 for four gradients, 1 to ask: 2 s are left for magnitudes, then nothing
    assert [found[name].status for name in ("loss", "critical", "average")] == ["COMPLETE", "LEFT_OUT", "LEFT_OUT"]
    assert found["loss"].seconds > 0


def no_linear() -> Objective:
    x, y = torch.randn(12, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2
    model = nn.Sequential(nn.Conv2d(1, 2, 4), nn.Flatten())
    return Objective(model, nn.CrossEntropyLoss(), (x, y))


def one_sample() -> Objective:
    return Objective(nn.Linear(3, 2), nn.CrossEntropyLoss(), (torch.ones(1, 3), torch.zeros(1, dtype=torch.long)))


def no_samples() -> Objective:
    """A loss over pairs of samples: no sample has one of its own."""

    def batch_loss(model: nn.Module, batch: Any) -> tuple[torch.Tensor, int]:
        outputs = model(batch[0])
        return torch.cdist(outputs, outputs.detach() + 1).square().sum(), len(outputs)

    return Objective(nn.Linear(3, 2), data=(torch.randn(6, 3), torch.zeros(6)), batch_loss=batch_loss)


@pytest.mark.parametrize(
    ("make", "name", "reason"),
    [
        (no_linear, "relative_flatness", "the model must have a measured nn.Linear, got none"),
        (no_samples, "fisher_rao", "the loss must be a sum over samples"),
    ],
)
def test_what_cannot_be_had_is_a_row_with_its_reason(make: Any, name: str, reason: str) -> None:
    found = sharpness_report(make(), measures=["magnitudes", name, "critical"])
    row = found[name]
    assert row.status == "NOT_AVAILABLE"
    assert row.note.startswith(reason)
    assert "\n" not in row.note
    assert math.isnan(row.value)
    assert row.spent == 0
    assert found["loss"].status == "COMPLETE"
    assert found.status is Status.COMPLETE


def test_one_sample_has_numbers_and_no_made_up_interval() -> None:
    found = sharpness_report(one_sample(), measures=["magnitudes", "worst_m", "fisher_rao", "eigenvalues"])
    assert found["worst_m"].meaning == "lower bound"
    assert math.isnan(found["worst_m"].high)
    assert found["loss"].status == "COMPLETE"


def test_an_m_larger_than_the_data_is_a_row_with_its_reason(objective: Objective) -> None:
    found = sharpness_report(objective, m=21, measures=["worst_m"])
    assert found["worst_m"].status == "NOT_AVAILABLE"
    assert found["worst_m"].note.startswith("m must be a whole number of samples from 1 to 20, all there are, got 21")


@pytest.mark.parametrize("error", [RuntimeError, TypeError, KeyError])
def test_a_mistake_in_the_code_is_not_swallowed(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise error("a mistake")

    measures = (dataclasses.replace(MEASURES[0], compute=broken),)
    monkeypatch.setattr(module, "named", lambda _: measures)
    with pytest.raises(error, match="a mistake"):
        sharpness_report(relu_network())


@pytest.mark.parametrize("error", [ValueError, NotImplementedError])
def test_an_error_without_a_text_is_named(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(module, "named", lambda _: (dataclasses.replace(MEASURES[0], compute=missing),))
    assert sharpness_report(relu_network())["loss"].note == error.__name__


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_case_has_a_report_and_is_left_as_found(case: Case) -> None:
    model, loss_fn, batches = case.make()
    objective = Objective(model, loss_fn, batches)
    before = everything(model)
    with torch.inference_mode():
        found = sharpness_report(objective, measures=CHEAP, budget=150)
    assert_same(before, everything(model))
    available = [line for line in found.lines if line.status not in {"NOT_AVAILABLE", "LEFT_OUT"}]
    assert len(available) >= 9
    assert all(math.isfinite(line.value) for line in available if line.name != "lambda_ratio")


def test_a_loss_that_is_not_finite_gives_rows_that_say_so() -> None:
    model = nn.Linear(2, 1)
    nn.init.constant_(model.weight, math.inf)
    found = sharpness_report(Objective(model, F.mse_loss, (torch.ones(3, 2), torch.ones(3, 1))), measures=CHEAP)
    assert found["loss"].status == "NOT_FINITE"
    assert found["loss"].value == math.inf
    assert {found[name].status for name in ("lambda_max", "worst", "average")} <= {"NOT_FINITE", "NOT_AVAILABLE"}
    assert "nan" in str(found)


def test_saved_loaded_and_as_json(whole: SharpnessReport, tmp_path: Path) -> None:
    whole.save(tmp_path / "run.h5", "report")
    again = analysis.load(tmp_path / "run.h5", "sharpness/report")
    assert again == whole
    assert str(again) == str(whole)
    assert again != dataclasses.replace(whole, value=whole.value + 1)
    assert again == dataclasses.replace(whole, seconds=whole.seconds + 1)  # the machine's, not the network's
    found = json.loads(json.dumps(whole.to_dict(), allow_nan=False))
    assert found["status"] == "COMPLETE"
    assert [row["name"] for row in found["rows"]] == list(whole.name)
    assert found["rows"][3]["value"] == whole["lambda_max"].value
    assert found["rows"][0]["low"] is None
    assert found["m"] == 4


def test_equal_calls_give_equal_reports() -> None:
    first, again, other = (sharpness_report(relu_network(), measures=CHEAP[:5], seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert not torch.equal(first.value, other.value)


def test_progress_runs_to_its_end_in_expected_gradients(objective: Objective) -> None:
    told: list[tuple[int, int]] = []
    sharpness_report(objective, measures=CHEAP, progress=lambda *pair: told.append(pair))
    assert {total for _, total in told} == {283}
    done = [done for done, _ in told]
    assert done == sorted(done)
    assert done[-1] == 283
    assert len(set(done)) > 30


def test_a_row_that_is_not_there(whole: SharpnessReport) -> None:
    with pytest.raises(KeyError, match="no row 'lambda'; the report has loss, gradient_norm"):
        whole["lambda"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": math.nan}, "budget must be a time"),
        ({"measures": ["all"]}, "measures must be some of"),
        ({"rho": math.nan}, "rho must be a finite number > 0, got nan"),
        ({"m": 0}, "m must be a whole number >= 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_measured(given: Any, message: str) -> None:
    objective = Counting(relu_network())
    with pytest.raises(ValueError, match=message):
        sharpness_report(objective, **given)
    assert not any(objective.seen.values())


def test_priorities_come_before_the_order_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def spied(measure: Measure) -> Measure:
        def compute(*arguments: Any) -> Any:
            made.append(measure.name)
            return measure.compute(*arguments)

        return dataclasses.replace(measure, compute=compute)

    measures = tuple(spied(measure) for measure in MEASURES if measure.name in CHEAP)
    monkeypatch.setattr(module, "named", lambda _: measures)
    sharpness_report(relu_network())
    assert made == ["magnitudes", "eigenvalues", "fisher_rao", "critical", "worst", "worst_m", "trace", "average"]
