"""Symmetric operators with a chosen spectrum, that count their products; and a small trained network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dense:
    """A symmetric matrix as an operator."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.calls = 0

    @property
    def num_parameters(self) -> int:
        return len(self.matrix)

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    def hvp(self, vector: Tensor) -> Tensor:
        self.calls += 1
        return self.matrix @ vector


def with_spectrum(eigenvalues: list[float] | Tensor, dtype: torch.dtype = torch.float64) -> Dense:
    """Return Q diag(eigenvalues) Q^T with a random orthogonal Q."""
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    gaussian = torch.randn(len(values), len(values), dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    q = torch.linalg.qr(gaussian)[0]
    matrix = q @ torch.diag(values) @ q.T
    return Dense(((matrix + matrix.T) / 2).to(dtype))


def trained_mlp() -> tuple[nn.Module, nn.Module, list]:
    """A tanh network of 244 parameters after 150 steps of Adam on 256 samples, in uneven batches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 14), nn.Tanh(), nn.Linear(14, 6), nn.Tanh(), nn.Linear(6, 4))
        x, y = torch.randn(256, 8), torch.randint(4, (256,))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
    return model, loss_fn, list(zip(x.split([200, 56]), y.split([200, 56]), strict=True))
