"""Further arguments of a base optimizer: what reaches it, and one line for every mistake."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gcsam.training import OPTIMIZERS, TrainConfig
from gcsam.training.optimizers import build_optimizer

GOOD: dict[str, dict[str, Any]] = {
    "SGD": {"nesterov": True, "foreach": False},
    "Adam": {"betas": [0.8, 0.99], "eps": 1e-6, "amsgrad": True},
    "AdamW": {"betas": (0.8, 0.99)},
    "Adafactor": {"beta2_decay": -0.7, "d": 2.0},
    "Adamax": {"betas": [0.8, 0.99]},
    "NAdam": {"momentum_decay": 0.01, "decoupled_weight_decay": True},
    "RAdam": {"eps": 1e-6},
    "Adagrad": {"lr_decay": 0.1, "initial_accumulator_value": 0.5},
    "RMSprop": {"alpha": 0.9, "centered": True},
    "ASGD": {"lambd": 1e-3, "t0": 5.0},
    "Rprop": {"etas": [0.4, 1.3], "step_sizes": [1e-5, 10]},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_options_reach_the_base_optimizer_and_json_gives_them_back(name: str) -> None:
    config = TrainConfig(optimizer=name, optimizer_options=GOOD[name])
    assert TrainConfig.from_json(config.to_json()) == config
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, config)
    (group,) = optimizer.base_optimizer.param_groups
    for option, value in GOOD[name].items():
        assert group[option] == (tuple(value) if isinstance(value, list) else value)
    optimizer.step(lambda: model(torch.ones(1, 2)).sum().backward())


def test_nothing_else_of_torch_could_be_listed() -> None:
    """Fails when torch gains an optimizer that nobody decided about."""
    found = {name for name, value in vars(torch.optim).items() if isinstance(value, type)}
    left_out = {"Optimizer", "Adadelta", "LBFGS", "Muon", "SparseAdam"}
    assert found - left_out == set(OPTIMIZERS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer_options": 3}, "^optimizer_options must be a valid dictionary, got 3$"),
        (
            {"optimizer_options": {"lr": 0.1}},
            "^optimizer_options must leave out lr, got 0.1; it is a setting of its own",
        ),
        ({"optimizer_options": {"weight_decay": 0.1}}, "must leave out weight_decay, got 0.1; .*: give weight_decay$"),
        (
            {"optimizer_options": {"maximize": True}},
            "^optimizer_options must leave out maximize, got True: the loss is",
        ),
        ({"optimizer_options": {"differentiable": True}}, "must leave out differentiable, got True: no gradient of a"),
        (
            {"optimizer_options": {"nesterow": True}},
            "^optimizer_options for SGD: 'nesterow' is unknown; choose one of dampening, .*mean 'nesterov'[?]$",
        ),
        ({"optimizer": "Adam", "optimizer_options": {"params": []}}, "'params' is unknown"),
        (
            {"optimizer": "Adam", "optimizer_options": {"eps": float("nan")}},
            "^optimizer_options eps must be a finite number, true or false, or a list of numbers, got nan$",
        ),
        ({"optimizer": "Adam", "optimizer_options": {"betas": [0.9, float("inf")]}}, "betas must be a finite .*inf"),
        ({"optimizer": "Adam", "optimizer_options": {"eps": "small"}}, "eps must be a finite number, .*got 'small'$"),
        (
            {"optimizer": "Adam", "optimizer_options": {"betas": [0.9, 2.0]}},
            r"^optimizer_options betas=\[0.9, 2.0\] are refused by Adam: Invalid beta parameter at index 1: 2.0$",
        ),
        (
            {"optimizer": "Adam", "optimizer_options": {"betas": 0.9}},
            "^optimizer_options betas=0.9 are refused by Adam",
        ),
        ({"momentum": 0.0, "optimizer_options": {"nesterov": True}}, "are refused by SGD: Nesterov momentum requires"),
    ],
)
def test_each_mistake_is_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig(**settings)
    assert "\n" not in str(caught.value)


def test_another_optimizer_has_other_options() -> None:
    config = TrainConfig(optimizer_options={"nesterov": True})
    assert config.replace(optimizer="Adam").optimizer_options == {}
    assert config.replace(lr=0.5).optimizer_options == {"nesterov": True}
