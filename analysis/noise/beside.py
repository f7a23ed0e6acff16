"""The Hessian that Sigma is compared with: its top eigenpairs, trace and Frobenius norm, given or measured.

What is given must be of the very same function: names and number of the weights are compared, and one product shows
whether the first pair is one of this Hessian. Right when each refusal is met by a test, another checkpoint among them
(`tests/analysis/noise/test_beside.py`). Cost: one product for pairs that are given.
"""

from __future__ import annotations

import torch
from torch import Tensor

from analysis.curvature.hessian import Eigenpairs
from analysis.curvature.trace import TraceEstimate
from analysis.objective import METHODS, Objective

# What the residual may exceed the stored one by, relative to the eigenvalue: products in another order, or on another
# device, differ by 1e-5 at most. Our choice.
SAME_VALUE = 1e-3


def check_pairs(objective: Objective, pairs: Eigenpairs, k: int) -> None:
    """Refuse eigenpairs that are not the top ones of this objective's Hessian.

    Args:
        objective: Whose Hessian.
        pairs: As from `hessian_eigenvalues`.
        k: How many are needed.

    Raises:
        ValueError: They are of other weights, of another matrix, of the other end, too few, or not finite.
    """
    shape = (len(pairs.values), objective.num_parameters)
    if pairs.names != tuple(objective.names) or tuple(pairs.vectors.shape) != shape:
        raise ValueError(
            f"hessian must hold pairs of the {len(objective.names)} measured parameters "
            f"({objective.num_parameters} weights), got pairs of {len(pairs.names)} parameters "
            f"({pairs.vectors.shape[1]} weights) or in another order; compare objective.names"
        )
    if pairs.method not in METHODS:
        raise ValueError(f"hessian must hold pairs of the Hessian itself, got those of {pairs.method!r}")
    found = len(pairs.values) // (2 if pairs.which == "both" else 1)
    if pairs.which not in ("largest", "both") or found < k:
        raise ValueError(
            f"hessian must hold at least k = {k} of the largest eigenvalues, got {found} of which={pairs.which!r}; "
            "measure them with hessian_eigenvalues(objective, k)"
        )
    if not bool(pairs.values[:k].isfinite().all()):
        raise ValueError("hessian must be finite, got NaN; its status says how that measurement ended")
    first: Tensor = pairs.vectors[0].to(objective.device, objective.dtype)
    value = float(pairs.values[0])
    away = float(torch.linalg.vector_norm(objective.hvp(first) - value * first))
    if not away <= 2 * float(pairs.residuals[0]) + SAME_VALUE * abs(value):
        raise ValueError(
            f"hessian must be of these weights and data, but its first pair misses their Hessian by {away:.3g}, with a "
            f"residual of {float(pairs.residuals[0]):.3g} when it was measured; measure it anew, or leave it out"
        )


def check_trace(trace: TraceEstimate) -> None:
    """Refuse a trace that is no number.

    Args:
        trace: As from `hessian_trace`.

    Raises:
        ValueError: It is not finite, or has no standard error.
    """
    if not bool(torch.tensor([trace.value, trace.standard_error]).isfinite().all()):
        raise ValueError(
            f"trace must be finite, got {trace.value} with a standard error of {trace.standard_error}; leave it out to "
            "have it measured"
        )
