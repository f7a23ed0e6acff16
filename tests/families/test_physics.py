"""Physics-informed networks: the loss takes derivatives of the network by its inputs.

The oracle is a float64 copy, one point after the other, and central differences of its gradient; for the loss itself a
network whose derivatives are known in closed form.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import (
    GaussNewton,
    Objective,
    gradient_noise,
    hessian_eigenvalues,
    hessian_trace,
    loss_surface,
    per_sample_norms,
    sharpness,
)
from tests.compare import assert_close
from tests.families.oracle import Oracle


def derivative(u: Tensor, x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return found


def oscillator(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    """The residual of u'' + u = 0 at each point."""
    x = batch["x"].detach().requires_grad_()
    u = model(x)
    return (derivative(derivative(u, x), x) + u).square().sum(), len(x)


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv1d(2, 1, 3, padding=1)).double()


POINTS = {
    mlp: torch.linspace(0, 3, 8, dtype=torch.float64)[:, None],
    convolutional: torch.linspace(-1, 1, 20, dtype=torch.float64).sin().view(4, 1, 5),
}
# of a central difference of the gradient, as derived in the oracle; derivatives by the input are of order 1 here
DIFFERENCE = 1e-7


@pytest.fixture(params=list(POINTS), ids=lambda net: net.__name__)
def case(request: pytest.FixtureRequest) -> tuple[Objective, Oracle]:
    model, x = request.param(), POINTS[request.param]
    objective = Objective(model, batch_loss=oscillator, data=[{"x": x[:3]}, {"x": x[3:]}])
    return objective, Oracle(model, oscillator, [{"x": one[None]} for one in x], objective.names)


def test_the_loss_is_the_residual_in_closed_form() -> None:
    """For u = v tanh(w x), u'' is -2 v w^2 tanh(w x) / cosh(w x)^2."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Tanh(), nn.Linear(1, 1, bias=False)).double()
    w, v, x = 0.7, 1.3, POINTS[mlp]
    model[0].weight.data.fill_(w)
    model[2].weight.data.fill_(v)
    u = v * (w * x).tanh()
    residual = u - 2 * w**2 * u / (w * x).cosh() ** 2
    with torch.no_grad():  # nothing is recorded where losses alone are asked for, but the loss needs a graph
        found = Objective(model, batch_loss=oscillator, data={"x": x}).loss()
    assert_close(found, residual.square().mean().item(), relative=1e-12)


def test_gradient_and_products_through_a_loss_with_derivatives(case: tuple[Objective, Oracle]) -> None:
    """A third derivative of the network; of convolutions the fast form of the second knows only two."""
    objective, oracle = case
    vector = torch.linspace(-1, 1, objective.num_parameters, dtype=torch.float64)
    assert_close(objective.loss(), oracle.loss().item(), relative=1e-12)
    assert_close(objective.gradient(), oracle.gradient(), relative=1e-12)
    assert_close(objective.hvp(vector), oracle.difference(vector), relative=DIFFERENCE)
    assert objective.method == "double_backward"
    assert objective.self_check().passed


def test_the_spectrum_is_that_of_the_dense_hessian(case: tuple[Objective, Oracle]) -> None:
    objective, oracle = case
    dense = torch.linalg.eigvalsh(oracle.hessian()).flip(0)
    assert_close(hessian_eigenvalues(objective, k=3, tol=1e-8).values, dense[:3], relative=1e-8)


def test_noise_and_norms_are_those_of_single_points(case: tuple[Objective, Oracle]) -> None:
    """Fails where the norm of a weight's gradient is made of one input and one output gradient of its layer."""
    objective, oracle = case
    single = oracle.sample_gradients()
    assert_close(gradient_noise(objective).raw.total.trace, single.var(0).sum(), relative=1e-10)
    assert_close(per_sample_norms(objective).raw.sum(1), single.square().sum(1), relative=1e-10)


def test_losses_far_from_the_weights(case: tuple[Objective, Oracle]) -> None:
    """A surface and the average-case sharpness evaluate the loss alone; the oracle does so at one cell."""
    objective, oracle = case
    found = loss_surface(objective, points=3, extent=0.5)
    at = objective.weights() + 0.5 * (found.directions[0] - found.directions[1])
    nn.utils.vector_to_parameters(at, oracle.weights)
    assert_close(found.loss[2, 0], oracle.loss().item(), relative=1e-10)
    assert found.loss[1, 1] == objective.loss()
    assert sharpness(objective, rho=0.1, kind="average").value > 0


def test_what_cannot_see_the_input_says_so() -> None:
    objective = Objective(mlp(), batch_loss=oscillator, data={"x": POINTS[mlp]})
    with pytest.raises(ValueError, match="but batch_loss takes derivatives of the output by the input; measure the He"):
        hessian_trace(GaussNewton(objective))


def test_an_error_of_the_loss_itself_is_not_hidden() -> None:
    """Fails if every error of a loss is answered by calling it again."""
    calls = []

    def broken(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        calls.append(torch.is_grad_enabled())
        raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match="no such thing"):
        Objective(mlp(), batch_loss=broken, data={"x": POINTS[mlp]}).loss()
    assert calls == [False]


def test_a_loss_called_again_with_a_graph_is_cut_off() -> None:
    """Fails if what is only summed up keeps the graphs of all batches."""
    objective = Objective(mlp(), batch_loss=oscillator, data={"x": POINTS[mlp]})
    with torch.no_grad():
        assert not objective.batch_loss(objective.model, {"x": POINTS[mlp]})[0].requires_grad
