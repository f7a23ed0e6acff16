"""Curvature beside other libraries: Hessian products and eigenvalues, and every contestant of the benchmark.

curvlinops differentiates forward over reverse in `torch.func`; we differentiate backward twice, with formulas of our
own for convolutions and batch norm. Blind to what both share: the model, and torch's first derivatives. The dense
Hessian of the contestants' test shares neither: central differences of gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from analysis import EmpiricalFisher, GaussNewton, hessian_eigenvalues
from benchmarks import curvature_pairs as pairs
from benchmarks import curvature_subject as subject
from benchmarks.curvature_peers import Problem, curvlinops_operator, products, versions
from benchmarks.curvature_solvers import solvers
from tests.compare import assert_close
from tests.oracles import dense

INSTALL = "pip install --no-deps -r benchmarks/requirements.txt to compare with it"
pytestmark = [
    pytest.mark.peers,
    *(pytest.mark.skipif(version is None, reason=f"{name}: {INSTALL}") for name, version in versions().items()),
]

# Both sum some hundred products of float64 numbers in another order: 1e2 * 2e-16, and as much again for each layer.
ROUNDING = 1e-12


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 3))


def cnn() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    model[1].running_mean.uniform_(-0.5, 0.5)
    model[1].running_var.uniform_(0.5, 2.0)
    return model


PROBLEMS = {
    "mlp, cross-entropy": (mlp, (4,), nn.CrossEntropyLoss()),
    "mlp, squared error": (mlp, (4,), nn.MSELoss()),
    "cnn, cross-entropy": (cnn, (2, 8, 8), nn.CrossEntropyLoss()),
}


def make(name: str, dtype: torch.dtype = torch.float64) -> Problem:
    """Return 12 samples in three batches of the same size, because some libraries weigh batches equally."""
    build, shape, loss_fn = PROBLEMS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model, x = build().to(dtype).eval(), torch.randn(12, *shape, dtype=dtype)
        y = torch.randn(12, 3, dtype=dtype) if isinstance(loss_fn, nn.MSELoss) else torch.randint(3, (12,))
    return Problem(model, loss_fn, list(zip(x.split(4), y.split(4), strict=True)))


def assert_same_products(
    ours: Callable[[Tensor], Tensor], operator: str, problem: Problem, relative: float = ROUNDING, **options: Any
) -> None:
    """Compare products with three Gaussian vectors with those of a linear operator of curvlinops.

    Args:
        ours: From a vector [D] to a vector [D].
        operator: "HessianLinearOperator", "GGNLinearOperator" or "EFLinearOperator".
        problem: Of what; all three are means over samples.
        relative: Tolerance, of the largest entry.
        **options: For the operator.
    """
    theirs = curvlinops_operator(operator, problem, **options)
    draw = torch.Generator().manual_seed(5)
    for _ in range(3):
        vector = torch.randn(theirs.shape[1], dtype=theirs.dtype, generator=draw)
        assert_close(ours(vector).cpu(), (theirs @ vector).detach().cpu(), relative=relative)


@pytest.mark.parametrize("budget", [None, 0])
@pytest.mark.parametrize("name", PROBLEMS)
def test_our_products_are_those_of_curvlinops(name: str, budget: int | None) -> None:
    problem = make(name)
    assert_same_products(problem.objective(memory_budget=budget).hvp, "HessianLinearOperator", problem)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(GaussNewton, "GGNLinearOperator"), (EmpiricalFisher, "EFLinearOperator")]
)
@pytest.mark.parametrize("name", PROBLEMS)
def test_our_other_matrices_are_those_of_curvlinops(ours: Any, theirs: str, name: str) -> None:
    """But for its EF of squared error, which lacks one of the two divisions by the 3 outputs: see the next test."""
    problem = make(name)
    operator = ours(problem.objective())
    factor = 3 if theirs == "EFLinearOperator" and isinstance(problem.loss_fn, nn.MSELoss) else 1
    assert_same_products(lambda vector: factor * operator.hvp(vector), theirs, problem)


def output_jacobian(problem: Problem) -> tuple[Tensor, Tensor]:
    """Return the outputs [N, C] and their derivatives [N, C, D], entry by entry."""
    x = torch.cat([inputs for inputs, _ in problem.batches])
    parameters = list(problem.model.parameters())
    outputs = problem.model(x)
    rows = [torch.autograd.grad(entry, parameters, retain_graph=True) for entry in outputs.flatten()]
    jacobian = torch.stack([torch.cat([piece.flatten() for piece in row]) for row in rows])
    return outputs.detach(), jacobian.unflatten(0, outputs.shape)


@pytest.mark.parametrize("operator", ["GGNLinearOperator", "EFLinearOperator"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_what_the_other_matrices_of_curvlinops_are(operator: str, name: str) -> None:
    """GGN: mean of J^T (second derivative by the outputs) J. EF: mean of g g^T over samples, g of one sample's loss.

    But for a mean over the C outputs too, as in squared error, its EF divides by C once where g divides twice.
    """
    problem = make(name)
    y = torch.cat([targets for _, targets in problem.batches])
    outputs, jacobian = output_jacobian(problem)
    matrix = torch.zeros(2 * [jacobian.shape[-1]], dtype=torch.float64)
    for output, target, j in zip(outputs, y, jacobian, strict=True):

        def loss(output: Tensor, target: Tensor = target) -> Tensor:
            value: Tensor = problem.loss_fn(output[None], target[None])
            return value

        if operator == "GGNLinearOperator":
            matrix += j.T @ torch.autograd.functional.hessian(loss, output) @ j / len(y)
        else:
            g = torch.autograd.functional.jacobian(loss, output) @ j
            times = len(output) if isinstance(problem.loss_fn, nn.MSELoss) else 1
            matrix += times * torch.outer(g, g) / len(y)
    assert_same_products(lambda vector: matrix @ vector, operator, problem)


@pytest.mark.parametrize("name", PROBLEMS)
def test_our_eigenvalues_are_those_of_arpack_on_curvlinops(name: str) -> None:
    """Residuals of 1e-8 of the value: a value is off by at most that, of the largest."""
    problem = make(name)
    found = hessian_eigenvalues(problem.objective(), 4, tol=1e-8)
    operator = curvlinops_operator("HessianLinearOperator", problem).to_scipy()
    theirs = eigsh(operator, k=4, which="LA", return_eigenvectors=False)
    assert_close(found.values, sorted(theirs, reverse=True), relative=1e-8)


@pytest.fixture(scope="module")
def dense_hessian() -> tuple[Problem, Tensor]:
    problem = make("mlp, cross-entropy", torch.float32)
    return problem, dense.hessian(problem.model, problem.loss_fn, problem.batches)


def test_every_contestant_finds_the_values_of_a_dense_hessian(dense_hessian: tuple[Problem, Tensor]) -> None:
    """Whoever meets the tolerance, 1e-2 of the value, is at most that far from a value, and none is left out."""
    problem, matrix = dense_hessian
    exact = torch.linalg.eigvalsh(matrix).flip(0)
    assert exact[:2].min() > exact.abs()[2:].max()  # so largest in magnitude and most positive are the same
    *rows, last = pairs.table(problem, subject.QUICK._replace(k=2, limit=200), rounds=1)
    names = ["ours, graphs kept", "ours, recomputed", "hessian_eigenthings", "curvlinops, ARPACK", "pyhessian"]
    assert [row["contestant"] for row in rows] == names
    for row in rows:
        assert row["meets"], row
        assert row["products"] >= 2
        assert_close(row["values"], exact[:2], relative=1e-2)
    assert last["seconds"].keys() == set(names)


def test_every_product_is_that_of_a_dense_hessian(dense_hessian: tuple[Problem, Tensor]) -> None:
    problem, matrix = dense_hessian
    vector = torch.randn(len(matrix), generator=torch.Generator().manual_seed(6))
    found = products(problem)
    assert len(found) == 5
    for hvp in found.values():
        # float32: some ten roundings of 6e-8, and the same again where terms cancel
        assert_close(hvp(vector), matrix @ vector.double(), relative=1e-5)


def test_products_are_counted_as_they_happen(dense_hessian: tuple[Problem, Tensor]) -> None:
    """The Lanczos steps asked for are the products; the power iteration stops where we stop waiting."""
    problem, matrix = dense_hessian
    attempts = solvers(problem, 2, 1e-2, torch.ones(len(matrix)), limit=7)
    run, counted = attempts["hessian_eigenthings"][0].prepare()
    run()
    assert counted.calls == attempts["hessian_eigenthings"][0].settings["max_iter"] == 4
    made = pairs.try_once(attempts["pyhessian"][-1], problem.objective(dtype=torch.float64).hvp, torch.device("cpu"))
    assert (made["products"], made["gave_up"]) == (7, "stopped after 7 products")
