"""Noise by its definition: every per-sample gradient by plain autograd on a float64 copy, all kept in one matrix.

Shares no path with `analysis.noise`: no vmap, no chunks, no running moments. The random directions of the control are
taken from `control_directions`, which has tests of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.noise.control import control_directions
from gcsam.centralize import module_dims

KINDS = ("raw", "centralized", "control")


def per_sample(model: nn.Module, loss_fn: Callable[..., Tensor], batches: list) -> dict[str, Tensor]:
    """Return parameter name to gradients [N, *shape], zeros where the loss does not reach."""
    twin = copy.deepcopy(model).double().eval()
    names, parameters = zip(*twin.named_parameters(), strict=True)
    rows: dict[str, list[Tensor]] = {name: [] for name in names}
    for inputs, targets in batches:
        for i in range(len(inputs)):
            x = inputs[i : i + 1]
            y = targets[i : i + 1]
            x, y = (value.double() if value.is_floating_point() else value for value in (x, y))
            found = torch.autograd.grad(loss_fn(twin(x), y), parameters, allow_unused=True)
            for name, parameter, gradient in zip(names, parameters, found, strict=True):
                rows[name].append(torch.zeros_like(parameter) if gradient is None else gradient)
    return {name: torch.stack(gradients) for name, gradients in rows.items()}


def projected(model: nn.Module, gradients: dict[str, Tensor], seed: int) -> dict[str, dict[str, Tensor]]:
    """Return kind to gradients: as they are, without row means, without the component along a random direction."""
    dims = module_dims(model)
    random = control_directions({name: g.shape[1:] for name, g in gradients.items()}, dims, seed)
    found: dict[str, dict[str, Tensor]] = {kind: {} for kind in KINDS}
    for name, g in gradients.items():
        axes = [axis + 1 for axis in dims[name]]
        found["raw"][name] = g
        found["centralized"][name] = g - g.mean(axes, keepdim=True) if axes else g
        found["control"][name] = g - (g * random[name]).sum(axes, keepdim=True) * random[name] if axes else g
    return found


def moments(rows: Tensor) -> tuple[float, float]:
    """Return tr(Sigma) and ||G||^2, unbiased, of gradients [N, D]."""
    trace = float(rows.var(0, correction=1).sum())
    return trace, float(rows.mean(0).square().sum()) - trace / len(rows)


def by_layer(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return module path to gradients [N, D of the module], in the order of the model."""
    layers: dict[str, list[Tensor]] = {}
    for name, g in gradients.items():
        layers.setdefault(name.rpartition(".")[0], []).append(g.flatten(1))
    return {path: torch.cat(parts, 1) for path, parts in layers.items()}


def everything(model: nn.Module, loss_fn: Any, batches: list, seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """Return kind to {"trace": [L + 1], "signal": [L + 1]}, the last entry over all weights."""
    found = {}
    for kind, gradients in projected(model, per_sample(model, loss_fn, batches), seed).items():
        layers = list(by_layer(gradients).values())
        pairs = [moments(rows) for rows in [*layers, torch.cat(layers, 1)]]
        found[kind] = {"trace": [pair[0] for pair in pairs], "signal": [pair[1] for pair in pairs]}
    return found


def covariance(gradients: dict[str, Tensor]) -> np.ndarray:
    """Return Sigma [D, D] by numpy."""
    return np.cov(torch.cat([g.flatten(1) for g in gradients.values()], 1).numpy().T)
