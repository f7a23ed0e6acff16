"""The edge of stability: the largest curvature along which gradient descent of a given step length does not diverge.

On a quadratic of curvature h gradient descent contracts while h < 2 / lr. Heavy-ball momentum beta moves that to
2 (1 + beta) / lr, dampening divides it by 1 - dampening, and with Nesterov's momentum it is
2 (1 + beta) / ((1 + 2 beta) lr). Full-batch training settles near it (Cohen et al.); with small batches, and under SAM
and GCSAM, the largest eigenvalue stays below. Weight decay adds its own constant to the curvature and is left out.

Right when a quadratic a little below the threshold converges under torch's own optimizer and one a little above it
diverges (`tests/analysis/probe/test_threshold.py`). Cost: none.

References:
    Cohen et al., Gradient descent on neural networks typically occurs at the edge of stability, arXiv 2103.00065.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Threshold(NamedTuple):
    """Of the parameter group that is unstable first.

    Attributes:
        learning_rate: The largest of all groups; NaN where none is known.
        plain: 2 / lr; NaN where the optimizer is not known to be gradient descent, or lr is unknown or 0.
        with_momentum: The same with the momentum of the groups; NaN where that is not known.
    """

    learning_rate: float
    plain: float
    with_momentum: float


def threshold_of(groups: Sequence[dict[str, Any]], learning_rate: float | Sequence[float] | None = None) -> Threshold:
    """Return the threshold of an optimizer.

    Groups with the options of `torch.optim.SGD` are gradient descent, also inside a wrapper such as GCSAM. Others, Adam
    for example, have their threshold in a metric of their own, and none here.

    Args:
        groups: Its `param_groups`; empty where no optimizer is known, and plain gradient descent is meant.
        learning_rate: In place of the groups' own, one for all or one each; None reads theirs.

    Example:
        >>> threshold_of([{"lr": 0.1, "momentum": 0.5, "dampening": 0, "nesterov": False}])
        Threshold(learning_rate=0.1, plain=20.0, with_momentum=30.0)
    """
    if learning_rate is None:
        rates = [float(group.get("lr", math.nan)) for group in groups] or [math.nan]
    elif isinstance(learning_rate, Sequence):
        rates = [float(rate) for rate in learning_rate]
    else:
        rates = [float(learning_rate)] * max(len(groups), 1)
    fastest = max(rates)
    if not all("dampening" in group for group in groups):
        return Threshold(fastest, math.nan, math.nan)
    each = [_factor(group) / rate if rate > 0 else math.inf for group, rate in zip(groups, rates, strict=False)]
    plain = 2 / fastest if fastest > 0 else math.nan
    return Threshold(fastest, plain, min(each, default=math.nan) if plain == plain else math.nan)


def _factor(group: dict[str, Any]) -> float:
    beta = float(group["momentum"])
    if group["nesterov"]:
        return 2 * (1 + beta) / (1 + 2 * beta)
    # without momentum torch ignores the dampening
    return 2 * (1 + beta) / (1 - float(group["dampening"]) if beta else 1.0)
