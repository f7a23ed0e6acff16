"""A probe in the Trainer of Hugging Face transformers.

Right when a training with the callback ends in the same bits as one without it, and rows are those of direct
measurements at these steps (`tests/landscape/callbacks/test_huggingface.py`). Cost: that of `analysis.Probe`, within
its budget.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from landscape.callbacks.watcher import MakeObjective, Watcher

_BASE: Any = importlib.import_module("transformers").TrainerCallback


class ProbeCallback(_BASE):  # type: ignore[misc]
    """Measure a network while a Trainer trains it; `analysis.Probe` says what, when and at which cost.

    One process measures, the first one; sharded models cannot be measured.

    Args:
        objective: Called with the model, on its device, when training starts; returns an `analysis.Objective` on a
            small fixed set. Models that return their loss take `batch_loss`.
        path: Result file.
        **options: Further arguments of `analysis.Probe`: schedule, budget, quantities and so on. A training that goes
            on from a checkpoint keeps the rows up to it.

    Example:
        >>> import torch
        >>> from analysis import Objective, every
        >>> def batch_loss(model, batch):
        ...     count = len(batch["labels"])
        ...     return model(**batch)["loss"] * count, count
        >>> batches = [{"x": torch.zeros(4, 2), "labels": torch.zeros(4, dtype=torch.int64)}]
        >>> probe = ProbeCallback(lambda model: Objective(model, batch_loss=batch_loss, data=batches), "run.h5",
        ...                       schedule=every(50))  # Trainer(..., callbacks=[probe])
    """

    def __init__(self, objective: MakeObjective, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__()
        self.watcher = Watcher(objective, path, **options)

    def on_train_begin(
        self, _args: Any, state: Any, _control: Any, *, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        """Make the probe, and measure before the first step."""
        if state.is_world_process_zero:
            self.watcher.begin(model, optimizer, state.global_step)

    def on_pre_optimizer_step(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        """Keep the learning rate of the step, which is another one when the step is done."""
        self.watcher.note_rates(optimizer)

    def on_step_end(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Count the step; measure if it is time."""
        self.watcher.step(state.global_step, state.epoch)

    def on_epoch_end(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Measure if the schedule goes by epochs."""
        self.watcher.end_epoch(round(state.epoch))

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Write what was left out."""
        self.watcher.close()
