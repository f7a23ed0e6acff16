"""Loss and accuracy against float64 by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gcsam.training.evaluation import evaluate


def test_both_are_means_over_samples_whatever_the_batches() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    x, y = torch.randn(11, 4), torch.randint(3, (11,))
    scores = model(x).double().detach()
    chosen = scores.gather(1, y[:, None])[:, 0]
    loss = float((scores.exp().sum(1).log() - chosen).mean())
    accuracy = sum(int(row.argmax()) == int(label) for row, label in zip(scores, y, strict=True)) / 11
    for cuts in ([11], [5, 6], [1] * 11):
        found = evaluate(model, list(zip(x.split(cuts), y.split(cuts), strict=True)))
        assert found == (pytest.approx(loss, rel=1e-6), accuracy)


def test_it_is_done_in_eval_mode_and_modes_are_put_back() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(4), nn.Linear(4, 3))
    model[1].eval()
    before = [module.training for module in model.modules()]
    mean = model[1].running_mean.clone()
    batches = [(torch.randn(6, 4), torch.zeros(6, dtype=torch.int64))]
    assert evaluate(model, batches) == evaluate(model, batches)  # no dropout
    assert [module.training for module in model.modules()] == before
    assert torch.equal(model[1].running_mean, mean)


def test_modes_are_put_back_when_it_raises() -> None:
    model = nn.Linear(4, 3)
    with pytest.raises(RuntimeError):
        evaluate(model, [(torch.randn(2, 5), torch.zeros(2, dtype=torch.int64))])
    assert model.training
