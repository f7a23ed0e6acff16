"""One contract for every operator: symmetric, the right matrix, however the data are cut, and nothing left behind.

The oracle forms each matrix densely in float64 from gradients and Jacobians of single samples, by plain autograd.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis import (
    Centralized,
    EmpiricalFisher,
    GaussNewton,
    GradientCovariance,
    Objective,
    Preconditioned,
    RandomlyProjected,
    gradient_noise,
    hessian_eigenvalues,
)
from analysis.noise.control import control_directions
from gcsam import centralize
from tests.analysis.test_objective import assert_same, everything
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles import dense

EPS = 2.2e-16


def diagonal(size: int) -> Tensor:
    return torch.linspace(0.5, 2.0, size, dtype=torch.float64)


OPERATORS: dict[str, Callable[[Objective], Any]] = {
    "hessian": lambda objective: objective,
    "gauss-newton": GaussNewton,
    "fisher": EmpiricalFisher,
    "covariance": GradientCovariance,
    "centralized hessian": Centralized,
    "centralized gauss-newton": lambda objective: Centralized(GaussNewton(objective)),
    "randomly-projected covariance": lambda objective: RandomlyProjected(GradientCovariance(objective), seed=3),
    "preconditioned hessian": lambda objective: Preconditioned(objective, diagonal(objective.num_parameters)),
    "preconditioned fisher": lambda o: Preconditioned(EmpiricalFisher(o), diagonal(o.num_parameters)),
}


def single_gradients(model: nn.Module, loss_fn: Any, batches: list) -> Tensor:
    rows = []
    for x, y in batches:
        rows += [dense.gradient(model, loss_fn, [(x[i : i + 1], y[i : i + 1])]) for i in range(len(x))]
    return torch.stack(rows)


def gauss_newton(model: nn.Module, loss_fn: Any, batches: list) -> Tensor:
    twin = copy.deepcopy(model).double().eval()
    parameters = [p for p in twin.parameters() if p.requires_grad]
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    terms = []
    for i in range(len(x)):
        z = twin(x[i : i + 1])
        rows = []
        for one in z.flatten():
            pieces = torch.autograd.grad(one, parameters, retain_graph=True, materialize_grads=True, allow_unused=True)
            rows.append(torch.cat([piece.flatten() for piece in pieces]))
        jacobian = torch.stack(rows)
        loss = functools.partial(lambda o, target: loss_fn(o[None], target), target=y[i : i + 1])
        terms.append(jacobian.T @ torch.autograd.functional.hessian(loss, z[0].detach()) @ jacobian)
    return torch.stack(terms).mean(0)


def oracle(name: str, objective: Objective, model: nn.Module, loss_fn: Any, batches: list) -> Tensor:
    if name == "hessian":
        return dense.hessian(model, loss_fn, batches)
    if name == "gauss-newton":
        return gauss_newton(model, loss_fn, batches)
    if name in ("fisher", "covariance"):
        g = single_gradients(model, loss_fn, batches)
        return g.T @ g / len(g) if name == "fisher" else torch.cov(g.T)
    kind, _, inner = name.partition(" ")
    matrix = oracle(inner, objective, model, loss_fn, batches)
    if kind == "preconditioned":
        scale = diagonal(len(matrix)).rsqrt()
        return scale[:, None] * matrix * scale
    p = random_projection(objective, seed=3) if kind == "randomly-projected" else centralization(objective)
    return p @ matrix @ p


def centralization(objective: Objective) -> Tensor:
    columns = []
    for unit in torch.eye(objective.num_parameters, dtype=torch.float64):
        pieces = objective.layout.split(unit)
        dims = objective.centralize_dims
        columns.append(torch.cat([centralize(piece, dims[key]).flatten() for key, piece in pieces.items()]))
    return torch.stack(columns)


def random_projection(objective: Objective, seed: int) -> Tensor:
    """Return 1 - sum of u u^T over the rows of all weights, u the control's unit vector of that row."""
    shapes = dict(zip(objective.names, objective.layout.shapes, strict=True))
    directions = control_directions(shapes, objective.centralize_dims, seed)
    projection = torch.eye(objective.num_parameters, dtype=torch.float64)
    start = 0
    for name, shape in shapes.items():
        places = torch.arange(start, start + shape.numel()).reshape(shape)
        start += shape.numel()
        dims = objective.centralize_dims[name]
        if not dims:
            continue
        kept = [axis for axis in range(len(shape)) if axis not in dims]
        rows = places.permute(*kept, *dims).reshape(-1, math.prod(shape[axis] for axis in dims))
        units = directions[name].permute(*kept, *dims).reshape(rows.shape)
        for row, unit in zip(rows, units, strict=True):
            projection[row[:, None], row] -= unit[:, None] * unit
    return projection


