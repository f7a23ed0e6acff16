"""Networks and data on which every contract is tested: small enough for a dense float64 Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A model, a loss and data, made afresh from a seed at every call of `make`."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Tensor]
    classes: int = 3
    loss_fn: Callable[[Any, Any], Tensor] = F.cross_entropy

    def make(self, dtype: torch.dtype = torch.float64, cuts: tuple[int, ...] = (5, 7)) -> tuple[nn.Module, Any, list]:
        """Return (model in train mode, loss function, uneven batches)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(20)
            model = self.build().to(dtype)
            x = self.inputs()
            x = x.to(dtype) if x.is_floating_point() else x
            y = torch.randint(self.classes, (len(x),))
        if self.loss_fn is not F.cross_entropy:
            y = torch.linspace(-1, 1, len(x), dtype=dtype)[:, None].expand(-1, self.classes).contiguous()
        batches = list(zip(x.split(list(cuts)), y.split(list(cuts)), strict=True))
        return model, self.loss_fn, batches


class Attention(nn.Module):
    """A pre-LN transformer layer over tokens, on the default (fused) attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.qkv = nn.Linear(4, 12)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        return self.head((x + F.scaled_dot_product_attention(q, k, v)).mean(1))


class Recurrent(nn.Module):
    """An LSTM and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=True)
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Tied(nn.Module):
    """Two linear layers that share one weight, and one parameter that no input reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3))


def _convolutional() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    )
    model[1].running_mean.uniform_(-0.5, 0.5)
    model[1].running_var.uniform_(0.5, 2.0)
    return model


CASES = (
    Case("linear regression", lambda: nn.Linear(4, 3), lambda: torch.randn(12, 4), loss_fn=nn.MSELoss()),
    Case("mlp with dropout", _mlp, lambda: torch.randn(12, 4)),
    Case("cnn with batch norm", _convolutional, lambda: torch.randn(12, 1, 4, 4)),
    Case("attention", Attention, lambda: torch.randint(5, (12, 3))),
    Case("lstm", Recurrent, lambda: torch.randn(12, 3, 2)),
    Case("tied and unused", Tied, lambda: torch.randn(12, 3)),
)
IDS = [case.name for case in CASES]
