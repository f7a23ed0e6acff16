"""The objective against a dense float64 oracle and closed forms; what it leaves behind; what it refuses.

The central-difference oracle cannot see relative errors below about 1e-8; the closed form of linear regression can.
"""

from __future__ import annotations

import gc
import random
import weakref
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from analysis import NotRepeatable, Objective
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles import dense

DIFFERENCE = 1e-7  # truncation and rounding of the oracle's central difference, with a factor of 100 to spare


def everything(model: nn.Module) -> dict[str, Any]:
    """All that a measurement must leave as found, as values and as identities."""
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "pointers": [parameter.data_ptr() for parameter in model.parameters()],
        "grads": [None if p.grad is None else (p.grad.data_ptr(), p.grad.clone()) for p in model.parameters()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),  # noqa: NPY002
        "python": random.getstate(),
        "grad_mode": torch.is_grad_enabled(),
        "sdp": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled()),
    }


def assert_same(before: Any, after: Any) -> None:
    if isinstance(before, dict):
        assert before.keys() == after.keys()
        before, after = list(before.values()), list(after.values())
    if isinstance(before, (list, tuple)):
        assert len(before) == len(after)
        for a, b in zip(before, after, strict=True):
            assert_same(a, b)
    elif isinstance(before, Tensor):
        assert torch.equal(before, after)
    elif isinstance(before, np.ndarray):
        assert np.array_equal(before, after)
    else:
        assert before == after


def calls(objective: Objective) -> list:
    vector = torch.ones(objective.num_parameters)
    return [objective.loss, objective.gradient, lambda: objective.hvp(vector), objective.weights]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_gradient_and_product_equal_the_dense_oracle(case: Case) -> None:
    model, loss_fn, batches = case.make()
    objective = Objective(model, loss_fn, batches)
    w = objective.weights()
    assert_close(w, dense.weights(model))
    scale = float(dense.gradient(model, loss_fn, batches).abs().max())
    assert_close(objective.gradient(), dense.gradient(model, loss_fn, batches), absolute=1e-12 * max(scale, 1.0))
    hessian = dense.hessian(model, loss_fn, batches)
    product = torch.stack([objective.hvp(unit) for unit in torch.eye(len(w), dtype=torch.float64)])
    assert_close(product, hessian, absolute=DIFFERENCE)
    assert_close(product, product.T, absolute=1e-13 * len(w))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_at_another_point_equals_a_model_moved_there(case: Case) -> None:
    """Fails if `at` is ignored by any of the three."""
    model, loss_fn, batches = case.make()
    objective = Objective(model, loss_fn, batches)
    at = objective.weights() + 0.3 * torch.randn(objective.num_parameters, generator=torch.Generator().manual_seed(1))
    vector = torch.ones(objective.num_parameters, dtype=torch.float64)
    found = objective.loss(at), objective.gradient(at), objective.hvp(vector, at)
    assert objective.loss() != found[0]
    nn.utils.vector_to_parameters(at, [p for p in model.parameters() if p.requires_grad])
    moved = Objective(model, loss_fn, batches)
    assert moved.loss() == found[0]
    assert torch.equal(moved.gradient(), found[1])
    assert torch.equal(moved.hvp(vector), found[2])


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize(("dtype", "eps"), [(torch.float64, 2.2e-16), (torch.float32, 1.2e-7)])
def test_independent_of_how_the_data_are_cut(case: Case, dtype: torch.dtype, eps: float) -> None:
    """Fails if batches are averaged with equal weights."""
    results = []
    for cuts in ((12,), (5, 7), (1, 11)):
        model, loss_fn, batches = case.make(dtype, cuts)
        objective = Objective(model, loss_fn, batches)
        results.append((objective.loss(), objective.gradient(), objective.hvp(torch.ones(objective.num_parameters))))
    for other in results[1:]:
        for got, expected in zip(other, results[0], strict=True):
            assert_close(got, expected, absolute=200 * eps)  # sums of 12 terms of size 1, through a few layers


