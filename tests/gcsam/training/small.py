"""Runs that take a fraction of a second."""

from __future__ import annotations

from typing import Any

from gcsam.training import TrainConfig

NETS = "tests.gcsam.training.nets"


def small(**settings: Any) -> TrainConfig:
    """An MLP on 60 images of 4 x 4 pixels in 3 classes, two epochs of 4 batches."""
    given = {"data": f"{NETS}:data", "model": "mlp", "epochs": 2, "batch_size": 16, "device": "cpu", **settings}
    return TrainConfig(**given)
