"""What scans find along a line, over a plane and in a block, and how the numbers came about.

Right when each comes back equal from a file (`tests/analysis/surface/test_scan.py`, `test_fields.py`). Cost: none.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import Tensor

from analysis.evidence import Result, Status, measured

LI = "Li et al. (2018), arXiv 1712.09913"
ENTEZARI = "Entezari et al. (2022), arXiv 2110.06296, definition 2.1"
GARIPOV = "Garipov et al. (2018), arXiv 1802.10026, equation 3"


Texts = dict[str, Any]
# What arrays over cells have in common, whatever their dimensions.
LOSS: Texts = {"units": "loss", "description": "Mean loss; NaN and inf as found", "source": LI}
LOSS_ERROR: Texts = {"units": "loss", "description": "Standard error of the loss, as that of a mean over samples"}
RISE_ERROR: Texts = {"units": "loss", "description": "Standard error of loss - origin_loss, which share their samples"}
DIVERGED: Texts = {"units": "1", "description": "Whether the loss was computed and is NaN or inf"}
DONE: Texts = {"units": "1", "description": "Whether the cell has been computed"}
METRICS: Texts = {"units": "1", "description": "Means of the metrics; NaN and inf as found"}
METRIC_ERRORS: Texts = {"units": "1", "description": "Their standard errors"}
METRIC_NAMES: Texts = {"description": "What else was measured: a metric, 'split/loss' or 'split/metric'"}
ALONG_FIRST: Texts = {"units": "1", "description": "Multiples of the first direction"}
ALONG_SECOND: Texts = {"units": "1", "description": "Multiples of the second direction"}
ALONG_THIRD: Texts = {"units": "1", "description": "Multiples of the third direction"}


@dataclasses.dataclass(frozen=True, eq=False)
class Scan(Result):
    """What all scans have in common: how the numbers came about."""

    group: ClassVar[str] = "surface"
    origin_loss: float = measured(units="loss", description="Loss at the weights themselves, whether a cell or not")
    source: str = measured(description="Where the directions come from: random, hessian or given")
    normalize: str = measured(description="Normalization applied: filter, layer, model or none", source=LI)
    zero_1d: bool = measured(
        description="Whether biases and norm parameters were left out of the directions", source=LI
    )
    seed: int = measured(units="1", description="Of random directions")
    batchnorm: str = measured(description="eval: the model's running statistics; recalibrate: those of the data")
    names: tuple[str, ...] = measured("tensor", description="Measured parameters, in the order of the flat vector")
    state_sha256: str = measured(description="SHA-256 of all parameters and buffers at the origin")
    data_fingerprint: str = measured(description="Sum over all data relative to their norm, and the norm")
    status: Status = measured(description="How the scan ended")


@dataclasses.dataclass(frozen=True, eq=False)
class LossScan(Scan):
    """A scan of the loss, and of whatever else was asked for, on samples that all cells share."""

    metric_names: tuple[str, ...] = measured("metric", **METRIC_NAMES)
    error_unit: str = measured(description="What standard errors take as independent: sample or batch")
    batch_size: int = measured(units="1", description="Samples evaluated together; 0: batches as given")
    channels_last: bool = measured(description="Whether images lay with their channels last in memory")
    stacked: int = measured(units="1", description="Cells evaluated together")
    precision: str = measured(description="full, or bfloat16 for matrix products and convolutions")


@dataclasses.dataclass(frozen=True, eq=False)
class Plane(Scan):
    """What surfaces and maps have in common: cell [i, j] is at weights + x[i] directions[0] + y[j] directions[1]."""

    x: Tensor = measured("x", **ALONG_FIRST)
    y: Tensor = measured("y", **ALONG_SECOND)
    done: Tensor = measured("x", "y", **DONE)
    directions: Tensor = measured("direction", "parameter", units="weight", description="As added to the weights")
    cosine: float = measured(units="1", description="Of the two directions, after normalization")
    single_share: float = measured(
        units="1", description="Share of the directions in filters of one element, which cannot be orthogonal"
    )
    extent: Tensor = measured("direction", "end", units="1", description="Lowest and highest multiple")
    points: Tensor = measured("direction", units="1", description="Number of points")


@dataclasses.dataclass(frozen=True, eq=False)
class Surface(LossScan, Plane):
    """The loss over a plane: loss[i, j] is at weights + x[i] * directions[0] + y[j] * directions[1]."""

    loss: Tensor = measured("x", "y", **LOSS)
    standard_error: Tensor = measured("x", "y", **LOSS_ERROR)
    rise_error: Tensor = measured("x", "y", **RISE_ERROR)
    diverged: Tensor = measured("x", "y", **DIVERGED)
    metrics: Tensor = measured("metric", "x", "y", **METRICS)
    metric_errors: Tensor = measured("metric", "x", "y", **METRIC_ERRORS)


@dataclasses.dataclass(frozen=True, eq=False)
class Line(LossScan):
    """The loss along a line: loss[i] is at weights + t[i] * direction."""

    t: Tensor = measured("t", units="1", description="Multiples of the direction")
    loss: Tensor = measured("t", **LOSS)
    standard_error: Tensor = measured("t", **LOSS_ERROR)
    rise_error: Tensor = measured("t", **RISE_ERROR)
    diverged: Tensor = measured("t", **DIVERGED)
    metrics: Tensor = measured("metric", "t", **METRICS)
    metric_errors: Tensor = measured("metric", "t", **METRIC_ERRORS)
    done: Tensor = measured("t", **DONE)
    direction: Tensor = measured("parameter", units="weight", description="As added to the weights")
    extent: Tensor = measured("end", units="1", description="Lowest and highest multiple")
    points: int = measured(units="1", description="Number of points")


@dataclasses.dataclass(frozen=True, eq=False)
class Block(LossScan):
    """The loss in three dimensions: loss[i, j, k] is at weights + x[i] d[0] + y[j] d[1] + z[k] d[2]."""

    x: Tensor = measured("x", **ALONG_FIRST)
    y: Tensor = measured("y", **ALONG_SECOND)
    z: Tensor = measured("z", **ALONG_THIRD)
    loss: Tensor = measured("x", "y", "z", **LOSS)
    standard_error: Tensor = measured("x", "y", "z", **LOSS_ERROR)
    rise_error: Tensor = measured("x", "y", "z", **RISE_ERROR)
    diverged: Tensor = measured("x", "y", "z", **DIVERGED)
    metrics: Tensor = measured("metric", "x", "y", "z", **METRICS)
    metric_errors: Tensor = measured("metric", "x", "y", "z", **METRIC_ERRORS)
    done: Tensor = measured("x", "y", "z", **DONE)
    directions: Tensor = measured("direction", "parameter", units="weight", description="As added to the weights")
    cosine: float = measured(units="1", description="Of two of the directions, the largest in magnitude")
    single_share: float = measured(
        units="1", description="Share of the directions in filters of one element, which cannot be orthogonal"
    )
    extent: Tensor = measured("direction", "end", units="1", description="Lowest and highest multiple")
    points: Tensor = measured("direction", units="1", description="Number of points")


@dataclasses.dataclass(frozen=True, eq=False)
class CurvatureMap(Plane):
    """The ends of the Hessian's spectrum over a plane: where the loss is not convex, and how far from it."""

    lambda_max: Tensor = measured(
        "x", "y", units="loss per squared weight", description="Largest eigenvalue of the Hessian"
    )
    lambda_min: Tensor = measured(
        "x", "y", units="loss per squared weight", description="Smallest (most negative) eigenvalue of the Hessian"
    )
    ratio: Tensor = measured("x", "y", units="1", description="|lambda_min / lambda_max|: 0 where convex", source=LI)
    residuals: Tensor = measured(
        "end_of_spectrum", "x", "y", units="loss per squared weight", description="Of lambda_max and of lambda_min"
    )
    num_hvps: Tensor = measured("x", "y", units="Hessian products", description="Cost of each cell")
    diverged: Tensor = measured("x", "y", **DIVERGED)
    tol: float = measured(units="1", description="Wanted residual, relative to |value|")
    max_hvps: int = measured(units="Hessian products", description="Budget of each cell")


