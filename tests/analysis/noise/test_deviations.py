"""Deviations against explicit gradients of single samples; what a loader that changes its order does to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from analysis import Objective
from analysis.noise.deviations import Deviations
from analysis.noise.scalars import KINDS
from tests.analysis.noise import oracle
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close


def probe_of(objective: Objective) -> Tensor:
    return torch.linspace(-1, 2, objective.num_parameters, dtype=objective.dtype)


def rows_of(gradients: dict[str, Tensor]) -> Tensor:
    rows = torch.cat([g.flatten(1) for g in gradients.values()], 1)
    return rows - rows.mean(0)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_norms_products_and_single_deviations_are_the_explicit_ones(case: Case) -> None:
    model, loss_fn, batches = case.make()
    objective = Objective(model, loss_fn, batches)
    found = Deviations(objective, 3, probe_of(objective))
    explicit = oracle.per_sample(model, loss_fn, batches)
    e = rows_of(explicit)
    kinds = oracle.projected(model, explicit, 3)
    # squares of size 1 to 10 from sums of some hundred float64 products
    for number, kind in enumerate(KINDS):
        squares = rows_of(kinds[kind]).square().sum(1)
        assert_close(found.squares[number], squares, absolute=1e-13, relative=1e-12)
        assert found.trace(number) == pytest.approx(float(squares.sum()) / 11, rel=1e-12)
    assert_close(found.along, e @ probe_of(objective), absolute=1e-12)
    assert_close(found.mean, objective.gradient(), absolute=1e-14)
    chosen = dict(found.chosen([11, 4, 5, 4]))  # the last of the first batch of 5, the first of the second
    assert sorted(chosen) == [4, 5, 11]
    for i, deviation in chosen.items():
        assert_close(deviation, e[i], absolute=1e-13)
    v = probe_of(objective).flip(0)
    assert_close(found.product(v), e.T @ (e @ v) / 11, relative=1e-12)


def test_means_over_tokens_weigh_samples_by_their_tokens() -> None:
    """7 tokens in 3 samples: g_i is 3/7 of the gradient of sample i's sum."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False).double()
    x, y = torch.randn(3, 3, 3, dtype=torch.float64), torch.tensor([[0, 1, 1], [1, -100, -100], [0, 0, 1]])

    def batch_loss(model: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100)
        return loss, (targets != -100).sum()

    objective = Objective(model, batch_loss=batch_loss, data=[(x[:1], y[:1]), (x[1:], y[1:])])
    found = Deviations(objective, 0, probe_of(objective))
    rows = []
    for i in range(3):
        loss, _ = batch_loss(model, (x[i : i + 1], y[i : i + 1]))
        rows.append(3 / 7 * torch.autograd.grad(loss, model.weight)[0].flatten())
    e = torch.stack(rows) - torch.stack(rows).mean(0)
    assert_close(found.squares[0], e.square().sum(1), relative=1e-13)
    assert_close(found.along, e @ probe_of(objective), absolute=1e-14)
    assert_close(dict(found.chosen([2]))[2], e[2], absolute=1e-15)
    assert_close(found.product(torch.ones(6)), e.T @ e.sum(1) / 2, absolute=1e-14)


def dataset() -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(40, 3, generator=generator), torch.randn(40, 2, generator=generator))


@pytest.mark.parametrize("batchnorm", ["eval", "recalibrate"])
def test_a_loader_that_shuffles_gives_each_sample_its_own_place(batchnorm: str) -> None:
    """Fails if two passes share one block: the loader's generator then has moved on in the second."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    loader = DataLoader(dataset(), batch_size=7, shuffle=True)
    objective = Objective(model, nn.MSELoss(), loader, batchnorm=batchnorm)
    found = Deviations(objective, 0, probe_of(objective))
    norms = [float(e.square().sum()) for _, e in found.chosen(range(40))]
    assert_close(norms, found.squares[0], relative=1e-5)  # float32, sums of a few dozen products


class Turning:
    """Data that come from behind in every second pass, whatever the random state."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Any:
        self.passes += 1
        x, y = dataset().tensors
        return iter([(x, y) if self.passes % 2 else (x.flip(0), y.flip(0))])


def test_samples_in_another_order_are_refused() -> None:
    objective = Objective(nn.Linear(3, 2), nn.MSELoss(), Turning())
    found = Deviations(objective, 0, probe_of(objective))
    with pytest.raises(ValueError, match=r"same order in every pass, but sample \d+ had a gradient .* loader without"):
        list(found.chosen(range(40))) and list(found.chosen(range(40)))
