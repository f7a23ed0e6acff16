"""What is measured at a point beside the mean loss: metrics, and what each sample adds, for standard errors.

One forward pass serves all of it. A mean over the data is a ratio of sums over units that are taken as independent:
samples, where the loss says what each adds, else batches. Right when the error of a mean over samples is the usual
one, and that of padded sequences is right over redrawn data (`tests/analysis/surface/test_quantities.py`). Cost: a few
operations on the outputs of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.objective import Objective

Array = np.ndarray[Any, Any]
Metric = Callable[[Any, Any], Tensor]
Metrics = Mapping[str, Metric] | Sequence[str] | None
# Sums and counts of the units of a batch, [U] each.
Units = tuple[Tensor, Tensor]

SAME_SUM = (
    1e-3  # relative: float32 sums in another order differ by 1e-5, a loss that is no sum over samples by far more
)


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Return which samples have their largest score [B, C, ...] at the target [B, ...]; the share where there are many.

    Args:
        output: Scores.
        target: Class indices.

    Returns:
        [B], in [0, 1].
    """
    return (output.argmax(1) == target).double().reshape(len(target), -1).mean(1)


METRICS: Mapping[str, Metric] = {"accuracy": accuracy}


def named_metrics(metrics: Metrics) -> dict[str, Metric]:
    """Return metrics by name.

    Args:
        metrics: By name, called as metric(output, target), or metric(output, batch) where the objective has a
            `batch_loss`; names of `METRICS`; or None.

    Returns:
        Name to function.

    Raises:
        ValueError: An unknown name, or what cannot be called.
    """
    if isinstance(metrics, Mapping):
        found = dict(metrics)
    else:
        names = [metrics] if isinstance(metrics, str) else list(metrics or ())
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            raise ValueError(
                f"metrics must be a mapping {{name: function(output, target)}} or names of {', '.join(METRICS)}, "
                f"got {unknown[0]!r}"
            )
        found = {name: METRICS[name] for name in names}
    for name, metric in found.items():
        if not callable(metric) or not name or "/" in name or name == "loss":
            raise ValueError(
                f"metrics must map a name without '/' other than 'loss' to a function(output, target), got {name!r}: "
                f"{type(metric).__name__}"
            )
    return found


class Quantities:
    """The loss and the metrics of one batch, from one run of the model.

    Args:
        objective: Whose loss.
        metrics: Name to function.
        unit: "sample" or "batch".
    """

    def __init__(self, objective: Objective, metrics: Mapping[str, Metric], unit: str) -> None:
        self._batch_loss, self._sample_losses = objective.batch_loss, objective.sample_losses
        self._metrics, self._unit = metrics, unit

    def __call__(self, model: Callable[..., Any], batch: Any) -> tuple[Tensor, Tensor, list[Units]]:
        """Return (loss_sum, count) and the units of the loss and of each metric.

        Args:
            model: The network, or what stands in its place.
            batch: One of the data's.
        """
        run = _Remembering(model)
        loss_sum, batch_count = self._batch_loss(run, batch)
        total = loss_sum.double()
        count = torch.as_tensor(batch_count, dtype=torch.float64, device=total.device)
        # what a loss function compares with, or all that a batch_loss got
        target = batch if self._sample_losses is None else batch[1]
        units: list[Units] = []
        if self._unit == "sample" and self._sample_losses is not None:
            sums, counts = self._sample_losses(run.output, target)
            units.append((sums.double(), torch.as_tensor(counts).double()))
        else:
            units.append((total[None], count[None]))
        for name, metric in self._metrics.items():
            units.append(_units_of(name, metric(run.output, target), count))
        return total, count, units


def unit_of(objective: Objective, model: Callable[..., Any], batch: Any) -> str:
    """Return "sample" where the loss of a batch is the sum of what its samples add, else "batch".

    Args:
        objective: Whose loss.
        model: The network, or what stands in its place.
        batch: One of the data's.
    """
    if objective.sample_losses is None:
        return "batch"
    try:
        total, count, [(sums, counts)] = Quantities(objective, {}, "sample")(model, batch)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):  # a user's loss, made for whole batches
        return "batch"
    pairs = ((float(sums.sum()), float(total)), (float(counts.sum()), float(count)))
    same = all(math.isclose(a, b, rel_tol=SAME_SUM, abs_tol=1e-12) or (a != a and b != b) for a, b in pairs)
    return "sample" if same else "batch"


def weighted_mean(sums: Array, counts: Array) -> float:
    """Return sum(sums) / sum(counts); NaN where nothing counts.

    Args:
        sums: [U], float64.
        counts: [U].
    """
    total = float(counts.sum())
    return float(sums.sum()) / total if total else math.nan


def mean_error(sums: Array, counts: Array) -> float:
    """Return the standard error of sum(sums) / sum(counts), a ratio of sums over independent units.

    Args:
        sums: [U], float64.
        counts: [U].

    Returns:
        NaN for one unit. With counts of 1 it is the standard deviation of the units over sqrt(U).

    References:
        Cochran, Sampling Techniques (1977), eq. 2.39: the linearized error of a ratio.
    """
    number, total = len(sums), float(counts.sum())
    if number < 2 or not total:
        return math.nan
    with np.errstate(invalid="ignore", over="ignore"):  # where the loss is not finite its error is NaN
        left = sums - (float(sums.sum()) / total) * counts
        return math.sqrt(number / (number - 1) * float(left @ left)) / abs(total)


class _Remembering:
    """A model that keeps what it returned last."""

    def __init__(self, model: Callable[..., Any]) -> None:
        self._model = model
        self.output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self._model(*args, **kwargs)
        return self.output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _units_of(name: str, value: Any, count: Tensor) -> Units:
    if not isinstance(value, Tensor) or value.ndim > 1:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"metric {name!r} must return one number per sample [B], or one for the batch, as a tensor, got {got}"
        )
    sums = value.double()
    return (sums, torch.ones_like(sums)) if sums.ndim else ((sums * count)[None], count[None])
