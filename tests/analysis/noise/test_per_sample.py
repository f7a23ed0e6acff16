"""Per-sample gradients against plain autograd, one sample at a time, for every kind of layer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis import Objective
from analysis.noise.per_sample import PerSampleGradients, mean_gradient
from tests.analysis.noise.oracle import per_sample
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles import dense


class Attended(nn.Module):
    """Multi-head attention of torch, batch first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Gated(nn.Module):
    """A GRU cell in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 3)
        for step in x.unbind(1):
            h = self.cell(step, h)
        return h


def _grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.GroupNorm(2, 4), nn.Flatten(), nn.LazyLinear(3)
    )


def _normed() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3))


def built(model: nn.Module, x: Tensor) -> nn.Module:
    model(x)  # makes the weights of lazy layers
    return model


ALL = (
    *CASES,
    Case("grouped convolution", lambda: built(_grouped(), torch.randn(1, 2, 5, 5)), lambda: torch.randn(12, 2, 5, 5)),
    Case("layer norm", _normed, lambda: torch.randn(12, 4)),
    Case("multi-head attention", Attended, lambda: torch.randn(12, 3, 4)),
    Case("gru cell", Gated, lambda: torch.randn(12, 4, 2)),
)
ALL_IDS = [*IDS, "grouped", "layer norm", "multi-head", "gru"]


def gradients(objective: Objective, chunk: int | None = None) -> tuple[dict[str, Tensor], PerSampleGradients]:
    """All chunks put together."""
    with objective.measuring(with_grad=True):
        found = PerSampleGradients(objective, objective.state(), chunk)
        pieces = list(found)
    return {name: torch.cat([piece[name] for piece in pieces]) for name in objective.names}, found


@pytest.mark.parametrize("case", ALL, ids=ALL_IDS)
def test_each_gradient_is_that_of_its_sample_alone(case: Case) -> None:
    model, loss_fn, batches = case.make()
    found, _ = gradients(Objective(model, loss_fn, batches))
    expected = per_sample(model, loss_fn, batches)
    for name, gradient in found.items():
        assert_close(gradient, expected[name], relative=1e-12, absolute=1e-14)  # float64 on both sides


@pytest.mark.parametrize("case", ALL, ids=ALL_IDS)
def test_the_loop_gives_what_vmap_gives(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Any, samples: Any) -> Any:
        raise RuntimeError("no batching rule")

    monkeypatch.setattr(PerSampleGradients, "_by_vmap", refused)
    model, loss_fn, batches = case.make()
    found, how = gradients(Objective(model, loss_fn, batches))
    assert how.method == "loop"
    expected = per_sample(model, loss_fn, batches)
    for name, gradient in found.items():
        assert_close(gradient, expected[name], relative=1e-12, absolute=1e-14)


def test_plain_networks_go_by_vmap_and_recurrent_ones_by_the_loop() -> None:
    """Fails if vmap's own slow path over a recurrent layer is taken, or if everything silently loops."""
    methods = {case.name: gradients(Objective(*case.make()))[1].method for case in CASES}
    assert methods == {case.name: "loop" if case.name == "lstm" else "vmap" for case in CASES}


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_hold_no_more_than_asked_for_and_change_nothing(chunk: int) -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    with objective.measuring(with_grad=True):
        pieces = list(PerSampleGradients(objective, objective.state(), chunk))
    sizes = [len(piece["0.weight"]) for piece in pieces]
    assert sum(sizes) == 12
    assert max(sizes) <= chunk
    assert_close(
        torch.cat([piece["0.weight"] for piece in pieces]), gradients(objective)[0]["0.weight"], relative=1e-12
    )


def test_mean_gradient_is_that_of_the_whole() -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    with objective.measuring(with_grad=True):
        mean = mean_gradient(objective, objective.state())
    assert (mean.num_samples, mean.count) == (12, 12.0)
    assert_close(mean.vector, dense.gradient(model, loss_fn, batches), relative=1e-12)


def test_only_the_chosen_weights() -> None:
    model, loss_fn, batches = CASES[1].make()
    found, _ = gradients(Objective(model, loss_fn, batches, parameters=["3.*"]))
    expected = per_sample(model, loss_fn, batches)
    assert list(found) == ["3.weight", "3.bias"]
    assert_close(found["3.weight"], expected["3.weight"], relative=1e-12)


def test_a_loss_that_compares_samples_is_refused() -> None:
    model = nn.Linear(3, 2)
    x = torch.randn(8, 3)

    def contrast(output: Tensor, target: Tensor) -> Tensor:
        return (output[:, None] - output[None]).square().mean()

    objective = Objective(model, contrast, [(x, x)])
    with objective.measuring(with_grad=True):
        mean = mean_gradient(objective, objective.state())
        found = PerSampleGradients(objective, objective.state())
        list(found)
    with pytest.raises(ValueError, match=r"the loss must be a sum over samples, got loss [^\n]* has no per-sample"):
        found.check_additive(mean)


def test_a_bug_in_the_users_loss_is_raised_as_it_is() -> None:
    def broken(output: Tensor, target: Tensor) -> Tensor:
        if len(output) == 1:
            raise RuntimeError("mine")
        return F.mse_loss(output, target)

    objective = Objective(nn.Linear(3, 3), broken, [(torch.randn(4, 3), torch.randn(4, 3))])
    with pytest.raises(RuntimeError, match="mine"):
        gradients(objective)


def test_the_model_is_not_trained_on() -> None:
    model, loss_fn, batches = CASES[2].make()
    before = copy.deepcopy(model.state_dict())
    gradients(Objective(model, loss_fn, batches))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
