"""The Fisher-Rao norm against gradients of samples one by one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import analysis
from analysis import EmpiricalFisher, GaussNewton, Objective, fisher_rao_norm
from analysis.evidence import Status, from_measurement
from analysis.store import read
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


@pytest.mark.parametrize("case", CASES[1:4], ids=IDS[1:4])
def test_of_the_model_it_is_the_mean_over_samples_and_classes(case: Case, tmp_path: Path) -> None:
    """Fails if the true targets count: one gradient for each sample and class, weighted by its probability."""
    model, loss_fn, batches = case.make()
    found = fisher_rao_norm(Objective(model, loss_fn, batches), "model")
    model.eval()
    parameters, weights = list(model.parameters()), [parameter.detach() for parameter in model.parameters()]
    squares = []
    for x in torch.cat([x for x, _ in batches]):
        output = model(x[None])
        square = 0.0
        for label, share in enumerate(output.softmax(1)[0].tolist()):
            gradients = torch.autograd.grad(
                loss_fn(output, torch.tensor([label])), parameters, retain_graph=True, materialize_grads=True
            )
            pairs = zip(gradients, weights, strict=True)
            square += share * sum(float((gradient * weight).sum()) for gradient, weight in pairs) ** 2
        squares.append(square)
    expected = torch.tensor(squares, dtype=torch.float64)
    assert_close(found.along.square(), expected, relative=1e-11)
    assert found.value == pytest.approx(float(expected.mean()), rel=1e-11)
    assert found.norm == pytest.approx(math.sqrt(found.value), rel=1e-14)
    assert found.standard_error == pytest.approx(float(expected.std()) / math.sqrt(12), rel=1e-10)
    assert (found.kind, found.num_samples, found.status) == ("model", 12, Status.COMPLETE)
    assert abs(found.value / fisher_rao_norm(Objective(model, loss_fn, batches)).value - 1) > 0.01
    found.save(tmp_path / "run.h5", "model")
    assert analysis.load(tmp_path / "run.h5", "sharpness/model") == found


@pytest.mark.parametrize("index", [0, 1])
def test_it_is_the_form_of_gauss_newton(index: int) -> None:
    objective = Objective(*CASES[index].make())
    weights = objective.weights()
    form = float(weights @ GaussNewton(objective).hvp(weights))
    assert fisher_rao_norm(objective, "model").value == pytest.approx(form, rel=1e-11)


def test_forms_of_a_mean_over_tokens_have_the_mean_of_the_product() -> None:
    """Fails if the sum is over N where the mean divides by valid targets."""
    model, loss_fn, batches = CASES[1].make()
    for _, y in batches:
        y[::2] = -100
    operator = GaussNewton(Objective(model, loss_fn, batches))
    v = torch.linspace(-1, 1, operator.num_parameters, dtype=torch.float64)
    forms = operator.forms(v)
    assert float(forms.mean()) == pytest.approx(float(v @ operator.hvp(v)), rel=1e-11)
    assert forms[0] == 0.0
    assert float(forms[1]) > 0


def test_files_without_a_kind_are_empirical(tmp_path: Path) -> None:
    found = fisher_rao_norm(Objective(*CASES[1].make()))
    found.save(tmp_path / "run.h5", "fisher")
    stored = read(tmp_path / "run.h5", "sharpness/fisher")
    del stored.variables["kind"]
    assert from_measurement(stored) == found


@pytest.mark.parametrize("kind", ["true", math.nan])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"kind must be one of empirical, model, got {kind!r}"):
        fisher_rao_norm(Objective(*CASES[0].make()), kind)


def test_a_loss_that_is_not_convex_in_the_output_has_a_form_and_no_norm() -> None:
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 3.0)
    found = fisher_rao_norm(Objective(model, lambda output, _: -output.square().mean(), (x, x)), "model")
    assert found.value == pytest.approx(-2 * 9 * 2.5, rel=1e-12)  # second derivative -2, J w = 3 x, mean x^2 = 2.5
    assert math.isnan(found.norm)
    assert found.along.tolist() == [0.0, 0.0]
