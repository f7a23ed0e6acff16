"""From a configuration to an optimizer."""

from __future__ import annotations

import torch
from torch import nn

from gcsam.training import TrainConfig
from gcsam.training.optimizers import build_optimizer, set_learning_rate


def test_settings_reach_the_base_optimizer() -> None:
    config = TrainConfig(method="gcsam", lr=0.3, momentum=0.7, weight_decay=0.01, rho=0.2, adaptive=True)
    optimizer = build_optimizer(nn.Linear(2, 2), config)
    assert isinstance(optimizer.base_optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert [group[name] for name in ("lr", "momentum", "weight_decay", "rho", "adaptive")] == [
        0.3,
        0.7,
        0.01,
        0.2,
        True,
    ]


def test_axes_go_by_module_type() -> None:
    """A transposed convolution has its filters along the second axis, which shapes alone do not tell."""
    model = nn.ConvTranspose2d(3, 5, 2)
    optimizer = build_optimizer(model, TrainConfig(method="gc", lr=1.0, momentum=0.0, weight_decay=0.0))
    before = model.weight.detach().clone()
    optimizer.step(lambda: model(torch.randn(2, 3, 4, 4)).square().sum().backward())
    change = (model.weight.detach() - before).mean((0, 2, 3))
    torch.testing.assert_close(change, torch.zeros(5), rtol=0, atol=1e-5)


def test_rate_is_set_in_all_groups() -> None:
    optimizer = build_optimizer(nn.Linear(2, 2), TrainConfig())
    set_learning_rate(optimizer, 0.125)
    assert {group["lr"] for group in optimizer.param_groups} == {0.125}
    assert {group["lr"] for group in optimizer.base_optimizer.param_groups} == {0.125}
