"""The Fisher-Rao norm: w.F.w, a size of the weights that does not change when a ReLU network is rescaled.

Proved right by: explicit per-sample gradients, of every class for the model's Fisher, and the quadratic forms of
`EmpiricalFisher` and `GaussNewton` (`tests/analysis/flatness/test_fisher_rao.py`). Cost: stated at `fisher_rao_norm`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.flatness.average import standard_error
from analysis.noise.sample_norms import per_sample_norms
from analysis.objective import Objective
from analysis.operators.products import GaussNewton

LIANG = "Liang et al. (2019), arXiv 1711.01530"
KINDS = ("empirical", "model")


@dataclasses.dataclass(frozen=True, eq=False)
class FisherRaoNorm(Result):
    """The Fisher-Rao norm of the weights. Files of earlier versions have no `kind`: theirs is empirical."""

    group: ClassVar[str] = "sharpness"
    value: float = measured(units="loss^2", description="w.F.w: mean of <g_i, w>^2", source=LIANG)
    standard_error: float = measured(units="loss^2", description="Of the value, over samples; NaN for a single one")
    norm: float = measured(units="loss", description="Root of the value", source=LIANG)
    along: Tensor = measured("sample", units="loss", description="<g_i, w> of each sample; model: its root mean square")
    num_samples: int = measured(units="1", description="N")
    status: Status = measured(description="How the measurement ended")
    kind: str = measured(description="Of the Fisher matrix: empirical or model", default="empirical")


def fisher_rao_norm(objective: Objective, kind: str = "empirical") -> FisherRaoNorm:
    """Measure <w, F w> with the Fisher matrix F = mean of g_i g_i^T, without forming a gradient of a sample.

    kind "empirical": g_i is the gradient of sample i's own loss at its true target. "model": the mean is over targets
    drawn from the model too, which is what Fisher's matrix means; near a fit the two are far apart (Kunstner et al.
    2019). The model's is taken as w.G.w with the generalized Gauss-Newton matrix G: the same for softmax cross-entropy
    without class weights, and only then. Of another loss it is that form of G, and where that is negative, the loss not
    being convex in the output, the norm is NaN.

    Not changed when a ReLU network is rescaled without changing its function, if all its weights are measured.

    Args:
        objective: As for `per_sample_norms`, or for "model" for `GaussNewton`; the mean must be over samples.
        kind: "empirical" or "model".

    Returns:
        FisherRaoNorm (frozen). value: squared loss; norm: its root, in units of the loss; along [N], float64, in the
        order of the data: <g_i, w>, of which "model" has the root of the mean square over targets.
        status: NOT_FINITE where a gradient is, else COMPLETE.

    Raises:
        ValueError: Another kind; else as `per_sample_norms` or `GaussNewton`.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: one pass of `per_sample_norms`, or of recording and half a product of `GaussNewton`: one to two gradients.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> x, y = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.zeros(2, 1)  # <g_i, w> = 2 (x_i.w)^2: 8 and 2
        >>> round(fisher_rao_norm(Objective(model, torch.nn.MSELoss(), (x, y))).value, 3)
        34.0

    References:
        Liang, Poggio, Rakhlin, Stokes, Fisher-Rao metric, geometry, and complexity of neural networks, arXiv
        1711.01530. Kunstner, Balles, Hennig, arXiv 1905.12558, on the empirical Fisher.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    with torch.inference_mode(False):  # products differentiate by what the weights are multiplied with
        weights = objective.weights()
    if kind == "model":
        squares = GaussNewton(objective).forms(weights)
        along = squares.clamp_min(0.0).sqrt()  # below zero by rounding alone
    else:
        along = per_sample_norms(objective, along=weights, kinds=("raw",)).raw_along.sum(1)
        squares = along.square()
    value = float(squares.mean())
    return FisherRaoNorm(
        value=value,
        standard_error=standard_error(squares),
        norm=math.sqrt(value) if value >= 0 else math.nan,
        along=along,
        num_samples=len(squares),
        status=Status.COMPLETE if bool(along.isfinite().all()) else Status.NOT_FINITE,
        kind=kind,
    )
