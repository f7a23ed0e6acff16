"""Kept graphs: the same products whatever is kept, and as few recordings as the budget allows."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from analysis import Objective
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close

MANY = 2**30


def network(width: int = 32) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, 3)).double()


def batches(number: int = 4, size: int = 50) -> list:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(number * size, 8, dtype=torch.float64, generator=generator)
    y = torch.randint(3, (number * size,), generator=generator)
    return list(zip(x.split(size), y.split(size), strict=True))


def graph_of_one_batch(size: int = 50) -> int:
    objective = Objective(network(), F.cross_entropy, batches(1, size), memory_budget=MANY)
    objective.hvp(torch.ones(objective.num_parameters))
    return objective.kept_bytes


def products(objective: Objective, number: int = 3) -> Tensor:
    vectors = torch.randn(number, objective.num_parameters, generator=torch.Generator().manual_seed(2)).double()
    return torch.stack([objective.hvp(vector) for vector in vectors])


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_kept_or_not_the_products_are_equal_bit_for_bit(case: Case) -> None:
    model, loss_fn, data = case.make()
    kept = Objective(model, loss_fn, data, memory_budget=MANY)
    anew = Objective(model, loss_fn, data, memory_budget=0)
    assert torch.equal(products(kept), products(anew))
    assert kept._tapes.num_records == 2
    assert anew._tapes.num_records == 6
    assert anew.kept_bytes == 0 < kept.kept_bytes


def test_partly_fitting_is_partly_kept() -> None:
    """Room for two and a half of four graphs: one place is for the graph at work, one graph stays."""
    one = graph_of_one_batch()
    objective = Objective(network(), F.cross_entropy, batches(), memory_budget=int(2.5 * one))
    found = products(objective)
    assert_close(found, products(Objective(network(), F.cross_entropy, batches(), memory_budget=MANY)), relative=1e-14)
    assert objective.kept_bytes == one
    assert objective._tapes.num_records == 4 + 3 + 3
    assert objective._tapes.num_cuts == 0


def test_all_that_fit_are_kept() -> None:
    one = graph_of_one_batch()
    objective = Objective(network(), F.cross_entropy, batches(), memory_budget=int(4.1 * one))
    products(objective)
    assert objective.kept_bytes == 4 * one
    assert objective._tapes.num_records == 4


def test_a_batch_that_is_too_large_is_cut() -> None:
    """A fifth of one graph: five pieces or more, none of which takes more than the budget."""
    one = graph_of_one_batch(500)
    objective = Objective(network(), F.cross_entropy, batches(1, 500), memory_budget=one // 5)
    found = products(objective)
    whole = Objective(network(), F.cross_entropy, batches(1, 500), memory_budget=MANY)
    assert_close(found, products(whole), relative=1e-13)
    assert 4 <= objective._tapes.num_cuts <= 9
    assert objective.kept_bytes <= one // 5


def test_a_loss_that_compares_samples_is_not_cut() -> None:
    """Its value would depend on the cut."""

    def contrastive(model: Any, batch: Any) -> tuple[Tensor, int]:
        z = model(batch)
        return F.cross_entropy(z @ z.T, torch.arange(len(z)), reduction="sum"), len(z)

    x = batches(1)[0][0]
    small = Objective(network(), batch_loss=contrastive, data=x, memory_budget=20_000)
    large = Objective(network(), batch_loss=contrastive, data=x, memory_budget=MANY)
    assert torch.equal(products(small), products(large))
    assert small._tapes.num_cuts == 0


def test_what_cannot_be_cut_is_taken_whole() -> None:
    def loss(model: Any, batch: Any) -> tuple[Tensor, int]:
        return F.cross_entropy(model(batch["x"]), batch["y"], reduction="sum"), len(batch["y"])

    x, y = batches(1)[0]
    data = {"x": x, "y": y, "names": "no tensor"}
    small = Objective(network(), batch_loss=loss, data=[data], memory_budget=20_000)
    assert_close(products(small), products(Objective(network(), F.cross_entropy, (x, y))), relative=1e-14)


def test_shuffled_data_stay_in_step_with_their_graphs() -> None:
    """Some graphs kept, the other batches drawn in another order each time: some samples would count twice."""
    data = batches()
    x, y = (torch.cat(parts) for parts in zip(*data, strict=True))
    loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
    objective = Objective(network(), F.cross_entropy, loader, memory_budget=int(2.5 * graph_of_one_batch()))
    expected = products(Objective(network(), F.cross_entropy, data))
    torch.manual_seed(5)
    vector_by_vector = products(objective)
    assert 0 < objective.kept_bytes
    assert_close(vector_by_vector, expected, relative=1e-13)


def test_data_larger_than_the_budget_are_read_each_time() -> None:
    class Counted(list):
        passes = 0

        def __iter__(self) -> Any:
            self.passes += 1
            return super().__iter__()

    data = Counted(batches(8, 50))
    objective = Objective(network(), F.cross_entropy, data, memory_budget=9000)  # the data are 8 * 3600 bytes
    assert_close(products(objective), products(Objective(network(), F.cross_entropy, list(data))), relative=1e-13)
    assert objective.kept_bytes == 0
    assert data.passes >= 4


def test_graphs_are_of_the_present_weights() -> None:
    """Fails if a training step, in place or through .data, leaves old graphs in use."""
    model = network()
    objective = Objective(model, F.cross_entropy, batches())
    products(objective)
    for change in (lambda p: p.data.add_(0.3), lambda p: p.detach().mul_(0.5)):
        for parameter in model.parameters():
            change(parameter)
        assert torch.equal(products(objective), products(Objective(model, F.cross_entropy, batches())))


def test_a_changed_buffer_counts_too() -> None:
    model, loss_fn, data = CASES[2].make()
    objective = Objective(model, loss_fn, data)
    before = products(objective)
    model[1].running_mean.add_(1.0)
    assert not torch.allclose(products(objective), before)


def test_release_frees_and_the_next_product_is_the_same() -> None:
    objective = Objective(network(), F.cross_entropy, batches())
    before = products(objective)
    held = weakref.ref(objective._tapes._point.leaves[0])
    gc.disable()
    try:
        objective.release()
        assert objective.kept_bytes == 0
        assert held() is None  # no reference cycle holds graphs
    finally:
        gc.enable()
    assert torch.equal(products(objective), before)


def test_other_data_share_no_graph() -> None:
    data = batches()
    objective = Objective(network(), F.cross_entropy, data)
    products(objective)
    assert torch.equal(products(objective.on(data[:1])), products(Objective(network(), F.cross_entropy, data[:1])))


def test_nan_loss_names_its_batch() -> None:
    data = batches()
    data[2][0][7, 0] = torch.nan
    objective = Objective(network(), F.cross_entropy, data)
    with pytest.raises(ValueError, match=r"the loss of batch 2 \(counted from 0\) is nan at the present weights"):
        objective.hvp(torch.ones(objective.num_parameters))


@pytest.mark.parametrize("budget", [-1, 1.5, "1 GB", True])
def test_a_wrong_budget_is_refused(budget: Any) -> None:
    with pytest.raises(ValueError, match="memory_budget must be a whole number of bytes >= 0, or None"):
        Objective(network(), F.cross_entropy, batches(), memory_budget=budget)


def test_fifty_products_leave_no_memory_behind() -> None:
    objective = Objective(network(), F.cross_entropy, batches())
    vector = torch.ones(objective.num_parameters, dtype=torch.float64)
    objective.hvp(vector)
    gc.collect()
    before = sum(type(thing) is Tensor for thing in gc.get_objects())
    for _ in range(50):
        objective.hvp(vector)
    assert sum(type(thing) is Tensor for thing in gc.get_objects()) <= before