def test_product_is_linear_and_leaves_its_input_alone() -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    v = torch.randn(objective.num_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    kept = v.clone()
    assert_close(objective.hvp(2 * v), 2 * objective.hvp(v), relative=1e-12)
    assert torch.equal(v, kept)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_everything_is_left_as_found(case: Case) -> None:
    model, loss_fn, batches = case.make()
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    list(model.modules())[-1].eval()  # a mixture of flags
    before = everything(model)
    objective = Objective(model, loss_fn, batches)
    for call in calls(objective):
        call()
        assert_same(before, everything(model))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_everything_is_left_as_found_when_the_loss_raises(error: type[BaseException]) -> None:
    model, _, batches = CASES[2].make()
    before = everything(model)

    def raising(output: Tensor, target: Tensor) -> Tensor:
        torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
        raise error

    for call in calls(Objective(model, raising, batches))[:3]:
        with pytest.raises(error):
            call()
        assert_same(before, everything(model))


def test_a_loader_with_its_own_generator_is_left_as_found() -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(10, 2)
    loader = DataLoader(TensorDataset(x, x[:, :1]), batch_size=4, shuffle=True, generator=generator)
    before = generator.get_state()
    objective = Objective(nn.Linear(2, 1), nn.MSELoss(), loader)
    objective.gradient()
    assert torch.equal(before, generator.get_state())
    assert_close(objective.loss(), F.mse_loss(objective.model(x), x[:, :1]).detach(), relative=1e-6)


def test_callers_grad_mode_and_autocast_do_not_matter() -> None:
    model, loss_fn, batches = CASES[1].make(torch.float32)
    objective = Objective(model, loss_fn, batches)
    vector = torch.ones(objective.num_parameters)
    expected = objective.loss(), objective.hvp(vector)
    with torch.no_grad():
        assert torch.equal(objective.hvp(vector), expected[1])
    with torch.autocast("cpu", torch.bfloat16):
        assert objective.loss() == expected[0]
    with torch.inference_mode():
        assert objective.loss() == expected[0]


def test_other_dtype_computes_there_and_does_not_touch_the_model() -> None:
    model, loss_fn, batches = CASES[2].make(torch.float32)
    wide = Objective(model, loss_fn, batches, dtype=torch.float64)
    assert wide.gradient().dtype == torch.float64
    assert_close(wide.gradient(), dense.gradient(model, loss_fn, batches), absolute=1e-14)
    assert next(model.parameters()).dtype == torch.float32


def test_subset_equals_the_sub_block() -> None:
    model, loss_fn, batches = CASES[1].make()
    whole = Objective(model, loss_fn, batches)
    part = Objective(model, loss_fn, batches, parameters=["3.*"])
    assert part.names == ("3.weight", "3.bias")
    size = part.num_parameters
    vector = torch.ones(size, dtype=torch.float64)
    padded = torch.cat([torch.zeros(whole.num_parameters - size, dtype=torch.float64), vector])
    assert_close(part.hvp(vector), whole.hvp(padded)[-size:], relative=1e-12)
    chosen = Objective(model, loss_fn, batches, parameters=lambda name, p: p.ndim == 1)
    assert chosen.names == ("0.bias", "3.bias")


def test_frozen_parameters_are_left_out_unless_named() -> None:
    model, loss_fn, batches = CASES[1].make()
    model[0].requires_grad_(False)
    assert Objective(model, loss_fn, batches).names == ("3.weight", "3.bias")
    named = Objective(model, loss_fn, batches, parameters=["0.weight"])
    assert float(named.gradient().norm()) > 0


def test_unused_parameters_get_zeros() -> None:
    model, loss_fn, batches = CASES[5].make()
    objective = Objective(model, loss_fn, batches)
    assert objective.names == ("unused", "first.weight", "first.bias")
    parts = objective.layout.split(objective.hvp(torch.ones(objective.num_parameters)))
    assert torch.equal(parts["unused"], torch.zeros(2, dtype=torch.float64))
    assert float(parts["first.weight"].norm()) > 0


def test_nan_loss_is_returned_as_found() -> None:
    model, loss_fn, batches = CASES[0].make()
    assert np.isnan(Objective(model, loss_fn, batches).loss(torch.full((15,), torch.nan)))


def test_randomness_in_eval_mode_is_refused() -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(super().forward(x), 0.5, training=True)

    objective = Objective(Noisy(4, 3), F.mse_loss, [(torch.randn(8, 4), torch.randn(8, 3))])
    with pytest.raises(NotRepeatable, match=r"two passes over the same batch gave loss sums .* switch that off"):
        objective.hvp(torch.ones(15))


def test_data_that_change_between_passes_are_refused() -> None:
    class Augmented:
        count = 0

        def __iter__(self) -> Any:
            self.count += 1
            yield torch.full((4, 2), float(self.count)), torch.zeros(4, 1)

    objective = Objective(nn.Linear(2, 1), F.mse_loss, Augmented())
    objective.loss()
    with pytest.raises(NotRepeatable, match="the data change between passes"):
        objective.loss()


def test_shuffled_data_are_not_refused() -> None:
    x = torch.randn(50, 2)
    objective = Objective(nn.Linear(2, 1), F.mse_loss, DataLoader(TensorDataset(x, x[:, :1]), 7, shuffle=True))
    first = objective.loss()
    torch.manual_seed(99)
    assert_close(objective.loss(), first, relative=1e-5)
    assert objective.data_fingerprint


def test_nothing_survives_the_objective() -> None:
    """Fails if a reference cycle keeps graphs or data alive."""
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    objective.hvp(torch.ones(objective.num_parameters))
    gone = weakref.ref(objective)
    gc.disable()
    try:
        del objective
        assert gone() is None
    finally:
        gc.enable()
