"""Random numbers of known tails, by a method that shares nothing with the estimators."""

from __future__ import annotations

import math

import numpy as np


def stable(alpha: float, size: int | tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Symmetric alpha-stable numbers, characteristic function exp(-|t|^alpha): Chambers, Mallows and Stuck (1976)."""
    angle, waiting = rng.uniform(-math.pi / 2, math.pi / 2, size), rng.standard_exponential(size)
    along = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
    return along * (np.cos((1 - alpha) * angle) / waiting) ** ((1 - alpha) / alpha)
