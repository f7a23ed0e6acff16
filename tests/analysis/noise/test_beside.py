"""What is refused in the place of the Hessian's pairs and trace; what is not is met by the tests of the measurement."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from analysis import Centralized, Eigenpairs, GaussNewton, Objective, hessian_eigenvalues, hessian_trace
from analysis.noise.beside import check_pairs, check_trace
from tests.cases import CASES


@pytest.fixture
def objective() -> Objective:
    return Objective(*CASES[1].make())


def pairs_of(operator: Any, **settings: Any) -> Eigenpairs:
    return hessian_eigenvalues(operator, 3, **settings)


@pytest.mark.parametrize("which", ["largest", "both"])
@pytest.mark.parametrize("tol", [0.1, 1e-8])
def test_pairs_of_this_hessian_pass(objective: Objective, which: str, tol: float) -> None:
    pairs = pairs_of(objective, which=which, tol=tol)
    check_pairs(objective, pairs, 3)
    check_pairs(Objective(objective.model, *CASES[1].make()[1:], dtype=torch.float32), pairs, 2)


def test_pairs_made_by_differences_pass() -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches, hvp_method="finite_difference")
    check_pairs(objective, pairs_of(objective), 3)


def test_pairs_of_other_parameters_are_refused(objective: Objective) -> None:
    part = Objective(*CASES[1].make(), parameters="0.*")
    with pytest.raises(
        ValueError, match=r"pairs of the 4 measured parameters \(51 weights\), got pairs of 2 parameters \(30 weights\)"
    ):
        check_pairs(objective, pairs_of(part), 3)


@pytest.mark.parametrize("make", [Centralized, GaussNewton])
def test_pairs_of_another_matrix_are_refused(objective: Objective, make: Any) -> None:
    with pytest.raises(ValueError, match=f"pairs of the Hessian itself, got those of '{make(objective).method}'"):
        check_pairs(objective, pairs_of(make(objective)), 3)


@pytest.mark.parametrize(("which", "k"), [("smallest", 3), ("magnitude", 3), ("largest", 4), ("both", 4)])
def test_pairs_of_another_end_and_too_few_are_refused(objective: Objective, which: str, k: int) -> None:
    with pytest.raises(ValueError, match=f"at least k = {k} of the largest eigenvalues, got 3 of which='{which}'"):
        check_pairs(objective, pairs_of(objective, which=which), k)


def test_pairs_of_another_checkpoint_are_refused(objective: Objective) -> None:
    pairs = pairs_of(objective)
    with torch.no_grad():
        for parameter in objective.model.parameters():
            parameter.mul_(1.1)
    with pytest.raises(ValueError, match="of these weights and data, but its first pair misses their Hessian by"):
        check_pairs(objective, pairs, 3)


def test_pairs_of_other_data_are_refused(objective: Objective) -> None:
    other = objective.on([objective.data[0]])  # type: ignore[index]
    with pytest.raises(ValueError, match="of these weights and data"):
        check_pairs(objective, pairs_of(other), 3)


def test_pairs_that_are_no_numbers_are_refused(objective: Objective) -> None:
    pairs = dataclasses.replace(pairs_of(objective), values=torch.full((3,), math.nan))
    with pytest.raises(ValueError, match="hessian must be finite, got NaN"):
        check_pairs(objective, pairs, 3)


def test_a_trace_that_is_no_number_is_refused(objective: Objective) -> None:
    trace = hessian_trace(objective)
    check_trace(trace)
    with pytest.raises(ValueError, match="trace must be finite, got nan with a standard error of"):
        check_trace(dataclasses.replace(trace, value=math.nan))
    with pytest.raises(ValueError, match=r"trace must be finite, got .* with a standard error of nan"):
        check_trace(dataclasses.replace(trace, standard_error=math.nan))
