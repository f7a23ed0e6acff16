"""Every scale-invariant measure leaves the model as found, and does not mind the caller's modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from analysis import Objective, critical_sharpness, fisher_rao_norm, pac_bayes_sigma, relative_flatness
from tests.cases import CASES

CALLS: dict[str, Callable[[Objective], Any]] = {
    "critical": critical_sharpness,
    "fisher-rao": fisher_rao_norm,
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
