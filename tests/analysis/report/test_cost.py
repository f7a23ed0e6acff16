"""The plan: costs expected against costs counted, what fits into a budget, and its table."""

from __future__ import annotations

import json
import math

import pytest

from analysis import sharpness_plan, sharpness_report
from analysis.report.measures import MEASURES
from tests.analysis.report.networks import Counting, relu_network


def test_expected_costs_are_near_those_counted() -> None:
    """Each within a factor of 3, but those whose probes may end after the first 10, and all together within 2.

    Of 1,414 gradients 934 are fixed but for the noises that PAC-Bayes tries, 10 to 15 for 12 expected; the others end
    by a tolerance, between 10 products and three times what is expected: (134 + 800 * 10 / 12 + 50) / 1414 = 0.6 and
    (134 + 800 * 15 / 12 + 480 * 2) / 1414 = 1.5.
    """
    objective = relu_network(samples=60)
    plan, found = sharpness_plan(objective), sharpness_report(objective)
    spent = {line.measure: line.spent for line in found.lines if line.expected}
    for line in plan.lines:
        if line.name in {"trace", "relative_flatness", "eigenvalues"}:
            assert 2 * 5 <= spent[line.name] <= line.most  # 5 products give 5 pairs, 10 probes the first trace
        else:
            assert line.expected / 3 <= spent[line.name] <= 3 * line.expected, line.name
    assert 0.6 < sum(spent.values()) / plan.expected < 1.5


def test_a_plan_measures_nothing_but_four_gradients() -> None:
    objective = Counting(relu_network())
    plan = sharpness_plan(objective)
    assert objective.seen["gradients"] == pytest.approx(4)
    assert objective.seen["hvps"] == 0
    assert objective.seen["losses"] <= 2  # the check that the loss repeats
    assert [line.name for line in plan.lines] == [measure.name for measure in MEASURES]
    assert plan.expected == pytest.approx(4 + sum(line.expected for line in plan.lines))
    assert plan.expected_seconds == pytest.approx(plan.expected * plan.seconds_per_gradient)
    assert plan.seconds_per_gradient > 0


def test_a_budget_picks_by_priority_and_counts_the_timing() -> None:
    objective = relu_network()
    plan = sharpness_plan(objective, budget=4 + 4 / 3 + 29, measures=["magnitudes", "eigenvalues", "critical", "trace"])
    units = {line.name: line.units for line in plan.lines}
    assert units == {"magnitudes": 1, "eigenvalues": 14, "critical": 0, "trace": 0}  # 14 products cost 28 of 29
    assert plan.expected == pytest.approx(4 + 4 / 3 + 28)
    assert (plan.budget_gradients, plan.budget_seconds) == (4 + 4 / 3 + 29, math.inf)
    assert all(line.units == 0 for line in sharpness_plan(objective, budget=3).lines)
    assert all(line.units == line.full for line in sharpness_plan(objective, budget="9 h").lines)


def test_a_plan_is_shown_and_plain() -> None:
    plan = sharpness_plan(relu_network(), budget=60, measures=["magnitudes", "eigenvalues", "trace"])
    lines = str(plan).splitlines()
    assert lines[0].startswith("Sharpness of 51 weights on 20 samples: about ")
    assert lines[0].endswith(", of 60 gradients allowed")
    rows = [line.split() for line in lines if line.startswith("Hessian")]
    assert rows[0][-5:] == ["27", "of", "200", "Hessian", "products"]
    assert rows[1][-5:] == ["12", "of", "100", "Hessian", "products"]  # 60 - 4 - 1.3 - 30 are left
    assert "<table" in plan._repr_html_()
    found = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert found["budget_seconds"] is None
    assert found["lines"][1]["units"] == 27
    assert max(map(len, lines)) <= 100
    assert "of 5 min 0 s allowed" in str(sharpness_plan(relu_network(), budget="5 min"))


def test_nan_budgets_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="budget must be a time"):
        sharpness_plan(relu_network(), budget=math.nan)
    with pytest.raises(ValueError, match="rho must be a finite number"):
        sharpness_plan(relu_network(), rho=math.nan)
