"""What a run remembers: one row per epoch, one entry per step, and the share of the gradient that P keeps.

Right when q equals a value formed by hand (`tests/gcsam/training/test_history.py`). Cost: for q, one pass over the
gradient per epoch; nothing otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gcsam.centralize import centralize, module_dims

__all__ = ["History", "ascent_ratios", "centralized_layers"]

_EPOCH = {
    "epoch": torch.int64,
    "train_loss": torch.float64,
    "train_accuracy": torch.float64,
    "validation_loss": torch.float64,
    "validation_accuracy": torch.float64,
    "learning_rate": torch.float64,
    "gradient_norm": torch.float64,
    "seconds": torch.float64,
    "gradient_evaluations": torch.int64,
    "ascent_ratio_total": torch.float64,
    "ascent_ratio": torch.float64,
}
_STEP = ("step_loss", "step_seconds")
_DRIFT = dict.fromkeys(("severity", "online_accuracy", "current_accuracy"), torch.float64)


class History:
    """Rows of numbers that grow epoch by epoch.

    Args:
        layers: Length of a row of ascent_ratio.
        stored: What `tensors` returned, to go on from.
        drifts: Whether a row has the columns of a drift.
    """

    def __init__(self, layers: int, stored: Mapping[str, Tensor] | None = None, *, drifts: bool = False) -> None:
        self._layers = layers
        self._epoch = _EPOCH | _DRIFT if drifts else _EPOCH
        names = (*self._epoch, *_STEP)
        self._rows: dict[str, list[Any]] = {name: [] if stored is None else stored[name].tolist() for name in names}

    def add_step(self, loss: float, seconds: float) -> None:
        """Add a step.

        Args:
            loss: At the weights before it.
            seconds: It took.
        """
        self._rows["step_loss"].append(loss)
        self._rows["step_seconds"].append(seconds)

    def add_epoch(self, **row: Any) -> None:
        """Add an epoch.

        Args:
            **row: Every name of a row.
        """
        for name in self._epoch:
            self._rows[name].append(row[name])

    def total(self, name: str) -> float:
        """Return the sum of a column.

        Args:
            name: Of the column.
        """
        return float(sum(self._rows[name]))

    def median(self, name: str) -> float:
        """Return the median of a column.

        Args:
            name: Of the column.
        """
        return float(torch.tensor(self._rows[name], dtype=torch.float64).quantile(0.5))

    def last(self) -> dict[str, float]:
        """Return the numbers of the last epoch."""
        return {name: self._rows[name][-1] for name in self._epoch if name != "ascent_ratio"}

    def tensors(self) -> dict[str, Tensor]:
        """Return all columns: [epoch], [epoch, layer] or [step]."""
        found = {name: torch.tensor(self._rows[name], dtype=dtype) for name, dtype in self._epoch.items()}
        found["ascent_ratio"] = found["ascent_ratio"].reshape(len(self._rows["epoch"]), self._layers)
        return found | {name: torch.tensor(self._rows[name], dtype=torch.float64) for name in _STEP}


def centralized_layers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters that P acts on.

    Args:
        model: Any network.
    """
    return tuple(name for name, dims in module_dims(model).items() if dims)


def ascent_ratios(model: nn.Module) -> tuple[float, list[float]]:
    """Return q = ||Pg|| / ||g|| of the present gradients.

    Args:
        model: After a backward pass.

    Returns:
        q over all parameters, and for each of `centralized_layers`; NaN where the gradient is 0 or missing.
    """
    raw, kept, layers = [], [], []
    dims = module_dims(model)
    for name, parameter in model.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        norm = gradient.double().norm()
        norm_kept = centralize(gradient.double(), dims[name]).norm() if dims[name] else norm
        raw.append(norm)
        kept.append(norm_kept)
        if dims[name]:
            layers.append(norm_kept / norm)
    ratios = [torch.stack(kept).norm() / torch.stack(raw).norm(), *layers]
    total, *each = torch.stack(ratios).tolist()  # one transfer from the device
    return total, each
