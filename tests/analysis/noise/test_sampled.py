"""Which way products with Sigma go, and that both give the dense matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis import GradientCovariance, Objective
from analysis.noise.deviations import Deviations
from analysis.noise.sampled import SampledCovariance, covariance_operator
from tests.analysis.noise import oracle
from tests.cases import CASES
from tests.compare import assert_close


def chosen_for(objective: Objective) -> Any:
    probe = torch.linspace(-1, 2, objective.num_parameters, dtype=objective.dtype)
    return covariance_operator(Deviations(objective, 0, probe), probe)


def matrix_of(operator: Any) -> Tensor:
    return torch.stack([operator.hvp(unit) for unit in torch.eye(operator.num_parameters, dtype=operator.dtype)])


def test_the_fast_way_is_taken_where_it_is_right() -> None:
    model, loss_fn, batches = CASES[1].make()
    found = chosen_for(Objective(model, loss_fn, batches))
    assert isinstance(found, GradientCovariance)
    expected = oracle.covariance(oracle.per_sample(model, loss_fn, batches))
    assert_close(matrix_of(found), expected, absolute=1e-13)


def with_two_calls(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    """A loss that `GradientCovariance` refuses: each call has its own input."""
    x = batch["x"]
    return (model(x) * model(x.flip(1))).sum(), len(x)


def test_a_loss_of_two_model_calls_goes_through_the_gradients() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double(), torch.randn(9, 3, dtype=torch.float64)
    found = chosen_for(Objective(model, batch_loss=with_two_calls, data=[{"x": x[:4]}, {"x": x[4:]}]))
    assert isinstance(found, SampledCovariance)
    rows = []
    for one in x:
        loss, _ = with_two_calls(model, {"x": one[None]})
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    assert_close(matrix_of(found), np.cov(torch.stack(rows).numpy().T), absolute=1e-14)
    assert (found.num_parameters, found.dtype, found.method) == (8, torch.float64, "per_sample_gradients")


def test_a_fast_way_that_disagrees_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    right = GradientCovariance.hvp
    monkeypatch.setattr(GradientCovariance, "hvp", lambda self, vector: 1.05 * right(self, vector))
    model, loss_fn, batches = CASES[1].make()
    assert isinstance(chosen_for(Objective(model, loss_fn, batches)), SampledCovariance)
    monkeypatch.setattr(GradientCovariance, "hvp", lambda self, vector: 1.005 * right(self, vector))
    assert isinstance(chosen_for(Objective(model, loss_fn, batches)), GradientCovariance)


def test_memory_that_runs_out_is_not_taken_for_a_loss_without_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, vector: Tensor) -> Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(GradientCovariance, "hvp", fail)
    with pytest.raises(torch.OutOfMemoryError):
        chosen_for(Objective(*CASES[1].make()))
