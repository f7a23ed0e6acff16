"""GCSAM by hand, with clipping between the halves: `python examples/by_hand.py`.

Backward, `ascend`, backward again, `descend`. The second forward pass runs inside `hold_statistics`, so that batch norm
takes its statistics from the weights themselves. Clipping after the second backward clips what the base optimizer sees;
clipping before `ascend` would change nothing, because epsilon does not depend on the length of the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM, hold_statistics


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int) -> list[float]:
    """Train the model in place; return the loss of each step."""
    optimizer = GCSAM.from_model(model, torch.optim.AdamW, rho=0.05, lr=1e-3)
    losses = []
    model.train()
    for _ in range(epochs):
        for x, y in batches:
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.ascend(zero_grad=True)
            with hold_statistics(model):
                cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.descend(zero_grad=True)
            losses.append(loss.item())
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
