"""Normalized logits against explicit derivatives, a scaled last layer, and samples without spread, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis import Objective, fisher_rao_norm, hessian_trace, normalized_logits, sharpness
from tests.cases import CASES
from tests.compare import assert_close


def explicit(weights: Tensor, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of normalized logits, sample by sample, from the weights of an MLP."""
    a, b, c, d = weights.split([parameter.numel() for parameter in model.parameters()])
    losses = []
    for sample, label in zip(x, y, strict=True):
        f = c.view(3, 6) @ torch.tanh(a.view(6, 4) @ sample + b) + d
        f = f / f.std(unbiased=False)
        losses.append(f.logsumexp(0) - f[label])
    return torch.stack(losses).mean()


def test_loss_gradient_and_hessian_are_those_of_the_formula() -> None:
    model, _, batches = CASES[1].make()
    objective = Objective(model, normalized_logits(nn.CrossEntropyLoss()), batches)
    x, y = (torch.cat(list(column)) for column in zip(*batches, strict=True))
    weights = objective.weights()
    assert objective.loss() == pytest.approx(float(explicit(weights, model, x, y)), rel=1e-14)
    gradient = torch.autograd.functional.jacobian(lambda w: explicit(w, model, x, y), weights)
    assert_close(objective.gradient(), gradient, relative=1e-12)
    hessian = torch.autograd.functional.hessian(lambda w: explicit(w, model, x, y), weights)
    v = torch.linspace(-1, 1, len(weights), dtype=torch.float64)
    assert_close(objective.hvp(v), hessian @ v, relative=1e-11)
    assert objective.method == "double_backward"


def test_a_last_layer_ten_times_as_large_changes_nothing_that_is_relative() -> None:
    """Fails without the normalization: then both change by more than a tenth, as the last lines see."""
    found: dict[bool, list[tuple[float, float, float]]] = {}
    for is_normalized in (True, False):
        model, _, batches = CASES[1].make()
        loss_fn = nn.CrossEntropyLoss()
        objective = Objective(model, normalized_logits(loss_fn) if is_normalized else loss_fn, batches)
        found[is_normalized] = []
        for factor in (1.0, 10.0):
            with torch.no_grad():
                model[3].weight *= factor
                model[3].bias *= factor
            worst, average = (sharpness(objective, 0.1, kind, True, samples=10).value for kind in ("worst", "average"))
            found[is_normalized].append((objective.loss(), worst, average))
    before, after = found[True]
    assert after == pytest.approx(before, rel=1e-6)  # rounding, along at most 20 steps of an ascent
    assert all(abs(b / a - 1) > 0.1 for a, b in zip(*found[False], strict=True))


def test_the_scale_of_the_logits_is_a_flat_direction() -> None:
    """Euler: a function of degree 0 has no slope along its argument. Fails if logits are divided by a constant."""
    model, _, batches = CASES[0].make()
    labels = [(x, torch.arange(len(x)) % 3) for x, _ in batches]
    objective = Objective(model, normalized_logits(nn.CrossEntropyLoss()), labels)
    assert abs(float(objective.gradient() @ objective.weights())) < 1e-15
    assert fisher_rao_norm(objective).value < 1e-30


@pytest.mark.parametrize("cuts", [(12,), (5, 7), (1, 4, 7)])
def test_ignored_targets_and_class_weights_count_as_without_it(cuts: tuple[int, ...]) -> None:
    """Fails if the wrapped loss is taken for any loss, whose mean divides by the length of the batch."""
    model, _, batches = CASES[1].make()
    x, y = (torch.cat(list(column)) for column in zip(*batches, strict=True))
    y[::3] = -100
    loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0, 0.5]).double(), label_smoothing=0.1)
    objective = Objective(
        model, normalized_logits(loss_fn), list(zip(x.split(list(cuts)), y.split(list(cuts)), strict=True))
    )
    model.eval()
    f = model(x).detach()
    assert objective.loss() == pytest.approx(float(loss_fn(f / f.std(1, keepdim=True, correction=0), y)), rel=1e-13)


@pytest.mark.parametrize("loss_fn", [F.cross_entropy, nn.MSELoss(), nn.CrossEntropyLoss(reduction="sum")])
def test_losses_of_samples_add_up(loss_fn: Any) -> None:
    """Fails if the per-sample losses are those of the plain logits."""
    model, _, batches = CASES[1].make()
    if isinstance(loss_fn, nn.MSELoss):
        batches = [(x, torch.randn(len(x), 3, generator=torch.Generator().manual_seed(0)).double()) for x, _ in batches]
    objective = Objective(model, normalized_logits(loss_fn), batches)
    assert objective.sample_losses is not None
    model.eval()
    sums = torch.cat([objective.sample_losses(model(x).detach(), y)[0] for x, y in batches])
    assert float(sums.sum()) / 12 == pytest.approx(objective.loss(), rel=1e-13)
    x, y = batches[0]
    f = model(x).detach()
    assert_close(sums[:1], [float(loss_fn((f / f.std(1, keepdim=True, correction=0))[:1], y[:1]))], relative=1e-13)


def test_equal_logits_are_left_as_they_are() -> None:
    """At a last layer of zeros every spread is 0. Fails if it is divided by, or derivatives meet 0 times inf."""
    model, loss_fn, batches = CASES[1].make()
    with torch.no_grad():
        model[3].weight.zero_()
        model[3].bias.zero_()
    objective, plain = Objective(model, normalized_logits(loss_fn), batches), Objective(model, loss_fn, batches)
    v = torch.linspace(-1, 1, objective.num_parameters, dtype=torch.float64)
    assert objective.loss() == pytest.approx(plain.loss(), rel=1e-15)
    assert torch.equal(objective.gradient(), plain.gradient())
    assert_close(objective.hvp(v), plain.hvp(v), relative=1e-14)


def test_an_objective_takes_another_loss_and_the_first_stays() -> None:
    """Fails if kept graphs or the check of repeatability go over from one loss to the other."""
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches, ["3.*"])
    v = torch.ones(objective.num_parameters, dtype=torch.float64)
    before = (objective.loss(), objective.hvp(v))
    other = objective.with_loss(normalized_logits(loss_fn))
    same = Objective(model, normalized_logits(loss_fn), batches, ["3.*"])
    assert other.names == objective.names == ("3.weight", "3.bias")
    assert other.loss() == same.loss() != before[0]
    assert torch.equal(other.hvp(v), same.hvp(v))
    assert hessian_trace(other) == hessian_trace(same)
    assert fisher_rao_norm(other) == fisher_rao_norm(same)
    assert objective.loss() == before[0]
    assert torch.equal(objective.hvp(v), before[1])
    summed = objective.with_loss(lambda output, target: F.cross_entropy(output, target, reduction="sum"), "sum")
    assert summed.loss() == pytest.approx(before[0], rel=1e-14)


@pytest.mark.parametrize(
    ("shape", "text"), [((4,), r"shape \(4,\)"), ((4, 1), r"shape \(4, 1\)"), (None, "dict")], ids=str
)
def test_outputs_without_classes_are_refused(shape: Any, text: str) -> None:
    output = {"logits": torch.ones(2)} if shape is None else torch.ones(shape)
    message = rf"normalized logits need a tensor \[samples, classes, ...\] of at least 2 classes, got {text}"
    with pytest.raises(ValueError, match=message):
        normalized_logits(nn.MSELoss())(output, torch.ones(4))  # type: ignore[arg-type]
