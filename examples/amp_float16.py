"""float16 with a GradScaler, by closure and by hand: `python examples/amp_float16.py`.

rho is meant in true units: gradients are unscaled before the norm is taken. An overflow in either pass skips the step,
puts the weights back, and lets the scaler back off. Clip between `scaler.unscale_(optimizer)` and
`scaler.step(optimizer)`, as with any optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM, hold_statistics


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int, *, by_hand: bool) -> None:
    """Train the model in place, on the device it is on."""
    device = next(model.parameters()).device.type
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.05, lr=0.1)
    scaler = torch.amp.GradScaler(device, init_scale=1024.0)

    def backward(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.float16):
            loss = cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        return loss

    model.train()
    for _ in range(epochs):
        for x, y in batches:
            if by_hand:
                backward(x, y)
                optimizer.ascend(zero_grad=True, scaler=scaler)
                with hold_statistics(model):
                    backward(x, y)
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), max_norm=10.0)
                scaler.step(optimizer)
                optimizer.zero_grad()
            else:
                optimizer.step(lambda x=x, y=y: backward(x, y), scaler=scaler)
            scaler.update()


def main() -> None:
    """Train a small network on scikit-learn's images of digits, both ways."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels = (torch.from_numpy(array).to(device) for array in load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(64), labels.split(64), strict=True))
    for by_hand in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10)).to(device)
        train(model, batches, epochs=3, by_hand=by_hand)
        print(
            f"{'by hand' if by_hand else 'by closure'}: loss {cross_entropy(model(batches[0][0]), batches[0][1]):.3f}"
        )


if __name__ == "__main__":
    main()