def matrix_of(operator: Any) -> Tensor:
    return torch.stack([operator.hvp(unit) for unit in torch.eye(operator.num_parameters, dtype=operator.dtype)])


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("name", OPERATORS)
def test_the_matrix_is_the_dense_one(name: str, case: Case) -> None:
    """Fails for any wrong factor, sign, mean or part. The Hessian's oracle itself is right to 1e-7 only."""
    model, loss_fn, batches = case.make()
    objective = Objective(model, loss_fn, batches)
    expected = oracle(name, objective, model, loss_fn, batches)
    found = matrix_of(OPERATORS[name](objective))
    assert_close(found, expected, absolute=2e-7 if "hessian" in name else 1e-12)
    assert_close(found, found.T, absolute=1e-13 * len(found))


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(("dtype", "eps"), [(torch.float64, EPS), (torch.float32, 1.2e-7)])
def test_however_the_data_are_cut_and_kept(name: str, case: Case, dtype: torch.dtype, eps: float) -> None:
    results = []
    for cuts, budget in (((12,), None), ((5, 7), 0), ((1, 11), 2000)):
        model, loss_fn, batches = case.make(dtype, cuts)
        operator = OPERATORS[name](Objective(model, loss_fn, batches, memory_budget=budget))
        results.append(operator.hvp(torch.linspace(-1, 1, operator.num_parameters, dtype=dtype)))
    scale = max(1.0, float(results[0].abs().max()))
    for other in results[1:]:
        assert_close(other, results[0], absolute=400 * eps * scale)  # 12 terms of size 1 through a few layers


@pytest.mark.parametrize("name", OPERATORS)
def test_linear_repeatable_and_its_input_is_left_alone(name: str) -> None:
    model, loss_fn, batches = CASES[2].make()
    operator = OPERATORS[name](Objective(model, loss_fn, batches))
    size = operator.num_parameters
    u, v = torch.randn(2, size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    kept = v.clone()
    first = operator.hvp(v)
    assert torch.equal(first, operator.hvp(v))
    assert_close(operator.hvp(2 * v - 3 * u), 2 * first - 3 * operator.hvp(u), relative=1e-12)
    assert torch.equal(v, kept)
    assert (operator.device, operator.dtype, len(operator.names)) == (torch.device("cpu"), torch.float64, 6)


@pytest.mark.parametrize("name", OPERATORS)
def test_everything_is_left_as_found(name: str) -> None:
    model, loss_fn, batches = CASES[2].make()
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    before = everything(model)
    operator = OPERATORS[name](Objective(model, loss_fn, batches))
    operator.hvp(torch.ones(operator.num_parameters))
    assert_same(before, everything(model))


@pytest.mark.parametrize("name", OPERATORS)
def test_products_follow_the_weights(name: str) -> None:
    model, loss_fn, batches = CASES[1].make()
    operator = OPERATORS[name](Objective(model, loss_fn, batches))
    v = torch.ones(operator.num_parameters)
    operator.hvp(v)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    again = OPERATORS[name](Objective(model, loss_fn, batches))
    assert torch.equal(operator.hvp(v), again.hvp(v))


@pytest.mark.parametrize("name", [name for name in OPERATORS if name != "hessian"])
def test_eigenvalues_of_any_operator(name: str) -> None:
    model, loss_fn, batches = CASES[1].make()
    operator = OPERATORS[name](Objective(model, loss_fn, batches))
    found = hessian_eigenvalues(operator, 2, tol=1e-8)
    expected = torch.linalg.eigvalsh(matrix_of(operator)).flip(0)[:2]
    assert_close(found.values, expected, relative=1e-8)
    assert found.method == operator.method
    assert found.names == operator.names


def test_the_covariance_has_the_trace_of_gradient_noise() -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    trace = float(matrix_of(GradientCovariance(objective)).trace())
    assert trace == pytest.approx(gradient_noise(objective).raw.total.trace, rel=1e-10)


class Tokens(nn.Module):
    """Scores for each token of a sequence, as a dictionary that also holds what no loss needs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(6, 4), nn.Linear(4, 6)

    def forward(self, tokens: Tensor) -> dict[str, Any]:
        h = torch.tanh(self.embed(tokens))
        return {"logits": self.head(h), "hidden": (h, tokens)}


def token_loss(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    logits = model(batch["tokens"])["logits"]
    loss = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100, reduction="sum")
    return loss, (batch["labels"] != -100).sum()


def token_batch(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(6, (5, 3), generator=generator)
    labels[0, 1:] = -100
    return {"tokens": torch.randint(6, (5, 3), generator=generator), "labels": labels}


@pytest.mark.parametrize("make", [EmpiricalFisher, GradientCovariance])
def test_means_over_tokens_scale_as_gradient_noise_says(make: Any) -> None:
    """13 tokens in 5 sequences: g_i is 5/13 of the gradient of a sequence's sum, so that its mean is the gradient."""
    torch.manual_seed(0)
    model, batch = Tokens().double(), token_batch()
    objective = Objective(model, batch_loss=token_loss, data=batch)
    rows = []
    for i in range(5):
        loss, _ = token_loss(model, {key: value[i : i + 1] for key, value in batch.items()})
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]) * 5 / 13)
    g = torch.stack(rows)
    assert_close(g.mean(0), objective.gradient(), absolute=1e-14)
    expected = g.T @ g / 5 if make is EmpiricalFisher else torch.cov(g.T)
    assert_close(matrix_of(make(objective)), expected, absolute=1e-13)


