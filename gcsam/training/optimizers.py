"""From a configuration to `gcsam.GCSAM`: every method is that one optimizer, its switches apart.

Right when each method's name gives the switches of `METHODS` (`tests/gcsam/training/test_optimizers.py`). Cost: none.
"""

from __future__ import annotations

import torch
from torch import nn

from gcsam.optimizer import GCSAM
from gcsam.training.config import TrainConfig

__all__ = ["build_optimizer", "set_learning_rate"]


def build_optimizer(model: nn.Module, config: TrainConfig) -> GCSAM:
    """Build the optimizer of a run.

    Args:
        model: Whose parameters it steps, and whose module types decide the axes of P.
        config: Its method, base optimizer and their settings.

    Returns:
        GCSAM around the base optimizer; rho is 0 for a method without ascent.
    """
    return GCSAM.from_model(model, getattr(torch.optim, config.optimizer), **config.optimizer_arguments())


def set_learning_rate(optimizer: GCSAM, rate: float) -> None:
    """Set the learning rate of all groups.

    Args:
        optimizer: Is changed.
        rate: > 0.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
