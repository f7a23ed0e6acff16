"""Statistics of the data in the place of the running ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis import Objective
from tests.compare import assert_close

EPS = 2.2e-16


def network() -> nn.Module:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double()
    model[1].running_mean.fill_(5.0)
    return model


X, Y = torch.randn(12, 3, dtype=torch.float64), torch.randint(2, (12,))


def test_on_one_batch_the_statistics_are_its_own() -> None:
    """The loss is then that of train mode, but for the variance, which running statistics take as unbiased."""
    model = network()
    found = Objective(model, F.cross_entropy, (X, Y), batchnorm="recalibrate").loss()
    h = model[0](X)
    h = (h - h.mean(0)) / torch.sqrt(h.var(0) + model[1].eps)
    assert_close(found, F.cross_entropy(model[3](torch.tanh(h)), Y).detach(), relative=20 * EPS)
    assert Objective(model, F.cross_entropy, (X, Y)).loss() != pytest.approx(found, rel=1e-3)


def test_batches_weigh_what_they_hold_and_the_model_keeps_its_own() -> None:
    """A mean over batches of 2 and 10 that counts both alike would be off."""
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batches = list(zip(X.split([2, 10]), Y.split([2, 10]), strict=True))
    objective = Objective(model, F.cross_entropy, batches, batchnorm="recalibrate")
    with objective.measuring(with_grad=False):
        state = objective.state()
    h = model[0](X).detach()
    assert_close(state["1.running_mean"], h.mean(0), relative=20 * EPS)
    mean_variance = (2 * h[:2].var(0) + 10 * h[2:].var(0)) / 12
    assert_close(state["1.running_var"], mean_variance, relative=20 * EPS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model[1].training
    assert model[1].momentum == 0.1


def test_anew_at_every_point_and_constant_in_derivatives() -> None:
    model = network()
    objective = Objective(model, F.cross_entropy, (X, Y), batchnorm="recalibrate")
    moved = objective.weights() + 0.5
    with objective.measuring(with_grad=False):
        fixed = {name: value for name, value in objective.state(moved).items() if "running" in name}
    twin = network()
    nn.utils.vector_to_parameters(moved, twin.parameters())
    twin.load_state_dict(fixed, strict=False)
    same = Objective(twin, F.cross_entropy, (X, Y))
    v = torch.ones(objective.num_parameters, dtype=torch.float64)
    assert_close(objective.gradient(moved), same.gradient(), relative=50 * EPS)
    assert_close(objective.hvp(v, moved), same.hvp(v), relative=50 * EPS)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="batchnorm must be one of eval, recalibrate, got 'train'"):
        Objective(network(), F.cross_entropy, (X, Y), batchnorm="train")
