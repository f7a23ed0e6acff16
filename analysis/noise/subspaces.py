"""How far two subspaces of the weights coincide: cosines between their vectors, principal angles, mean squared cosine.

Proved right by subspaces at chosen angles, and by random ones, whose overlap is what chance predicts
(`tests/analysis/noise/test_subspaces.py`). Cost: two QR decompositions of [D, K] in float64 on the CPU.

References: Bjorck and Golub, Numerical methods for computing angles between linear subspaces (1973).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import subspace_angles
from torch import Tensor


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return |<u_i, v_j>|, [K, L] in float64.

    Args:
        first: Rows u of norm 1, [K, D].
        second: Rows v of norm 1, [L, D].
    """
    return (first.double() @ second.double().T).abs()


def principal_angles(first: Tensor, second: Tensor) -> Tensor:
    """Return the angles between two subspaces, [min(K, L)] in float64, the smallest first, in radians.

    Args:
        first: Independent rows [K, D].
        second: Independent rows [L, D].
    """
    angles = subspace_angles(*(rows.double().cpu().numpy().T for rows in (first, second)))
    return torch.from_numpy(np.sort(angles))


def overlap(between: Tensor) -> float:
    """Return the mean squared cosine of the principal angles of two subspaces of equal dimension, in [0, 1].

    Args:
        between: Cosines between orthonormal rows, [K, K].
    """
    return float(between.square().sum()) / len(between)
