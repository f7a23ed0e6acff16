"""Relative flatness against the layer's dense Hessian, row by row, in float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import analysis
from analysis import Objective, relative_flatness
from tests.cases import CASES
from tests.compare import assert_close


def dense(objective: Objective, name: str) -> float:
    """Return sum over rows s, t of <w_s, w_t> tr(H_st) by torch.autograd.functional.hessian of one matrix."""
    model = objective.model.eval()
    x, y = (torch.cat(list(column)) for column in zip(*objective.data, strict=True))
    matrix = dict(model.named_parameters())[name].detach()

    def loss(w: Tensor) -> Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(model, {name: w}, (x,)), y)

    hessian = torch.autograd.functional.hessian(loss, matrix)  # [O, I, O, I]
    return float((matrix @ matrix.T * torch.einsum("aibi->ab", hessian)).sum())


@pytest.mark.parametrize("name", ["0.weight", "3.weight"], ids=["more rows than columns", "fewer"])
def test_every_layer_is_within_its_standard_error_of_the_dense_sum(name: str) -> None:
    model, loss_fn, batches = CASES[1].make()
    found = relative_flatness(Objective(model, loss_fn, batches), [name], tol=1e-9, max_hvps=400)
    expected = dense(Objective(model, loss_fn, batches), name)
    assert abs(float(found.value) - expected) < 4 * float(found.standard_error) < 0.5 * abs(expected)
    assert (found.num_hvps, found.statuses, found.parameters) == (400, ("MAX_HVPS",), (name,))


def test_the_standard_error_is_right_over_seeds() -> None:
    """100 seeds: the spread is known to 7 %, and 3 times that is allowed."""
    objective = Objective(*CASES[1].make())
    found = [relative_flatness(objective, tol=1e-9, max_hvps=10, seed=seed) for seed in range(100)]
    values, errors = (torch.cat([getattr(one, name) for one in found]) for name in ("value", "standard_error"))
    assert float(errors.square().mean().sqrt() / values.std()) == pytest.approx(1, abs=0.2)
    assert abs(float(values.mean()) - dense(objective, "3.weight")) < 4 * float(values.std()) / 10


def test_the_last_linear_layer_is_the_default_and_several_are_in_order(tmp_path: Path) -> None:
    objective = Objective(*CASES[1].make())
    default, both = relative_flatness(objective), relative_flatness(objective, ["3.weight", "0.weight"])
    assert default.parameters == ("3.weight",)
    assert_close(both.value[:1], default.value)
    assert both.num_hvps > default.num_hvps
    both.save(tmp_path / "run.h5", "relative")
    assert analysis.load(tmp_path / "run.h5", "sharpness/relative") == both


def test_the_last_of_three_layers_is_the_default_and_so_is_a_model_that_is_one() -> None:
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    three = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    assert relative_flatness(Objective(three, nn.MSELoss(), (x, x[:, :1])), max_hvps=10).parameters == ("2.weight",)
    assert relative_flatness(Objective(three[2], nn.MSELoss(), (x, x[:, :1])), max_hvps=10).parameters == ("weight",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": ["0.bias"]}, r"must name measured weight matrices, got '0.bias': \(6,\); see objective.names"),
        ({"parameters": ["nine"]}, "must name measured weight matrices, got 'nine': no such parameter"),
        ({"tol": math.nan}, "tol must be a finite number > 0"),
    ],
)
def test_arguments_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        relative_flatness(Objective(*CASES[1].make()), **settings)


def test_without_a_linear_layer_the_matrices_must_be_named() -> None:
    x = torch.randn(4, 1, 3, 3)
    objective = Objective(nn.Conv2d(1, 1, 3), nn.MSELoss(), (x, x[..., :1, :1]))
    with pytest.raises(ValueError, match=r"the model must have a measured nn\.Linear, got none"):
        relative_flatness(objective)
