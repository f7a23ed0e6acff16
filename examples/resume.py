"""Stop and go on, bit for bit: `python examples/resume.py`.

The optimizer's state is that of the base optimizer and the options of each group; the weights are in the model's state
alone. The file loads with weights_only=True, which runs no code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gcsam import GCSAM


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], path: Path, epochs: int) -> None:
    """Train the model in place up to a number of epochs, from the file if there is one."""
    optimizer = GCSAM.from_model(model, torch.optim.AdamW, rho=0.05, lr=1e-3)
    first = 0
    if path.is_file():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
    model.train()
    for epoch in range(first, epochs):
        for x, y in batches:
            optimizer.step(lambda x=x, y=y: cross_entropy(model(x), y).backward())
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        torch.save(state, path)


def network() -> nn.Module:
    """Return a small network, the same at every call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


def main() -> None:
    """Train twice on images of digits: in one go, and stopped half-way."""
    images, labels = map(torch.from_numpy, load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(64), labels.split(64), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        whole, stopped = network(), network()
        train(whole, batches, Path(folder, "whole.pt"), epochs=4)
        train(network(), batches, Path(folder, "stopped.pt"), epochs=2)
        train(stopped, batches, Path(folder, "stopped.pt"), epochs=4)
    same = all(torch.equal(a, b) for a, b in zip(whole.parameters(), stopped.parameters(), strict=True))
    print("the same weights, bit for bit" if same else "different weights")


if __name__ == "__main__":
    main()
