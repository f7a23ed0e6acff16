"""GCSAM in a plain loop with a learning-rate schedule: `python examples/plain.py`.

`from_model` reads the kinds of the layers, and holds the statistics of batch norm during the second pass. The closure
is called twice a step and need not clear the gradients; the loss that comes back is the one at the weights themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int) -> list[float]:
    """Train the model in place; return the loss of each step."""
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(batches))
    losses = []
    model.train()
    for _ in range(epochs):
        for x, y in batches:

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                loss = cross_entropy(model(x), y)
                loss.backward()
                return loss

            losses.append(optimizer.step(closure).item())
            scheduler.step()
    return losses


def main() -> None:
    """Train a small network on scikit-learn's images of digits."""
    torch.manual_seed(0)
    images, labels = map(torch.from_numpy, load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(64), labels.split(64), strict=True))
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    losses = train(model, batches, epochs=5)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {len(losses)} steps")


if __name__ == "__main__":
    main()
