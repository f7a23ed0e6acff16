"""A probe in Lightning's Trainer, of the package `lightning` or `pytorch_lightning`, whichever is there.

Right when a training with the callback ends in the same bits as one without it, under automatic and manual
optimization, and rows are those of direct measurements at these steps (`tests/landscape/callbacks/test_lightning.py`).
Cost: that of `analysis.Probe`, within its budget.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from landscape.callbacks.watcher import MakeObjective, Watcher

# The package that the user has imported comes first, because a Trainer wants callbacks of its own package.
_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def _callback_class() -> Any:
    for package in (*(name for name in _PACKAGES if name in sys.modules), *_PACKAGES):
        try:
            return importlib.import_module(package).Callback
        except ModuleNotFoundError as error:
            if error.name not in {package, package.partition(".")[0]}:
                raise  # it is there, and lacks something of its own
    raise ModuleNotFoundError(
        "landscape.callbacks.lightning needs Lightning, and neither lightning nor pytorch_lightning can be imported; "
        "pip install pytorch-lightning"
    )


class ProbeCallback(_callback_class()):  # type: ignore[misc]
    """Measure a LightningModule while it is trained; `analysis.Probe` says what, when and at which cost.

    One process measures, the first one; sharded modules cannot be measured. With several optimizers no learning rate is
    recorded.

    Args:
        objective: Called with the LightningModule, on its device, when training starts; returns an
            `analysis.Objective` on a small fixed set. Its loss is to be called on the network inside, because a
            LightningModule's own steps log.
        path: Result file.
        **options: Further arguments of `analysis.Probe`: schedule, budget, quantities and so on. A training that goes
            on from a checkpoint keeps the rows up to it.

    Example:
        >>> import torch
        >>> from analysis import Objective, every
        >>> from torch.nn.functional import cross_entropy
        >>> batches = [(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))]
        >>> probe = ProbeCallback(lambda module: Objective(module.model, cross_entropy, batches), "run.h5",
        ...                       schedule=every(50))  # Trainer(callbacks=[probe])
    """

    def __init__(self, objective: MakeObjective, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__()
        self.watcher = Watcher(objective, path, **options)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Make the probe, and measure before the first step."""
        if trainer.is_global_zero:
            only = trainer.optimizers[0] if len(trainer.optimizers) == 1 else None
            self.watcher.begin(module, only, trainer.global_step)

    def on_before_optimizer_step(self, trainer: Any, _module: Any, optimizer: Any) -> None:
        """Keep the learning rate of the step, which is another one when the step is done."""
        if len(trainer.optimizers) == 1:
            self.watcher.note_rates(optimizer)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Count the step, if the batch ended one; measure if it is time."""
        self.watcher.step(trainer.global_step, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        """Measure if the schedule goes by epochs."""
        self.watcher.end_epoch(trainer.current_epoch + 1)

    def on_train_end(self, *_: Any) -> None:
        """Write what was left out."""
        self.watcher.close()

    def on_exception(self, *_: Any) -> None:
        """Write what was left out before an error, or Ctrl-C, that ends the training."""
        self.watcher.close()
