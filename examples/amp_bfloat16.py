"""bfloat16 autocast: `python examples/amp_bfloat16.py`.

bfloat16 has the range of float32, so there is no scaler. The weights, epsilon and the norm stay in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int) -> list[float]:
    """Train the model in place, on the device it is on; return the loss of each step."""
    device = next(model.parameters()).device.type
    optimizer = GCSAM.from_model(model, torch.optim.AdamW, rho=0.05, lr=1e-3)
    losses = []
    model.train()
    for _ in range(epochs):
        for x, y in batches:

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                with torch.autocast(device, dtype=torch.bfloat16):
                    loss = cross_entropy(model(x), y)
                loss.backward()
                return loss

            losses.append(optimizer.step(closure).item())
    return losses


def main() -> None:
    """Train a small network on scikit-learn's images of digits."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels = (torch.from_numpy(array).to(device) for array in load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(64), labels.split(64), strict=True))
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to(device)
    losses = train(model, batches, epochs=5)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {len(losses)} steps")


if __name__ == "__main__":
    main()
