"""GCSAM: sharpness-aware minimization with gradient centralization, and the training that uses it."""

from gcsam.batchnorm import hold_statistics
from gcsam.centralize import centralize
from gcsam.optimizer import GCSAM

__all__ = ["GCSAM", "centralize", "hold_statistics"]
