"""A quadratic, whose mean rise is sigma^2 tr(H) / 2, and what is told where there is no answer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import analysis
from analysis import Objective, pac_bayes_sigma, sharpness
from analysis.evidence import Status
from tests.analysis.flatness.regression import problem
from tests.cases import CASES


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("rise", [1e-3, 2.0])
def test_a_quadratic_has_the_root_of_twice_the_rise_over_the_trace(adaptive: bool, rise: float) -> None:
    objective, hessian, _ = problem()
    scale = objective.weights().abs() if adaptive else torch.ones(6, dtype=torch.float64)
    found = pac_bayes_sigma(objective, rise, adaptive, samples=200)
    expected = math.sqrt(2 * rise / float((hessian.diagonal() * scale.square()).sum()))
    assert abs(found.value - expected) < 4 * found.standard_error < 0.4 * expected
    assert found.status is Status.CONVERGED
    assert found.low <= found.value <= found.high <= found.low / 0.99


def test_at_the_value_the_mean_rise_over_the_same_pairs_is_the_threshold() -> None:
    """Fails if the tries do not share their perturbations. A parabola over 1 % leaves its chord by 1e-4 / 4."""
    objective = Objective(*CASES[2].make())
    found = pac_bayes_sigma(objective, 0.05, samples=10)
    again = sharpness(objective, found.value, kind="average", samples=10)
    assert again.value == pytest.approx(0.05, rel=1e-4)


def test_the_standard_error_is_right_over_seeds() -> None:
    """100 seeds: the spread is known to 7 %, and 3 times that is allowed."""
    objective, _, _ = problem()
    found = [pac_bayes_sigma(objective, samples=10, tol=0.2, seed=seed) for seed in range(100)]
    values, errors = (torch.tensor([getattr(one, name) for one in found]) for name in ("value", "standard_error"))
    assert float(errors.square().mean().sqrt() / values.std()) == pytest.approx(1, abs=0.2)


def test_without_an_answer_the_bounds_are_told() -> None:
    x = torch.ones(2, 2)
    flat = pac_bayes_sigma(Objective(nn.Linear(2, 1), lambda output, _: 0 * output.mean(), (x, x)), samples=2)
    assert (flat.status, flat.high) == (Status.NO_BRACKET, math.inf)
    assert math.isnan(flat.value)
    lost = pac_bayes_sigma(Objective(nn.Linear(2, 1), lambda output, _: output.mean() * math.nan, (x, x)), samples=2)
    assert (lost.status, lost.num_losses) == (Status.NOT_FINITE, 1)


def test_where_the_loss_leaves_the_numbers_the_last_sigma_below_is_told() -> None:
    """L = -log(w) at w = 1 is NaN once a perturbation is below -1: 1 / max|z| bounds sigma, and there is no slope."""
    x = torch.ones(2, 1, dtype=torch.float64)
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    found = pac_bayes_sigma(Objective(model, lambda output, _: -output.log().mean(), (x, x)), 100.0, samples=8)
    generator = torch.Generator().manual_seed(0)
    largest = max(abs(float(torch.randn(1, generator=generator))) for _ in range(8))
    assert found.low <= 1 / largest <= found.high <= found.low / 0.99
    assert (found.value, found.status) == (found.low, Status.CONVERGED)
    assert math.isnan(found.standard_error)


@pytest.mark.parametrize("rise", [1e-6, 10.0])
def test_losses_are_counted_and_a_search_from_either_side_is_short(rise: float) -> None:
    seen: list[tuple[int, int]] = []
    found = pac_bayes_sigma(problem()[0], rise, samples=3, progress=lambda *pair: seen.append(pair))
    tries = len(seen) // 3
    assert seen == [(1, 3), (2, 3), (3, 3)] * tries
    assert found.num_losses == 1 + 6 * tries
    assert tries <= abs(math.log2(found.value / 0.01)) + 1 + math.log2(1 / 0.01) + 1


def test_saved_and_loaded_equal_in_float32(tmp_path: Path) -> None:
    found = pac_bayes_sigma(Objective(*CASES[1].make(torch.float32)), samples=3)
    found.save(tmp_path / "run.h5", "sigma")
    assert analysis.load(tmp_path / "run.h5", "sharpness/sigma") == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rise": 0.0}, "rise must be a finite number > 0, got 0.0"),
        ({"rise": math.nan}, "rise must be a finite number > 0, got nan"),
        ({"rise": math.inf}, "rise must be a finite number > 0, got inf"),
        ({"tol": 0.0}, r"tol must be a number in \(0, 1\), got 0.0"),
        ({"tol": 1.0}, r"tol must be a number in \(0, 1\), got 1.0"),
        ({"tol": math.nan}, r"tol must be a number in \(0, 1\), got nan"),
        ({"samples": 1}, "samples must be a whole number >= 2, got 1"),
    ],
)
def test_arguments_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pac_bayes_sigma(problem()[0], **settings)
