"""What an objective is given: losses and batches of every form, and misuse told in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from analysis import GaussNewton, Objective
from tests.cases import CASES, Attention
from tests.compare import assert_close


def test_valid_targets_are_what_counts() -> None:
    """Fails if batches are weighted by their length where `ignore_index` hides some targets."""
    torch.manual_seed(5)
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,))
    y[:9] = -100
    y[15:] = -100
    model = nn.Linear(4, 3).double()
    for loss_fn in (F.cross_entropy, nn.CrossEntropyLoss(label_smoothing=0.1), nn.CrossEntropyLoss(torch.rand(3))):
        whole = loss_fn.double() if isinstance(loss_fn, nn.Module) else loss_fn
        expected = whole(model(x), y).detach()
        cut = [(x[:10], y[:10]), (x[10:15], y[10:15]), (x[15:], y[15:])]  # 1, 5 and 0 valid targets
        objective = Objective(model, whole, cut)
        assert_close(objective.loss(), expected, relative=1e-12)
        assert bool(torch.isfinite(objective.hvp(torch.ones(15))).all())


def test_batch_loss_takes_any_batch() -> None:
    torch.manual_seed(6)
    model = Attention()
    tokens, labels = torch.randint(5, (6, 3)), torch.randint(3, (6,))
    batches = [{"tokens": tokens[:2], "labels": labels[:2]}, {"tokens": tokens[2:], "labels": labels[2:]}]

    def batch_loss(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        assert model.head.out_features == 3  # attributes of the model are there
        return F.cross_entropy(model(batch["tokens"]), batch["labels"], reduction="sum"), len(batch["labels"])

    plain = Objective(model, F.cross_entropy, [(tokens, labels)])
    objective = Objective(model, batch_loss=batch_loss, data=batches)
    assert_close(objective.gradient(), plain.gradient(), absolute=1e-6)
    named = Objective(model, F.cross_entropy, [({"tokens": tokens}, labels)])
    assert named.loss() == plain.loss()


def test_sum_reduction_is_divided_by_the_count() -> None:
    model, _, batches = CASES[1].make()
    mean = Objective(model, nn.CrossEntropyLoss(), batches).loss()
    assert_close(Objective(model, nn.CrossEntropyLoss(reduction="sum"), batches).loss(), mean, relative=1e-12)

    def squared(output: Tensor, target: Tensor) -> Tensor:
        return output.square().sum()

    total = sum(float(squared(model.eval()(x), None).detach()) for x, _ in batches)  # type: ignore[arg-type]
    assert_close(Objective(model, squared, batches, reduction="sum").loss(), total / 12, relative=1e-12)


X, Y = torch.randn(4, 2), torch.zeros(4, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Objective(lambda x: x, F.mse_loss, [(X, Y)]), "model must be a torch.nn.Module, got function"),
        (lambda: Objective(nn.Linear(2, 1), None, [(X, Y)]), "exactly one of them"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss, [(X, Y)], batch_loss=max), "exactly one of them"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss), "data must be batches .* got None"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss, []), "at least one batch, got none"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss, iter([(X, Y)])), "readable more than once, got an iterator"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss, TensorDataset(X, Y)), "got TensorDataset; give a DataLoader"),
        (lambda: Objective(nn.ReLU(), F.mse_loss, [(X, Y)]), "model must have parameters, got a ReLU"),
        (lambda: Objective(nn.Linear(2, 1).requires_grad_(False), F.mse_loss, [(X, Y)]), "every parameter is frozen"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss, [(X, Y)], ["wieght"]), "'wieght' matches no .*: weight"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss, [(X, Y)], lambda n, p: False), "chose none of 2 parameters"),
        (lambda: Objective(nn.Linear(2, 1), nn.MSELoss(reduction="none"), [(X, Y)]), "reduction must be .* got 'none'"),
        (
            lambda: Objective(nn.BatchNorm1d(2, track_running_stats=False), F.mse_loss, [(X, X)]),
            r"without running statistics .* '' \(BatchNorm1d\)",
        ),
        (
            lambda: Objective(nn.Linear(2, 1), F.mse_loss, [(X, Y, Y)]).loss(),
            r"must be \(input, target\), got tuple of 3",
        ),
        (lambda: Objective(nn.Linear(2, 1), lambda o, t: o, [(X, Y)]).loss(), r"one number per batch.*shape \(4, 1\)"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss, [(X, Y)]).hvp(torch.ones(4)), r"shape \(3,\).*got \(4,\)"),
        (lambda: Objective(nn.Linear(2, 1), F.mse_loss, [(X, Y)]).loss(torch.ones(2, 1)), r"at must be a flat vector"),
        (
            lambda: Objective(nn.Linear(2, 3), F.cross_entropy, [(X, torch.full((4,), -100))]).loss(),
            "total count of 0; is every target ignored",
        ),
    ],
)
def test_misuse_is_told_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_loss_that_looks_at_weights_or_methods_sees_those_it_is_evaluated_on() -> None:
    """Fails if only a call of the model does: such a loss would be the same at every point, without a word."""

    class Encoder(nn.Linear):
        def encode(self, x: Tensor) -> Tensor:
            return x @ self.weight.T

    model = Encoder(3, 1)
    kept = model.weight.detach().clone()
    objective = Objective(
        model, batch_loss=lambda m, x: (m.encode(x).sum() + m.weight.square().sum(), 1), data=torch.ones(4, 3)
    )
    at = torch.tensor([1.0, 2.0, 3.0, 0.0])
    assert objective.loss(at) == 4 * 6 + 14
    assert objective.gradient(at).tolist() == [4 + 2, 4 + 4, 4 + 6, 0]
    assert objective.hvp(torch.ones(4), at).tolist() == [2, 2, 2, 0]
    assert torch.equal(model.weight, kept)


def test_a_module_registered_twice_is_as_found() -> None:
    """Fails with torch.func.functional_call, which puts back under the second name what it put in place itself."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(2, 2)
            self.again = self.first

        def forward(self, x: Tensor) -> Tensor:
            return self.again(torch.tanh(self.first(x)))

    model = Twice()
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    objective = Objective(model, nn.MSELoss(), (torch.ones(3, 2), torch.zeros(3, 2)))
    at = torch.zeros(6)
    assert objective.loss(at) == 0.0
    objective.gradient(at)
    objective.hvp(torch.ones(6), at)
    GaussNewton(objective).hvp(torch.ones(6))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    assert isinstance(model.first.weight, nn.Parameter)
