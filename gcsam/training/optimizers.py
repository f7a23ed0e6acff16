"""From a configuration to `gcsam.GCSAM` and its learning rate: every method is that one optimizer, its switches apart.

Right when each method's name gives the switches of `METHODS` and the schedule its closed form
(`tests/gcsam/training/test_optimizers.py`). Cost: none.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from gcsam.optimizer import GCSAM
from gcsam.training.config import TrainConfig

__all__ = ["build_optimizer", "learning_rate", "set_learning_rate"]


def build_optimizer(model: nn.Module, config: TrainConfig) -> GCSAM:
    """Build the optimizer of a run.

    Args:
        model: Whose parameters it steps, and whose module types decide the axes of P.
        config: Its method, base optimizer and their settings.

    Returns:
        GCSAM around the base optimizer; rho is 0 for a method without ascent.
    """
    return GCSAM.from_model(model, getattr(torch.optim, config.optimizer), **config.optimizer_arguments())


def learning_rate(config: TrainConfig, step: int, total_steps: int) -> float:
    """Return the learning rate of one step.

    Args:
        config: Its `lr` and `schedule`.
        step: From 0.
        total_steps: Of the whole run.

    Returns:
        lr, or lr * (1 + cos(pi * step / total_steps)) / 2: above 0 at every step (Loshchilov and Hutter 2017).

    Example:
        >>> [round(learning_rate(TrainConfig(lr=1.0), step, 4), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    if config.schedule == "constant":
        return config.lr
    return config.lr * (1 + math.cos(math.pi * step / total_steps)) / 2


def set_learning_rate(optimizer: GCSAM, rate: float) -> None:
    """Set the learning rate of all groups.

    Args:
        optimizer: Is changed.
        rate: > 0.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
