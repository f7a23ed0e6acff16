"""What the curvature benchmarks run on: sizes, images, a network trained for a short fixed while, and who judges.

Right when residuals are those of chosen spectra, and the start is the one ours draws (`tests/benchmarks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.curvature_peers import Problem
from gcsam.training.models import build_model
from gcsam.training.readers import read_cifar10

__all__ = [
    "FULL",
    "QUICK",
    "SEED",
    "TOL",
    "Scale",
    "build",
    "load_images",
    "start_vector",
    "train_problem",
    "true_residuals",
]

TOL = 1e-2
SEED = 0
CLASSES = 10


class Scale(NamedTuple):
    """Sizes of everything."""

    network: str  # of "table" and "count"
    image_size: int
    images: int  # measured, in batches of one size
    batch: int
    train_images: int
    train_steps: int
    train_batch: int
    k: int  # of "table"
    limit: int  # products after which an attempt is given up
    subjects: tuple[tuple[str, int], ...]  # of "product": network and batch
    pairs: tuple[int, ...]  # of "count"
    ideal_steps: int  # the ideal count stops here
    width: int  # the transformer of "memory"
    layers: int
    vocabulary: int
    tokens: int


FULL = Scale(
    network="resnet20",
    image_size=32,
    images=512,
    batch=128,
    train_images=5120,
    train_steps=200,
    train_batch=128,
    k=5,
    limit=600,
    subjects=(("resnet18", 64), ("resnet20", 128), ("vit-tiny", 64), ("mlp", 128)),
    pairs=(1, 5, 10),
    ideal_steps=120,
    width=768,
    layers=12,
    vocabulary=10_000,
    tokens=16,
)
QUICK = Scale(
    network="cnn",
    image_size=8,
    images=32,
    batch=8,
    train_images=128,
    train_steps=20,
    train_batch=32,
    k=2,
    limit=100,
    subjects=(("mlp", 4), ("vit-tiny", 2)),
    pairs=(1, 2),
    ideal_steps=40,
    width=16,
    layers=2,
    vocabulary=50,
    tokens=4,
)


def load_images(folder: Path | None, count: int, size: int) -> tuple[Tensor, Tensor, str]:
    """Return images [N, 3, size, size] of mean 0 and deviation 1 per color, labels [N], and what they are.

    Args:
        folder: Of CIFAR-10 in its Python layout; None for synthetic ones: a smooth pattern for each class, and noise.
        count: N.
        size: Side; CIFAR-10 is cropped at its middle where it is smaller than 32.
    """
    if folder is not None:
        pixels, labels = read_cifar10(str(folder))["train"]
        first = (32 - size) // 2
        crop = pixels[:count, :, first : first + size, first : first + size]
        images, about = torch.from_numpy(np.ascontiguousarray(crop)).float(), "CIFAR-10, the first of its training set"
        targets = torch.as_tensor(labels[:count]).long()
    else:
        draw = torch.Generator().manual_seed(SEED)
        targets = torch.randint(CLASSES, (count,), generator=draw)
        patterns = F.interpolate(torch.randn(CLASSES, 3, 4, 4, generator=draw), size=size, mode="bilinear")
        images = patterns[targets] + 1.5 * torch.randn(count, 3, size, size, generator=draw)
        about = "synthetic: a smooth pattern for each of 10 classes, and noise"
    deviation, mean = torch.std_mean(images, dim=(0, 2, 3), keepdim=True)
    return (images - mean) / deviation, targets, about


def train_problem(scale: Scale, folder: Path | None, device: torch.device) -> tuple[Problem, dict[str, Any]]:
    """Train a network for a short, fixed while, and cut the first images into batches to measure on.

    Args:
        scale: Sizes.
        folder: See `load_images`.
        device: Where.

    Returns:
        The problem, and what a reader should know of it.
    """
    images, labels, about = load_images(folder, scale.train_images, scale.image_size)
    images, labels = images.to(device), labels.to(device)
    model = build(scale.network, scale.image_size).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    draw = torch.Generator().manual_seed(SEED)
    for step in range(scale.train_steps):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / scale.train_steps))
        chosen = torch.randperm(len(images), generator=draw)[: scale.train_batch].to(device)
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(images[chosen]), labels[chosen]))
        optimizer.step()
    optimizer.zero_grad()
    pieces = (torch.split(whole[: scale.images], scale.batch) for whole in (images, labels))
    problem = Problem(model.eval(), nn.CrossEntropyLoss(), list(zip(*pieces, strict=True)))
    objective = problem.objective()
    return problem, {
        "network": scale.network,
        "data": about,
        "parameters": objective.num_parameters,
        "images": scale.images,
        "batch": scale.batch,
        "trained": f"{scale.train_steps} steps of SGD on {scale.train_images} images",
        "loss": objective.loss(),
    }


def build(name: str, image_size: int) -> nn.Module:
    """Build a network from a fixed seed."""
    torch.manual_seed(SEED)
    return build_model(name, in_channels=3, num_classes=CLASSES, image_size=image_size)


def start_vector(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the start vector that `hessian_eigenvalues` draws from `SEED`, [D]."""
    return torch.randn(size, generator=torch.Generator().manual_seed(SEED)).to(device, dtype)


def true_residuals(hvp: Callable[[Tensor], Tensor], values: Tensor, vectors: Tensor) -> list[float]:
    """Return |Hv - value v| / |value| of each pair, for v of norm 1.

    Args:
        hvp: Product with H, in float64.
        values: [K].
        vectors: [K, D], of any norm.
    """
    residuals = []
    for value, vector in zip(values.tolist(), vectors.double(), strict=True):
        unit = vector / torch.linalg.vector_norm(vector)
        residuals.append(float(torch.linalg.vector_norm(hvp(unit) - value * unit)) / abs(value))
    return residuals
