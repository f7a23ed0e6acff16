"""The Fisher-Rao norm: w.F.w, a size of the weights that does not change when a ReLU network is rescaled.

Proved right by: explicit per-sample gradients, and the quadratic form of `EmpiricalFisher`
(`tests/analysis/flatness/test_fisher_rao.py`). Cost: stated at `fisher_rao_norm`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.flatness.average import standard_error
from analysis.noise.sample_norms import per_sample_norms
from analysis.objective import Objective

LIANG = "Liang et al. (2019), arXiv 1711.01530"


@dataclasses.dataclass(frozen=True, eq=False)
class FisherRaoNorm(Result):
    """The Fisher-Rao norm of the weights, by the empirical Fisher matrix."""

    group: ClassVar[str] = "sharpness"
    value: float = measured(units="loss^2", description="w.F.w: mean of <g_i, w>^2", source=LIANG)
    standard_error: float = measured(units="loss^2", description="Of the value, over samples; NaN for a single one")
    norm: float = measured(units="loss", description="Root of the value", source=LIANG)
    along: Tensor = measured("sample", units="loss", description="<g_i, w> of each sample")
    num_samples: int = measured(units="1", description="N")
    status: Status = measured(description="How the measurement ended")


def fisher_rao_norm(objective: Objective) -> FisherRaoNorm:
    """Measure <w, F w> with the empirical Fisher F = mean of g_i g_i^T, without forming a gradient of a sample.

    g_i is the gradient of sample i's own loss at its true target, so this is the empirical Fisher and not the model's,
    whose targets are drawn from the model; near a fit the two are far apart (Kunstner et al. 2019). For softmax
    cross-entropy the model's is w @ GaussNewton(objective).hvp(w).

    Not changed when a ReLU network is rescaled without changing its function, if all its weights are measured.

    Args:
        objective: As for `per_sample_norms`; the mean must be over samples.

    Returns:
        FisherRaoNorm (frozen). value: squared loss; norm: its root, in units of the loss; along [N], float64, in the
        order of the data. status: NOT_FINITE where a gradient is, else COMPLETE.

    Raises:
        ValueError: As `per_sample_norms`.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: one pass of `per_sample_norms`, about one to two gradients.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> x, y = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.zeros(2, 1)  # <g_i, w> = 2 (x_i.w)^2: 8 and 2
        >>> round(fisher_rao_norm(Objective(model, torch.nn.MSELoss(), (x, y))).value, 3)
        34.0

    References:
        Liang, Poggio, Rakhlin, Stokes, Fisher-Rao metric, geometry, and complexity of neural networks, arXiv
        1711.01530. Kunstner, Balles, Hennig, arXiv 1905.12558, on the empirical Fisher.
    """
    found = per_sample_norms(objective, along=objective.weights(), kinds=("raw",))
    along = found.raw_along.sum(1)
    squares = along.square()
    value = float(squares.mean())
    return FisherRaoNorm(
        value=value,
        standard_error=standard_error(squares),
        norm=math.sqrt(value) if math.isfinite(value) else value,
        along=along,
        num_samples=found.num_samples,
        status=Status.COMPLETE if bool(along.isfinite().all()) else Status.NOT_FINITE,
    )