def test_gauss_newton_of_tokens_is_the_hessian_of_a_linear_model() -> None:
    torch.manual_seed(0)
    model, batch = Tokens().double(), token_batch()
    objective = Objective(model, batch_loss=token_loss, data=[batch, token_batch(1)], parameters="head.*")
    assert_close(matrix_of(GaussNewton(objective)), matrix_of(objective), absolute=1e-13)


def twice(model: Any, batch: Any) -> tuple[Tensor, int]:
    return (model(batch["tokens"])["logits"] - model(batch["tokens"])["logits"]).sum(), 1


class WithLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.layer(x)
        return {"loss": z.square().sum(), "logits": z}


@pytest.mark.parametrize("make", [GaussNewton, EmpiricalFisher])
def test_a_loss_without_one_output_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="batch_loss called the model 2 times; put the calls into one module"):
        make(Objective(Tokens(), batch_loss=twice, data=token_batch())).hvp(torch.ones(54))
    inside = Objective(WithLoss(), batch_loss=lambda m, x: (m(x)["loss"], len(x)), data=torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"the model returns a loss of its own .* \(the logits\) instead"):
        make(inside).hvp(torch.ones(8))
    outside = Objective(
        WithLoss(), batch_loss=lambda m, x: (m(x)["logits"].square().sum(), len(x)), data=torch.ones(4, 3)
    )
    make(outside).hvp(torch.ones(8))


def test_outputs_without_samples_are_refused() -> None:
    def loss(model: Any, batch: Any) -> tuple[Tensor, int]:
        return model(batch).sum(), len(batch)

    objective = Objective(nn.Sequential(nn.Linear(2, 3), nn.Flatten(0)), batch_loss=loss, data=torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"samples along their first axis, 4 in this batch, got shapes \(12,\)"):
        EmpiricalFisher(objective).hvp(torch.ones(9))
    one = Objective(nn.Linear(2, 1), nn.MSELoss(), (torch.ones(1, 2), torch.ones(1, 1)))
    with pytest.raises(ValueError, match="needs at least 2 samples, got 1"):
        GradientCovariance(one).hvp(torch.ones(3))
    with pytest.raises(ValueError, match="vector must be a flat vector of shape"):
        GaussNewton(one).hvp(torch.ones(4))
