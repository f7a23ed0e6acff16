"""Every scale-invariant measure leaves the model as found, and does not mind the caller's modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from analysis import (
    Objective,
    critical_sharpness,
    fisher_rao_norm,
    normalized_logits,
    pac_bayes_sigma,
    relative_flatness,
    sharpness,
    weight_norm,
)
from tests.cases import CASES

CALLS: dict[str, Callable[[Objective], Any]] = {
    "critical": critical_sharpness,
    "fisher-rao": fisher_rao_norm,
    "fisher-rao, model": lambda objective: fisher_rao_norm(objective, "model"),
    "norm": lambda objective: weight_norm(objective, objective.model.state_dict()),
    "SAM": lambda objective: sharpness(objective, steps=0),
    "centralized": lambda objective: sharpness(objective, subspace="centralized", steps=3),
    "filters": lambda objective: sharpness(objective, adaptive="filters", steps=3),
    "logits": lambda o: sharpness(o.with_loss(normalized_logits(nn.CrossEntropyLoss())), steps=3),
    "sigma": lambda objective: pac_bayes_sigma(objective, samples=2),
    "relative": lambda objective: relative_flatness(objective, max_hvps=10),
}


@pytest.mark.parametrize("name", CALLS)
def test_everything_is_left_as_found_in_every_mode(name: str) -> None:
    model, loss_fn, batches = CASES[2].make()
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    objective = Objective(model, loss_fn, batches)
    plain = CALLS[name](objective)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert CALLS[name](objective) == plain
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)
