"""The Fisher-Rao norm against gradients of samples one by one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import analysis
from analysis import EmpiricalFisher, Objective, fisher_rao_norm
from analysis.evidence import Status
from tests.analysis.noise import oracle
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close


@pytest.mark.parametrize("case", CASES[:3], ids=IDS[:3])
def test_it_is_the_mean_square_of_products_with_the_weights(case: Case, tmp_path: Path) -> None:
    model, loss_fn, batches = case.make()
    found = fisher_rao_norm(Objective(model, loss_fn, batches))
    rows = torch.cat([each.flatten(1) for each in oracle.per_sample(model, loss_fn, batches).values()], 1)
    along = rows @ torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert_close(found.along, along, relative=1e-11)
    assert found.value == pytest.approx(float(along.square().mean()), rel=1e-11)
    assert found.norm == pytest.approx(math.sqrt(found.value), rel=1e-14)
    assert found.standard_error == pytest.approx(float(along.square().std()) / math.sqrt(12), rel=1e-10)
    assert (found.num_samples, found.status) == (12, Status.COMPLETE)
    found.save(tmp_path / "run.h5", "fisher")
    assert analysis.load(tmp_path / "run.h5", "sharpness/fisher") == found


def test_it_is_the_form_of_the_empirical_fisher() -> None:
    objective = Objective(*CASES[1].make())
    weights = objective.weights()
    form = float(weights @ EmpiricalFisher(objective).hvp(weights))
    assert fisher_rao_norm(objective).value == pytest.approx(form, rel=1e-11)


def test_a_gradient_that_is_not_finite_is_told() -> None:
    x = torch.tensor([[1.0], [math.inf], [1.0]])
    found = fisher_rao_norm(Objective(nn.Linear(1, 1, bias=False), lambda output, _: output.mean(), (x, x)))
    assert found.status is Status.NOT_FINITE
    assert not math.isfinite(found.norm)
