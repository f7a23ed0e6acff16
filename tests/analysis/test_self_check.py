"""The self-check passes what is right, in both precisions, and fails what is wrong in each of the ways it looks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis import Objective, load
from tests.cases import CASES, IDS, Case


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["auto", "finite_difference"])
def test_networks_pass(case: Case, dtype: torch.dtype, method: str) -> None:
    model, loss_fn, batches = case.make(dtype)
    for seed in range(5):
        found = Objective(model, loss_fn, batches, hvp_method=method).self_check(seed=seed)
        assert found.passed, found.report
        assert found.difference_allowed < 0.05  # an allowance for everything would prove nothing
        assert found.report.count("passed") == 4


def test_a_loss_without_curvature_passes() -> None:
    def linear(output: Tensor, target: Tensor) -> Tensor:
        return (output * target).mean()

    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    found = Objective(nn.Linear(3, 2), linear, (x, torch.ones(8, 2))).self_check()
    assert found.passed, found.report


class OffByOnePercent(Objective):
    def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
        product = super().hvp(vector, at)
        product[:10] *= 1.01
        return product


class Asymmetric(Objective):
    def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
        return super().hvp(vector, at) + 0.01 * (vector.roll(1) - vector.roll(-1))


class Random(Objective):
    def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
        product = super().hvp(vector, at)
        return product * (1 + 1e-3 * torch.randn(len(product)).to(product))


class Writing(Objective):
    what = "weight"

    def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
        product = super().hvp(vector, at)
        with torch.no_grad():
            if self.what == "weight":
                next(self.model.parameters()).view(-1)[0] *= 1 + 1e-12
            elif self.what == "buffer":
                self.model[1].num_batches_tracked += 1
            elif self.what == "gradient":
                self.model[0].weight.grad = torch.zeros_like(self.model[0].weight)
            else:
                self.model.eval()
        return product


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (OffByOnePercent, "FAILED  difference of gradients"),
        (Asymmetric, "FAILED  symmetry"),
        (Random, "FAILED  repeatability"),
    ],
)
def test_wrong_products_fail(kind: type[Objective], message: str, dtype: torch.dtype) -> None:
    model, loss_fn, batches = CASES[1].make(dtype)
    found = kind(model, loss_fn, batches).self_check()
    assert not found.passed
    assert message in found.report


@pytest.mark.parametrize("what", ["weight", "buffer", "gradient", "mode"])
def test_a_changed_model_fails(what: str) -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Writing(model, loss_fn, batches)
    objective.what = what
    found = objective.self_check()
    assert not found.passed
    assert "FAILED  model is not as it was" in found.report


class HalfDetached(nn.Module):
    """Its gradient is right, its second derivative lacks a term: autograd cannot know."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.x = x.detach()
            return x.square()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * 2 * ctx.x

    def forward(self, x: Tensor) -> Tensor:
        return self.Square.apply(x)


def test_a_wrong_second_derivative_of_the_user_is_found() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), HalfDetached(), nn.Linear(5, 2))
    found = Objective(model, F.cross_entropy, (torch.randn(9, 3), torch.arange(9) % 2)).self_check()
    assert not found.passed
    assert "try hvp_method='finite_difference'" in found.report


def test_nan_passes_nothing() -> None:
    class Nan(Objective):
        def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
            return torch.full_like(vector, torch.nan)

    model, loss_fn, batches = CASES[1].make()
    found = Nan(model, loss_fn, batches).self_check()
    assert found.report.count("FAILED") == 3


def test_cost_and_file(tmp_path: Any) -> None:
    class Counting(Objective):
        calls = (0, 0)

        def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
            self.calls = (self.calls[0] + 1, self.calls[1])
            return super().hvp(vector, at)

        def gradient(self, at: Tensor | None = None) -> Tensor:
            self.calls = (self.calls[0], self.calls[1] + 1)
            return super().gradient(at)

    model, loss_fn, batches = CASES[1].make()
    objective = Counting(model, loss_fn, batches)
    found = objective.self_check(seed=2)
    assert objective.calls == (found.num_hvps, found.num_gradients)
    found.save(tmp_path / "r.h5", "check")
    assert load(tmp_path / "r.h5") == found
    assert found != objective.self_check(seed=3)
