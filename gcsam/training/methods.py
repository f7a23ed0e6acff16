"""The methods by name: points in the switch space of the one optimizer.

Right when each name gives the switches it stands for (`tests/gcsam/training/test_optimizers.py`). Costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["METHODS", "OVERRIDES"]

METHODS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "sgd": {"ascends": False, "centralize_ascent": False, "centralize_descent": False},
    "gc": {"ascends": False, "centralize_ascent": False, "centralize_descent": True},
    "sam": {"ascends": True, "centralize_ascent": False, "centralize_descent": False},
    "gcsam": {"ascends": True, "centralize_ascent": True, "centralize_descent": False},
    "random": {"ascends": True, "centralize_ascent": True, "centralize_descent": False, "projection": "random"},
    "sam-matched": {"ascends": True, "centralize_ascent": False, "centralize_descent": False, "radius": "matched"},
    "fsam": {"ascends": True, "centralize_ascent": False, "centralize_descent": False, "friendly": 1.0},
})
"""Method to switches of `gcsam.GCSAM`; without an ascent rho is 0. "sgd" means the base optimizer alone. Controls of
gcsam: "random", a random projection of the same rank, drawn from the run's seed; "sam-matched", SAM at the radius
q * rho; "fsam", Friendly-SAM. Any other point is one of these with the settings below: "sam" with
centralize_descent=True, "gcsam" with radius="published"."""

OVERRIDES = ("centralize_ascent", "centralize_descent", "projection", "friendly")
"""Switches that a setting of the same name may replace."""
