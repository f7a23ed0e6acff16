"""Gradient accumulation and clipping in the closure: `python examples/accumulation.py`.

The closure runs all micro-batches, so both passes see the gradient of the whole batch. Clipping at its end clips what
the base optimizer sees; in the first pass it does nothing, because epsilon does not depend on the gradient's length.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int, micro_batch: int) -> list[float]:
    """Train the model in place; return the mean loss of each whole batch."""
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9)
    losses = []
    model.train()
    for _ in range(epochs):
        for x, y in batches:

            def closure(x: Tensor = x, y: Tensor = y) -> float:
                total = 0.0
                for part, labels in zip(x.split(micro_batch), y.split(micro_batch), strict=True):
                    loss = cross_entropy(model(part), labels, reduction="sum") / len(x)
                    loss.backward()
                    total += loss.item()
                nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
                return total

            losses.append(optimizer.step(closure))
    return losses


def main() -> None:
    """Train a small network on scikit-learn's images of digits."""
    torch.manual_seed(0)
    images, labels = map(torch.from_numpy, load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(256), labels.split(256), strict=True))
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    losses = train(model, batches, epochs=10, micro_batch=32)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {len(losses)} steps")


if __name__ == "__main__":
    main()
