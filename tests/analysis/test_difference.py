"""Products by central differences: true errors in easy and in hard cases, and the error that is reported."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis import Objective, hessian_eigenvalues
from analysis.difference import LADDER, CentralDifference
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got.double() - expected).norm() / expected.norm())


def rademacher(size: int) -> Tensor:
    return 2.0 * torch.randint(2, (size,), generator=torch.Generator().manual_seed(3)) - 1


def near_convergence() -> tuple[nn.Module, Any]:
    """52,490 weights, trained until the gradient is small and the curvature along random vectors far below 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 10))
        x, y = torch.randn(64, 50), torch.randint(10, (64,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, (x, y)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("kind", ["unit", "signs"])
def test_small_networks_in_float32(case: Case, kind: str) -> None:
    """Against float64 double backward. A step that is not scaled by the norm of the vector misses for signs."""
    model, loss_fn, batches = case.make(torch.float32)
    objective = Objective(model, loss_fn, batches, hvp_method="finite_difference")
    vector = rademacher(objective.num_parameters)
    vector = vector / vector.norm() if kind == "unit" else vector
    expected = Objective(model, loss_fn, batches, dtype=torch.float64).hvp(vector)
    got = objective.hvp(vector)
    assert objective.method == "finite_difference"
    error = float((got.double() - expected).norm()) / float(vector.norm())
    assert error <= 0.01 * float(expected.norm()) / float(vector.norm())
    assert error <= 3 * objective.product_error + 1e-6  # an estimate may be short, not by an order


@pytest.mark.parametrize("kind", ["unit", "signs", "flat"])
def test_near_convergence_the_error_is_small_or_reported(kind: str) -> None:
    """Where an absolute step of 1e-3 errs by half and more."""
    model, data = near_convergence()
    exact = Objective(model, F.cross_entropy, data, dtype=torch.float64)
    vector = rademacher(exact.num_parameters)
    if kind == "unit":
        vector = vector / vector.norm()
    if kind == "flat":  # little of the curvature that there is
        vector = vector - 30 * exact.hvp(vector).float()
    expected = exact.hvp(vector)
    objective = Objective(model, F.cross_entropy, data, hvp_method="finite_difference")
    got = objective.hvp(vector)
    reported = objective.product_error * float(vector.norm()) / float(expected.norm())
    assert relative(got, expected) < 0.01 or reported > 0.01
    assert relative(got, expected) < 3 * reported


def test_float64_reaches_what_central_differences_can() -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches, hvp_method="finite_difference")
    vector = rademacher(objective.num_parameters).double()
    assert relative(objective.hvp(vector), Objective(model, loss_fn, batches).hvp(vector)) < 1e-8


def cubic(matrix: Tensor, third: float) -> Any:
    """Return the gradient of w^T A w / 2 + third * sum w^3 / 6, which has Hessian A + third * diag(w)."""
    return lambda w: matrix @ w + third * w.square() / 2


def test_a_quadratic_is_exact_and_a_cubic_too() -> None:
    """A central difference of a quadratic gradient has no truncation: what is left is rounding."""
    matrix = torch.diag(torch.arange(1.0, 6.0, dtype=torch.float64))
    w, v = torch.linspace(1, 2, 5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    found = CentralDifference(cubic(matrix, 2.0), w).product(v)
    assert_close(found, matrix @ v + 2.0 * w * v, relative=1e-9)


def test_the_step_follows_the_function() -> None:
    """Truncation alone wants the smallest step, rounding alone the largest. Fails if the ladder is not used."""
    w, v = torch.ones(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    wavy = CentralDifference(lambda w: torch.sin(1e5 * w) / 1e5, w)
    wavy.product(v)
    noise = torch.Generator().manual_seed(0)
    noisy = CentralDifference(lambda w: w + 1e-9 * torch.randn(4, dtype=torch.float64, generator=noise), w)
    noisy.product(v)
    assert (wavy.rung, noisy.rung) == (len(LADDER) - 2, 0)


def test_scale_zero_and_cost() -> None:
    calls = []

    def gradient(w: Tensor) -> Tensor:
        calls.append(w)
        return 3 * w

    difference = CentralDifference(gradient, torch.zeros(3, dtype=torch.float64))
    v = torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64)
    assert torch.equal(difference.product(torch.zeros(3, dtype=torch.float64)), torch.zeros(3, dtype=torch.float64))
    assert not calls
    first = difference.product(v)
    assert len(calls) == 2 * len(LADDER)
    second = difference.product(2 * v)
    assert len(calls) == 2 * len(LADDER) + 4
    assert_close(first, 3 * v, relative=1e-10)
    assert_close(second, 2 * first, relative=1e-10)


def test_a_long_vector_after_the_first_takes_the_same_step() -> None:
    """Fails if the step of a later product is scaled with its vector."""
    w, v = torch.linspace(1, 2, 6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    difference = CentralDifference(torch.sin, w)
    difference.product(v)
    assert_close(difference.product(1e4 * v), 1e4 * w.cos(), relative=1e-8)


def test_the_step_is_chosen_anew_where_the_function_bends_more() -> None:
    """One coordinate in six oscillates: a step that suits the others is far too long for it."""
    w = torch.linspace(1, 2, 6, dtype=torch.float64)
    rates = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1e6], dtype=torch.float64)
    difference = CentralDifference(lambda w: torch.sin(rates * w) / rates, w)
    easy, hard = torch.eye(6, dtype=torch.float64)[[0, 5]]
    assert_close(difference.product(easy)[0], w[0].cos(), relative=1e-8)
    rung = difference.rung
    assert_close(difference.product(hard)[5], (1e6 * w[5]).cos(), absolute=3 * difference.error)
    assert difference.rung > rung
    assert difference.error < 0.1


def test_residuals_hold_the_error_of_the_products() -> None:
    """Lanczos alone would call these pairs exact to 1e-6; the products are not."""
    model, data = near_convergence()
    objective = Objective(model, F.cross_entropy, data, hvp_method="finite_difference")
    found = hessian_eigenvalues(objective, 1, tol=1e-2)
    assert found.method == "finite_difference"
    assert float(found.residuals[0]) >= objective.product_error > 0
    v = found.vectors[0].double()
    exact = Objective(model, F.cross_entropy, data, dtype=torch.float64).hvp(v)
    assert float((exact - float(found.values[0]) * v).norm()) <= 3 * float(found.residuals[0])


def test_nan_stays_nan() -> None:
    difference = CentralDifference(lambda w: w * torch.nan, torch.ones(3))
    assert bool(difference.product(torch.ones(3)).isnan().all())


class OnceOnly(torch.autograd.Function):
    """A sine whose backward cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0].cos()


class Sine(nn.Module):
    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.twice = twice

    def forward(self, x: Tensor) -> Tensor:
        return x.sin() if self.twice else OnceOnly.apply(x)


def network(middle: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(nn.Linear(3, 12), middle, nn.Linear(12, 2)).double()


X, Y = torch.linspace(-1, 1, 30, dtype=torch.float64).view(10, 3), torch.arange(10) % 2


@pytest.mark.parametrize("middle", [Sine(twice=False), nn.Hardsigmoid()], ids=["once differentiable", "hard sigmoid"])
def test_an_operation_without_double_backward_falls_back_unasked(middle: nn.Module) -> None:
    objective = Objective(network(middle), F.cross_entropy, (X, Y))
    assert objective.method == "double_backward"
    vector = rademacher(objective.num_parameters).double()
    found = objective.hvp(vector)
    assert objective.method == "finite_difference"
    assert objective.kept_bytes == 0
    h = 1e-5
    w = objective.weights()
    slope = (objective.gradient(w + h * vector) - objective.gradient(w - h * vector)) / (2 * h)
    assert_close(found, slope, relative=1e-5)  # the oracle's own truncation, h^2 |v|^2 = 1e-8, with third derivatives
    asked = Objective(network(middle), F.cross_entropy, (X, Y), hvp_method="double_backward")
    with pytest.raises(RuntimeError):
        asked.hvp(vector)


def test_the_fallback_equals_what_can_be_differentiated() -> None:
    once, twice = (Objective(network(Sine(twice=t)), F.cross_entropy, (X, Y)) for t in (False, True))
    vector = rademacher(once.num_parameters).double()
    assert relative(once.hvp(vector), twice.hvp(vector)) < 1e-8
    moved = once.weights() + 0.1
    assert relative(once.hvp(vector, moved), twice.hvp(vector, moved)) < 1e-8  # fails if the point is not followed


def test_another_error_is_not_taken_for_a_missing_derivative() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        Objective(network(Broken()), F.cross_entropy, (X, Y)).hvp(torch.ones(74))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(
        ValueError, match="hvp_method must be one of auto, double_backward, finite_difference, got 'fd'"
    ):
        Objective(network(Sine(twice=True)), F.cross_entropy, (X, Y), hvp_method="fd")
