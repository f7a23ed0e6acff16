"""What a probe saw: one row per measurement, as a frozen result that grows by being made anew.

A row is a dictionary from column name to number; the columns are the fields of `ProbeRecord` whose first dimension is
"measurement", those of its nested results under "raw/trace" and the like. So a record gives back its rows, and a probe
that goes on after a stop begins with them.

Right when rows survive record, file and back (`tests/analysis/probe/test_record.py`). Cost: none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, measured

COHEN = "Cohen et al. (2021), arXiv 2103.00065"
CURVATURE = "loss per squared weight"
SQUARED = "loss^2/weight^2"
ROWS = "measurement"
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class ProbeNoise(Result):
    """Noise and signal over all measured weights at each measurement; as `TotalNoise` has them at one."""

    trace: Tensor = measured(ROWS, units=SQUARED, description="tr(Sigma), unbiased")
    trace_standard_error: Tensor = measured(ROWS, units=SQUARED, description="Of trace")
    signal: Tensor = measured(ROWS, units=SQUARED, description="||G||^2, unbiased")
    signal_standard_error: Tensor = measured(ROWS, units=SQUARED, description="Of signal")
    noise_scale: Tensor = measured(ROWS, units="1", description="trace / signal; inf where signal <= 0")
    noise_scale_standard_error: Tensor = measured(ROWS, units="1", description="Of noise_scale")


@dataclasses.dataclass(frozen=True, eq=False)
class ProbeRecord(Result):
    """Measurements during a training, in the order of their steps; NaN where a quantity was not asked for or failed."""

    group: ClassVar[str] = "training"

    step: Tensor = measured(ROWS, units="1", description="Optimizer steps done; 0 is before training")
    epoch: Tensor = measured(ROWS, units="1", description="Epochs done, as the loop told; NaN where it did not")
    elapsed_seconds: Tensor = measured(ROWS, units="s", description="Since training began, measuring included")
    spent_seconds: Tensor = measured(ROWS, units="s", description="Spent on measuring so far, this one included")
    num_skipped: Tensor = measured(ROWS, units="1", description="Measurements left out before this one, for the budget")
    loss: Tensor = measured(ROWS, units="loss", description="On the probe's data")
    loss_seconds: Tensor = measured(ROWS, units="s", description="Spent on it")
    loss_status: tuple[str, ...] = measured(ROWS, description="FAILED where it raised an error; empty else")
    learning_rate: Tensor = measured(ROWS, units="1", description="Of the optimizer; the largest of its groups")
    threshold: Tensor = measured(ROWS, units=CURVATURE, description="2 / lr, of gradient descent", source=COHEN)
    threshold_with_momentum: Tensor = measured(
        ROWS, units=CURVATURE, description="2 (1 + beta) / lr; Nesterov's over 1 + 2 beta", source=COHEN
    )
    lambda_max: Tensor = measured(ROWS, units=CURVATURE, description="Largest eigenvalue of the Hessian")
    lambda_max_residual: Tensor = measured(ROWS, units=CURVATURE, description="Norm of Hv - value * v")
    lambda_max_hvps: Tensor = measured(ROWS, units="Hessian products", description="Cost, from the last eigenvector on")
    lambda_max_seconds: Tensor = measured(ROWS, units="s", description="Spent on it")
    lambda_max_status: tuple[str, ...] = measured(ROWS, description="How it ended; empty if not asked for")
    trace: Tensor = measured(ROWS, units=CURVATURE, description="Trace of the Hessian, by Hutchinson's estimator")
    trace_standard_error: Tensor = measured(ROWS, units=CURVATURE, description="Of trace, over the probe vectors")
    trace_seconds: Tensor = measured(ROWS, units="s", description="Spent on it")
    trace_status: tuple[str, ...] = measured(ROWS, description="How it ended; empty if not asked for")
    raw: ProbeNoise = measured(description="Of per-sample gradients g")
    centralized: ProbeNoise = measured(description="Of P g")
    control: ProbeNoise = measured(description="Of g without its component along a random direction in each row")
    ascent_ratio: Tensor = measured(ROWS, "layer", units="1", description="q = ||P g|| / ||g|| of the mean gradient")
    ascent_ratio_total: Tensor = measured(ROWS, units="1", description="q over all measured weights")
    noise_seconds: Tensor = measured(ROWS, units="s", description="Spent on noise and q")
    noise_status: tuple[str, ...] = measured(ROWS, description="How noise and q ended; empty if not asked for")
    sharpness: Tensor = measured(ROWS, units="loss", description="Rise of the loss at w + rho g / ||g||; at least 0")
    sharpness_seconds: Tensor = measured(ROWS, units="s", description="Spent on it")
    sharpness_status: tuple[str, ...] = measured(ROWS, description="How it ended; empty if not asked for")
    layers: tuple[str, ...] = measured("layer", description="Modules that hold the measured weights")
    quantities: tuple[str, ...] = measured("quantity", description="What was asked for, beside the loss")
    skipped: int = measured(units="1", description="All measurements left out for the budget so far")
    training_seconds: float = measured(
        units="s", description="Of training, until the record was written", compare=False
    )
    measuring_seconds: float = measured(
        units="s", description="Of measuring, until the record was written", compare=False
    )
    schedule: str = measured(description="When to measure: every:N, epochs:N, log:N or at:N,N,...")
    budget: float = measured(units="1", description="Largest share of the training time to be spent")
    rho: float = measured(units="weight", description="Radius of the sharpness")
    num_probes: int = measured(units="1", description="Probe vectors, the same ones at each measurement, of the trace")
    seed: int = measured(units="1", description="Of start vector, probe vectors and the control's directions")
    num_parameters: int = measured(units="1", description="D, the number of measured weights")
    data_fingerprint: str = measured(description="Sum and sum of squares of the probe's data, in hexadecimal")

    def share(self) -> float:
        """Return the time spent on measuring over that of the training alone; NaN before training."""
        return self.measuring_seconds / self.training_seconds if self.training_seconds > 0 else math.nan

    def rows(self) -> list[Row]:
        """Return one dictionary from column to value for each measurement; `record_of` takes them back."""
        names = list(columns(ProbeRecord))
        return [{name: _entry(self, name, i) for name in names} for i in range(len(self.step))]


def columns(result_class: type[Result], prefix: str = "") -> Iterator[str]:
    """Name the columns of a record.

    Args:
        result_class: `ProbeRecord`, or a result nested in it.
        prefix: Before each name.

    Yields:
        Each name, those of nested results as "raw/trace".
    """
    for field in dataclasses.fields(result_class):
        if str(field.type) == ProbeNoise.__name__:
            yield from columns(ProbeNoise, f"{prefix}{field.name}/")
        elif field.metadata["dims"][:1] == (ROWS,):
            yield prefix + field.name


def record_of(rows: Sequence[Mapping[str, Any]], **settings: Any) -> ProbeRecord:
    """Return the record of some rows.

    Args:
        rows: Of any columns; a number that is missing becomes NaN, a text empty.
        **settings: The fields that are no columns.
    """
    layers = len(settings["layers"])
    nested: dict[str, dict[str, Any]] = {}
    found: dict[str, Any] = {}
    for name in columns(ProbeRecord):
        group, _, field = name.rpartition("/")
        target = nested.setdefault(group, {}) if group else found
        target[field] = _column(name, [row.get(name) for row in rows], layers)
    found |= {group: ProbeNoise(**fields) for group, fields in nested.items()}
    return ProbeRecord(**found, **settings)


def _column(name: str, values: Sequence[Any], layers: int) -> Tensor | tuple[str, ...]:
    if name.endswith("_status"):
        return tuple("" if value is None else value for value in values)
    if name in {"step", "num_skipped"}:
        return torch.tensor(values, dtype=torch.int64)
    if name == "ascent_ratio":
        empty = torch.full((layers,), torch.nan, dtype=torch.float64)
        return torch.stack([empty, *(empty if value is None else value for value in values)])[1:]
    return torch.tensor([math.nan if value is None else value for value in values], dtype=torch.float64)


def _entry(record: Result, name: str, i: int) -> Any:
    group, _, field = name.rpartition("/")
    value = getattr(getattr(record, group) if group else record, field)[i]
    return value.item() if isinstance(value, Tensor) and value.ndim == 0 else value
