"""Measures of curvature of operators seen through others, in one line each, against dense matrices in float64."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from analysis import (
    Centralized,
    Objective,
    Preconditioned,
    effective_dimension,
    hessian_eigenvalues,
    hessian_trace,
    load,
    spectral_density,
)
from tests.cases import CASES
from tests.compare import assert_close
from tests.oracles import dense


def trained() -> tuple[Objective, Tensor, Tensor, Tensor, torch.optim.Adam]:
    """Return an MLP after 20 steps of Adam: objective, Hessian, projection P by its definition, M by Adam's state."""
    model, loss_fn, batches = CASES[1].make()
    model.eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.9, 0.99), eps=1e-3)
    for step in range(20):
        x, y = batches[step % 2]
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    blocks, metric = [], []
    for parameter in model.parameters():
        rows, length = (parameter.shape[0], parameter[0].numel()) if parameter.ndim == 2 else (1, 0)
        mean = torch.full((length, length), 1 / length).double() if length else torch.zeros(len(parameter), 1)
        block = torch.eye(length).double() - mean if length else torch.eye(len(parameter)).double()
        blocks.append(torch.block_diag(*[block] * rows))
        second = optimizer.state[parameter]["exp_avg_sq"] / (1 - 0.99**20)
        metric.append((1 - 0.9**20) * (second.sqrt() + 1e-3).flatten())
    hessian = dense.hessian(model, loss_fn, batches)
    return Objective(model, loss_fn, batches), hessian, torch.block_diag(*blocks), torch.cat(metric), optimizer


def test_eigenvalues_in_the_metric_of_adam(tmp_path: Path) -> None:
    objective, hessian, _, metric, optimizer = trained()
    scale = metric.rsqrt()
    expected = torch.linalg.eigvalsh(scale[:, None] * hessian * scale).flip(0)
    found = hessian_eigenvalues(Preconditioned.from_optimizer(objective, optimizer), k=5, tol=1e-8)
    assert_close(found.values, expected[:5], relative=1e-7)  # the oracle's differences are exact to 1e-9 of H
    value, bound = found.ratio(5)
    assert abs(value - float(expected[0] / expected[4])) <= bound + 1e-6 * value
    assert found.method == "preconditioned double_backward"
    found.save(tmp_path / "run.h5", "adam")
    assert load(tmp_path / "run.h5", "curvature/adam") == found
    assert abs(float(expected[0]) / float(torch.linalg.eigvalsh(hessian)[-1]) - 1) > 0.1


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_trace_of_the_centralized_hessian(method: str) -> None:
    objective, hessian, projection, _, _ = trained()
    restricted = projection @ hessian @ projection
    found = hessian_trace(Centralized(objective), method=method, tol=1e-9, max_hvps=100)
    # XTrace with as many probes as there are dimensions is exact to the oracle's differences
    assert abs(found.value - float(restricted.trace())) <= 4 * found.standard_error + 1e-8
    assert found.standard_error < 0.2 * abs(found.value)
    assert abs(found.value - float(hessian.trace())) > 4 * found.standard_error
    if method == "hutchinson":
        error = abs(found.frobenius - float(restricted.norm()))
        assert error < 4 * found.frobenius_standard_error < 0.5 * found.frobenius


def test_effective_dimension_of_the_centralized_hessian_counts_no_removed_direction() -> None:
    objective, hessian, projection, _, _ = trained()
    eigenvalues = torch.linalg.eigvalsh(projection @ hessian @ projection)
    positive = eigenvalues.clamp_min(0.0)
    expected = float((positive / (positive + 1e-2)).sum())
    found = effective_dimension(spectral_density(Centralized(objective), probes=12, steps=51), 1e-2)
    assert abs(found.value - expected) < 4 * found.standard_error < expected
    assert math.isfinite(found.negative_share)


def test_trace_in_the_metric_of_adam() -> None:
    objective, hessian, _, metric, optimizer = trained()
    found = hessian_trace(Preconditioned.from_optimizer(objective, optimizer), tol=1e-9)
    assert abs(found.value - float((hessian.diagonal() / metric).sum())) < 4 * found.standard_error < found.value


def test_a_layer_of_one_weight_for_each_output_is_left_alone() -> None:
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    objective = Objective(nn.Linear(1, 2).double(), nn.MSELoss(), (x, torch.cat([x, -x], 1)))
    assert hessian_trace(Centralized(objective)) == hessian_trace(objective)