@dataclasses.dataclass(frozen=True, eq=False)
class GradientField(Plane):
    """The gradient over a plane: what of it lies in the plane, and how much does not."""

    slope: Tensor = measured(
        "direction", "x", "y", units="loss", description="Derivative of the loss by x and by y: gradient . direction"
    )
    gradient_norm: Tensor = measured("x", "y", units="loss per weight", description="Norm of the whole gradient")
    in_plane: Tensor = measured("x", "y", units="1", description="Share of the squared gradient that lies in the plane")
    diverged: Tensor = measured("x", "y", **DIVERGED)


@dataclasses.dataclass(frozen=True, eq=False)
class Path(Result):
    """The loss on a way between two checkpoints, from t = 0 to t = 1."""

    group: ClassVar[str] = "surface"
    t: Tensor = measured("t", units="1", description="0 is the start, 1 the end")
    loss: Tensor = measured("t", **LOSS)
    standard_error: Tensor = measured("t", **LOSS_ERROR)
    excess: Tensor = measured("t", units="loss", description="loss - ((1 - t) loss(0) + t loss(1))", source=ENTEZARI)
    excess_error: Tensor = measured(
        "t", units="loss", description="Its standard error; all three losses share their samples"
    )
    diverged: Tensor = measured("t", **DIVERGED)
    metric_names: tuple[str, ...] = measured("metric", **METRIC_NAMES)
    metrics: Tensor = measured("metric", "t", **METRICS)
    metric_errors: Tensor = measured("metric", "t", **METRIC_ERRORS)
    done: Tensor = measured("t", **DONE)
    extent: Tensor = measured("end", units="1", description="Lowest and highest t")
    points: int = measured(units="1", description="Number of points")
    start_loss: float = measured(units="loss", description="Loss of the start, whether a point or not")
    end_loss: float = measured(units="loss", description="Loss of the end")
    barrier: float = measured(units="loss", description="Largest excess between the ends, at least 0", source=ENTEZARI)
    barrier_error: float = measured(units="loss", description="Standard error of the excess there")
    barrier_at: float = measured(units="1", description="The t of that excess")
    metric_rises: Tensor = measured("metric", units="1", description="Largest excess of each metric over its chord")
    metric_falls: Tensor = measured("metric", units="1", description="The same below the chord")
    distance: float = measured(units="weight", description="Euclidean distance of the ends")
    cosine: float = measured(units="1", description="Of the two weight vectors")
    names: tuple[str, ...] = measured("tensor", description="Measured parameters, in the order of the flat vector")
    start_sha256: str = measured(description="SHA-256 of all parameters and buffers at the start")
    end_sha256: str = measured(description="The same at the end")
    batchnorm: str = measured(description="eval: statistics between those of the ends; recalibrate: those of the data")
    data_fingerprint: str = measured(description="Sum over all data relative to their norm, and the norm")
    error_unit: str = measured(description="What standard errors take as independent: sample or batch")
    batch_size: int = measured(units="1", description="Samples evaluated together; 0: batches as given")
    channels_last: bool = measured(description="Whether images lay with their channels last in memory")
    stacked: int = measured(units="1", description="Points evaluated together")
    precision: str = measured(description="full, or bfloat16 for matrix products and convolutions")
    status: Status = measured(description="How it ended")


@dataclasses.dataclass(frozen=True, eq=False)
class LinearPath(Path):
    """The loss on a line through two checkpoints: loss[i] is at (1 - t[i]) start + t[i] end."""


@dataclasses.dataclass(frozen=True, eq=False)
class BezierPath(Path):
    """The loss on a curve trained to low loss: at (1 - t)^2 start + 2 t (1 - t) bend + t^2 end."""

    bend: Tensor = measured(
        "parameter", units="weight", description="The point the curve bends towards", source=GARIPOV
    )
    length: float = measured(units="weight", description="Of the curve")
    steps: int = measured(units="1", description="Of the training of the bend, one batch and one t each")
    lr: float = measured(units="weight", description="Of Adam, at the first step; it falls to 0 linearly")
    seed: int = measured(units="1", description="Of the t of each step")
    training_loss: Tensor = measured("step", units="loss", description="Of each step, at its t on its batch")
