"""Gradient by plain autograd on a float64 copy of the model, Hessian by central differences of that gradient.

Shares no path with `analysis`: no functional_call, no double backward, no batching. Blind to: a gradient that autograd
itself gets wrong; relative errors below about 1e-8.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


def _whole(batches: list) -> tuple[Any, Tensor]:
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def gradient(model: nn.Module, loss_fn: Any, batches: list, weights: Tensor | None = None) -> Tensor:
    """Return the gradient [D] of the mean loss by the trainable parameters, in float64, in eval mode."""
    twin = copy.deepcopy(model).double().eval()
    parameters = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    if weights is not None:
        nn.utils.vector_to_parameters(weights, parameters)
    x, y = _whole(batches)
    x, y = (value.double() if value.is_floating_point() else value for value in (x, y))
    loss_fn(twin(x), y).backward()
    return torch.cat([torch.zeros(p.numel()).double() if p.grad is None else p.grad.flatten() for p in parameters])


def weights(model: nn.Module) -> Tensor:
    """Return the trainable weights [D] in float64."""
    return torch.cat([p.detach().double().flatten() for p in model.parameters() if p.requires_grad])


def hessian(model: nn.Module, loss_fn: Any, batches: list) -> Tensor:
    """Return the Hessian [D, D] in float64, symmetrized."""
    w = weights(model)
    h = 1e-5  # about eps^(1/3): truncation h^2 = 1e-10 and rounding eps/h = 2e-11, relative to unit scales
    rows = []
    for step in h * torch.eye(len(w), dtype=torch.float64):
        plus, minus = (gradient(model, loss_fn, batches, w + sign * step) for sign in (1, -1))
        rows.append((plus - minus) / (2 * h))
    dense = torch.stack(rows)
    return (dense + dense.T) / 2
