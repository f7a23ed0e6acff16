"""Curvature on a CUDA device: the numbers of the CPU, memory accounted by torch's allocator, a basis on the host."""

from __future__ import annotations

import pytest
import torch

from analysis import EmpiricalFisher, GaussNewton, Objective, hessian_eigenvalues, hessian_trace, layer_curvature
from analysis.memory import PeakMemory, free_memory
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
CUDA = torch.device("cuda")
EPS = 2.2e-16


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_products_are_those_of_the_cpu(case: Case) -> None:
    model, loss_fn, batches = case.make()
    v = torch.ones(Objective(model, loss_fn, batches).num_parameters, dtype=torch.float64)
    for make in (lambda o: o, GaussNewton, EmpiricalFisher):
        here = make(Objective(model, loss_fn, batches)).hvp(v)
        for budget in (None, 0):
            there = make(Objective(model, loss_fn, batches, device="cuda", memory_budget=budget)).hvp(v)
            assert there.is_cuda
            assert_close(there.cpu(), here, absolute=1000 * EPS * max(1.0, float(here.abs().max())))
    assert next(model.parameters()).device.type == "cpu"  # the model was not moved


def test_eigenvalues_traces_and_layers_are_those_of_the_cpu() -> None:
    model, loss_fn, batches = CASES[2].make()
    here, there = (Objective(model, loss_fn, batches, device=device) for device in ("cpu", "cuda"))
    for options in ({}, {"basis_device": "cpu"}, {"max_basis": 8}):
        found = hessian_eigenvalues(there, 3, tol=1e-8, **options)
        assert not found.vectors.is_cuda
        assert_close(found.values, hessian_eigenvalues(here, 3, tol=1e-8).values, relative=1e-8)
    for method in ("hutchinson", "xtrace"):
        assert hessian_trace(there, method=method).value == pytest.approx(
            hessian_trace(here, method=method).value, rel=1e-8
        )
    assert_close(layer_curvature(there).lambda_max, layer_curvature(here).lambda_max, relative=1e-2)


def test_memory_is_that_of_the_device() -> None:
    before = free_memory(CUDA)
    peak = PeakMemory(CUDA)
    held = torch.ones(25 * 2**20, dtype=torch.float64, device=CUDA)
    assert before - free_memory(CUDA) >= 190 * 2**20
    del held
    assert peak.bytes() == 200 * 2**20
