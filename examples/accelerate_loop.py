"""Hugging Face Accelerate: `python examples/accelerate_loop.py`, or `accelerate launch examples/accelerate_loop.py`.

Its optimizer passes the closure on but not the loss, so the closure keeps the losses. Under mixed_precision="fp16" it
calls `scaler.step(optimizer)` without closure: write the halves by hand there, as in `amp_float16.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int) -> list[float]:
    """Train the model in place; return the loss of each step."""
    accelerator = Accelerator()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9)
    loader = torch.utils.data.DataLoader(list(batches), batch_size=None)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    losses: list[float] = []
    model.train()
    for _ in range(epochs):
        for x, y in loader:
            passes: list[float] = []

            def closure(x: Tensor = x, y: Tensor = y, passes: list[float] = passes) -> None:
                loss = cross_entropy(model(x), y)
                accelerator.backward(loss)
                passes.append(loss.item())

            optimizer.step(closure)
            losses.append(passes[0])
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
