"""Loss and norms against explicit autograd, and through the file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import analysis
from analysis import Objective, magnitudes
from analysis.evidence import Status
from tests.cases import CASES, IDS, Case


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_norms_are_those_of_plain_autograd(case: Case) -> None:
    model, loss_fn, batches = case.make()
    found = magnitudes(Objective(model, loss_fn, batches))
    model.eval()
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    loss = loss_fn(model(x), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    size = math.sqrt(sum(float(each.square().sum()) for each in gradients if each is not None))
    weights = math.sqrt(sum(float(each.detach().square().sum()) for each in model.parameters()))
    # rounding of a sum over 12 samples in another order
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-13)
    assert found.gradient_norm == pytest.approx(size, rel=1e-12)
    assert found.weight_norm == pytest.approx(weights, rel=1e-14)
    assert (found.num_gradients, found.num_losses, found.status) == (1, 1, Status.COMPLETE)


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    found = magnitudes(Objective(*CASES[1].make(torch.float32)))
    found.save(tmp_path / "run.h5", "magnitudes")
    assert analysis.load(tmp_path / "run.h5", "sharpness/magnitudes") == found


def test_what_is_not_finite_is_told() -> None:
    model = nn.Linear(2, 1)
    nn.init.constant_(model.weight, math.inf)
    found = magnitudes(Objective(model, F.mse_loss, (torch.ones(3, 2), torch.ones(3, 1))))
    assert found.status is Status.NOT_FINITE
    assert found.loss == math.inf
