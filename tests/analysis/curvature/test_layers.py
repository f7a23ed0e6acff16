"""Curvature of the diagonal blocks against those of a dense float64 Hessian."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import Objective, Status, hessian_trace, layer_curvature, load
from tests.analysis.curvature.operators import trained_mlp
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles import dense


def dense_blocks(objective: Objective, hessian: Tensor, names: list[list[str]]) -> list[Tensor]:
    places = objective.layout.split(torch.arange(objective.num_parameters))
    indices = [torch.cat([places[name].flatten() for name in block]) for block in names]
    return [hessian[index][:, index] for index in indices]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_products_of_blocks_are_those_of_the_dense_hessian(case: Case) -> None:
    """Fails if what couples two blocks gets in."""
    model, loss_fn, batches = case.make()
    hessian = dense.hessian(model, loss_fn, batches)
    for budget in (None, 0):
        objective = Objective(model, loss_fn, batches, memory_budget=budget)
        names = [list(objective.names[:2]), *([name] for name in objective.names[2:])]
        v = torch.linspace(-1, 1, objective.num_parameters, dtype=torch.float64)
        found = objective.layout.split(objective.block_diagonal_hvp(v, names))
        pieces = objective.layout.split(v)
        for block, matrix in zip(names, dense_blocks(objective, hessian, names), strict=True):
            got = torch.cat([found[name].flatten() for name in block])
            assert_close(got, matrix @ torch.cat([pieces[name].flatten() for name in block]), absolute=1e-7)


def test_a_parameter_in_no_block_gets_zeros_and_an_unknown_one_is_refused() -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    v = torch.ones(objective.num_parameters)
    found = objective.layout.split(objective.block_diagonal_hvp(v, [["3.bias"]]))
    assert float(found["0.weight"].abs().max()) == 0.0 < float(found["3.bias"].abs().max())
    with pytest.raises(ValueError, match=r"blocks must hold names of measured parameters, got '9\.bias'"):
        objective.block_diagonal_hvp(v, [["9.bias"]])


@pytest.mark.parametrize("by", ["module", "parameter"])
def test_eigenvalues_and_traces_against_dense_blocks(by: str) -> None:
    model, loss_fn, batches = trained_mlp()
    objective = Objective(model, loss_fn, batches, dtype=torch.float64)
    found = layer_curvature(objective, by=by, tol=1e-6, probes=60)
    blocks = (
        [[name] for name in objective.names]
        if by == "parameter"
        else [[f"{i}.weight", f"{i}.bias"] for i in ("0", "2", "4")]
    )
    assert found.layers == (objective.names if by == "parameter" else ("0", "2", "4"))
    assert found.status is Status.CONVERGED
    matrices = dense_blocks(objective, dense.hessian(model, loss_fn, batches), blocks)
    expected = torch.stack([torch.linalg.eigvalsh(matrix)[-1] for matrix in matrices])
    assert_close(found.lambda_max, expected, absolute=1e-6 * float(expected.max()))
    assert bool((found.residuals <= 1e-6 * found.lambda_max.abs() * 1.01).all())
    traces = torch.stack([matrix.trace() for matrix in matrices])
    z = (found.trace - traces) / found.trace_standard_error
    assert float(z.abs().max()) < 4
    assert found.num_weights.tolist() == [len(matrix) for matrix in matrices]


def test_layers_sum_to_the_whole_with_the_same_probes() -> None:
    model, loss_fn, batches = trained_mlp()
    objective = Objective(model, loss_fn, batches, dtype=torch.float64)
    found = layer_curvature(objective, probes=12, seed=5)
    whole = hessian_trace(objective, tol=1e-9, min_probes=12, max_hvps=12, seed=5)
    assert float(found.trace.sum()) == pytest.approx(whole.value, rel=1e-12)


def test_cost_data_passes_and_repeatability() -> None:
    """A block of one weight, and one of two, are done after one and two steps: nothing waits for the others."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    x = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    class Counting(Objective):
        blocks: list[int]

        def block_diagonal_hvp(self, vector: Tensor, blocks: Any, at: Tensor | None = None) -> Tensor:
            self.blocks.append(len(blocks))
            return super().block_diagonal_hvp(vector, blocks, at)

    objective = Counting(model, nn.MSELoss(), (x, x[:, :1].tanh()))
    objective.blocks = []
    seen: list[tuple[int, int]] = []
    state = torch.get_rng_state()
    found = layer_curvature(objective, by="parameter", progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(state, torch.get_rng_state())
    assert objective.blocks[:2] == [4, 3]  # the bias of the last layer is one weight
    assert found.num_steps == len(objective.blocks)
    assert seen == [(i + 1, 80) for i in range(20 + found.num_steps)]
    objective.blocks = []
    assert layer_curvature(objective, by="parameter") == found
    assert layer_curvature(objective, by="parameter", seed=1) != found


def test_a_budget_that_ends_is_a_status() -> None:
    model, loss_fn, batches = trained_mlp()
    found = layer_curvature(Objective(model, loss_fn, batches), tol=1e-6, max_steps=3, probes=2)
    assert found.status is Status.MAX_HVPS
    assert found.num_steps == 3


def test_saved_and_loaded_equal(tmp_path: Any) -> None:
    model, loss_fn, batches = CASES[1].make()
    found = layer_curvature(Objective(model, loss_fn, batches), probes=2)
    found.save(tmp_path / "r.h5", "layers")
    assert load(tmp_path / "r.h5") == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "block"}, "by must be one of module, parameter, got 'block'"),
        ({"tol": 0.0}, "tol must be between 0 and 1"),
        ({"max_steps": 0}, "max_steps must be a whole number >= 1, got 0"),
        ({"probes": 1}, "probes must be a whole number >= 2, got 1"),
    ],
)
def test_misuse_is_told(options: dict[str, Any], message: str) -> None:
    model, loss_fn, batches = CASES[1].make()
    with pytest.raises(ValueError, match=message):
        layer_curvature(Objective(model, loss_fn, batches), **options)


def test_products_by_differences_have_no_blocks() -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches, hvp_method="finite_difference")
    with pytest.raises(ValueError, match="need hvp_method='double_backward'"):
        layer_curvature(objective, probes=2)
