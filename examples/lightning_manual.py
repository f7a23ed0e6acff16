"""Lightning with manual optimization: `python examples/lightning_manual.py`.

The step stands in `training_step`, where its loss is at hand. Going through Lightning's wrapper of the optimizer lets
the trainer count the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM


class Classifier(lightning.LightningModule):
    """A classifier of digits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Take one step of two passes and log the loss of the first."""
        x, y = batch

        def closure() -> Tensor:
            loss = cross_entropy(self.model(x), y)
            self.manual_backward(loss)
            return loss

        optimizer: Any = self.optimizers()
        self.log("train_loss", optimizer.step(closure=closure), prog_bar=True)

    def configure_optimizers(self) -> GCSAM:
        """Return GCSAM."""
        return GCSAM.from_model(self, torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9)


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int, **trainer: Any) -> float:
    """Train the model in place; return the last logged loss."""
    fitted = lightning.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, **trainer)
    fitted.fit(Classifier(model), torch.utils.data.DataLoader(list(batches), batch_size=None))
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
