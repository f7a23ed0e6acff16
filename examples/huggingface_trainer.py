"""Hugging Face Trainer: `python examples/huggingface_trainer.py`.

`training_step` runs both passes with the ascent between them; the Trainer then clips the second gradient (its
max_grad_norm is 1.0 by default) and calls `optimizer.step()`, which is `descend()`. With gradient_accumulation_steps
above 1 the Trainer calls `training_step` once per micro-batch, so there would be several ascents per step: not for use
with it; a larger batch or the loop of `accumulation.py` is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainingArguments

from gcsam import GCSAM, hold_statistics


class GCSAMTrainer(Trainer):
    """A Trainer whose steps have two passes."""

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        """Leave the gradient at w + epsilon, and return the loss at w."""
        loss = super().training_step(model, dict(inputs), *rest)
        self.optimizer.optimizer.ascend(zero_grad=True)
        with hold_statistics(model):
            super().training_step(model, dict(inputs), *rest)
        return loss


class Classifier(nn.Module):
    """A network that answers as the Trainer expects."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss and the class scores."""
        logits = self.model(x)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


def train(model: nn.Module, examples: Sequence[dict[str, Tensor]], folder: str, **arguments: Any) -> float:
    """Train the model in place; return the mean loss."""
    classifier = Classifier(model)
    settings = TrainingArguments(folder, report_to="none", save_strategy="no", remove_unused_columns=False, **arguments)
    optimizer = GCSAM.from_model(classifier, torch.optim.AdamW, rho=0.05, lr=settings.learning_rate)
    trainer = GCSAMTrainer(classifier, settings, train_dataset=examples, optimizers=(optimizer, None))
    return float(trainer.train().training_loss)


def main() -> None:
    """Train a small network on scikit-learn's images of digits."""
    torch.manual_seed(0)
    images, labels = map(torch.from_numpy, load_digits(return_X_y=True))
    examples = [{"x": x.float() / 16, "labels": y} for x, y in zip(images, labels, strict=True)]
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    with tempfile.TemporaryDirectory() as folder:
        loss = train(model, examples, folder, num_train_epochs=3, per_device_train_batch_size=64, learning_rate=3e-3)
    print(f"mean loss {loss:.3f}")


if __name__ == "__main__":
    main()
