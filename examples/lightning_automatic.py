"""Lightning with automatic optimization: `python examples/lightning_automatic.py`.

Lightning hands its closure to `optimizer.step`, and GCSAM calls it twice: `training_step` runs twice per batch. What it
logs would be a mixture of both passes, so the loss is logged where the step returns it: that of the weights themselves.
float16 ("16-mixed") needs manual optimization, because Lightning runs the closure once before it unscales.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM


class Classifier(lightning.LightningModule):
    """A classifier of digits."""

    def __init__(self, model: nn.Module, total_steps: int) -> None:
        super().__init__()
        self.model, self.total_steps = model, total_steps

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        x, y = batch
        return cross_entropy(self.model(x), y)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: LightningOptimizer, closure: Callable[[], Any] | None = None
    ) -> None:
        """Take one step of two passes and log the loss of the first."""
        self.log("train_loss", optimizer.step(closure=closure), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return GCSAM and a schedule by steps."""
        optimizer = GCSAM.from_model(self, torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int, **trainer: Any) -> float:
    """Train the model in place; return the last logged loss."""
    fitted = lightning.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, **trainer)
    loader = torch.utils.data.DataLoader(list(batches), batch_size=None)
    fitted.fit(Classifier(model, epochs * len(batches)), loader)
    return float(fitted.logged_metrics["train_loss"])


def main() -> None:
    """Train a small network on scikit-learn's images of digits."""
    torch.manual_seed(0)
    images, labels = map(torch.from_numpy, load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(64), labels.split(64), strict=True))
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    print(f"loss {train(model, batches, epochs=5):.3f}")


if __name__ == "__main__":
    main()
