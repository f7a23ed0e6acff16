"""The loss on the straight way from one checkpoint to another and beyond: is there a barrier between two minima?

Right when both ends equal the losses of the checkpoints bit for bit, batch-norm statistics included, and the barrier of
a double well is its closed form (`tests/analysis/surface/test_path.py`). Cost: one forward pass over each split for a
point; two with batchnorm="recalibrate".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from analysis.evidence import Status
from analysis.objective import Objective
from analysis.surface.grid import Index, Progress, axes, fill
from analysis.surface.identity import tensors_sha256
from analysis.surface.plan import AUTO, Plan
from analysis.surface.points import Points, Values, points_of
from analysis.surface.quantities import Metrics
from analysis.surface.ranks import Ranks
from analysis.surface.results import LinearPath, Path
from analysis.surface.scanning import PathLike, cells_of, follow

Pathed = TypeVar("Pathed", bound=Path)
Weights = Tensor | Mapping[str, Tensor]
FILLED = ("loss", "standard_error", "excess", "excess_error", "metrics", "metric_errors", "diverged")
OUTCOME = (
    "start_loss",
    "end_loss",
    "status",
    "status_meaning",
    "barrier",
    "barrier_error",
    "barrier_at",
    "metric_rises",
    "metric_falls",
)


def linear_path(
    objective: Objective,
    start: Weights,
    end: Weights,
    extent: tuple[float, float] = (0.0, 1.0),
    points: int = 25,
    *,
    splits: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    plan: Plan | str = AUTO,
    precision: str = "full",
    distributed: bool = False,
    path: PathLike = None,
    name: str = "linear_path",
    progress: Progress | None = None,
) -> LinearPath:
    """Compute the loss on the straight line through two checkpoints.

    All that the checkpoints hold moves, buffers too. Batch norm: with batchnorm="eval" running statistics are
    interpolated like the weights between the ends, and held at the nearer end beyond them, where a variance could turn
    negative; with "recalibrate" they are those of the data at every point, the ends included, which is what
    Jordan et al. (arXiv 2211.08403) show to be needed for a fair barrier.

    Args:
        objective: Whose loss, on whose data.
        start: At t = 0: a vector [D], or a `state_dict`, whose buffers count too.
        end: At t = 1.
        extent: Lowest and highest t; (-0.5, 1.5) looks beyond both ends, as Goodfellow et al. do.
        points: At least 2. With (0, 1) and 25, our choice, both ends and the middle are among them.
        splits: Further data by name, as in `loss_surface`, and so are the next four; statistics of batch norm are those
            of the objective's data for all of them.
        metrics: Further quantities: "accuracy", or {name: function}.
        plan: How points are evaluated.
        precision: "full" or "bfloat16".
        distributed: Whether several processes share the points.
        path: Result file that takes each point as it is computed; stopped, the same call goes on.
        name: Of the measurement in that file.
        progress: Called as progress(done, total).

    Returns:
        LinearPath (frozen). `excess` is loss(t) - ((1 - t) loss(0) + t loss(1)), with its standard error: the three
        share their samples. `barrier` is its largest value over the points within [0, 1], at least 0; NaN where an end
        is not finite, inf where a point between is not. Status NOT_FINITE where any point is not. Metrics have their
        largest rise above the chord and their largest fall below it.

    Raises:
        ValueError: Ends of another network, not finite or equal; extent or points out of range; or a file begun with
            other ends, data or settings.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.ones(1, 1), torch.zeros(1, 1)))  # L = w^2
        >>> found = linear_path(objective, torch.tensor([-1.0]), torch.tensor([1.0]), points=3)
        >>> found.loss.tolist(), found.barrier
        ([1.0, 0.0, 1.0], 0.0)

    References:
        Goodfellow, Vinyals, Saxe, Qualitatively characterizing neural network optimization problems, arXiv 1412.6544.
        Entezari et al., arXiv 2110.06296: the barrier.
    """
    with torch.inference_mode(False):
        (ts,) = axes(extent, points, 1)
        ends = Ends.of(objective, start, end)
        way = Way(objective, ends, ts, ends.between, Ranks(together=distributed), path, name, progress)
        with points_of(objective, splits, metrics, precision, (ends.start, ends.end)) as found:
            follow(found, plan, way.ranks, len(ts), path, f"{LinearPath.group}/{name}")
            return walk(LinearPath, way, found, precision, {})


@dataclass(frozen=True)
class Ends:
    """Two checkpoints: every parameter and buffer by name, and the measured weights as vectors [D]."""

    start: Mapping[str, Tensor]
    end: Mapping[str, Tensor]
    parameters: Collection[str]
    flat_start: Tensor
    flat_end: Tensor

    @classmethod
    def of(cls, objective: Objective, start: Weights, end: Weights) -> Ends:
        """Read two checkpoints.

        Args:
            objective: Whose model they are of.
            start: At t = 0.
            end: At t = 1.

        Returns:
            Them.

        Raises:
            ValueError: They are of another network, not finite, or equal.
        """
        a, b = (objective.flat(weights) for weights in (start, end))
        if torch.equal(a, b):
            raise ValueError("start and end must differ, got equal weights; give two checkpoints")
        parameters = {key for key, _ in objective.model.named_parameters()}
        return cls(objective.tensors(start), objective.tensors(end), parameters, a, b)

    def between(self, t: float) -> dict[str, Tensor]:
        """Return every parameter and buffer on the line at t; both ends come out exactly."""
        found: dict[str, Tensor] = {}
        for key, first in self.start.items():
            last = self.end[key]
            if key in self.parameters:
                found[key] = torch.lerp(first, last, t)
            elif first.is_floating_point():
                found[key] = torch.lerp(first, last, min(max(t, 0.0), 1.0))
            else:
                found[key] = first if t < 0.5 else last
        return found


@dataclass(frozen=True)
class Way:
    """What a path is made of: its ends, its points, what lies at each, and where it is kept."""

    objective: Objective
    ends: Ends
    ts: Sequence[float]
    tensors_at: Callable[[float], Mapping[str, Tensor]]
    ranks: Ranks
    path: PathLike
    name: str
    progress: Progress | None


def walk(kind: type[Pathed], way: Way, points: Points, precision: str, further: Mapping[str, Any]) -> Pathed:
    """Compute every point of a path that is not done, and return it with its barrier.

    Args:
        kind: Result type.
        way: Where.
        points: Opened with the two ends as anchors, and following a plan.
        precision: That of the points.
        further: Fields of the result type beyond those of `results.Path`.

    Returns:
        The path.
    """
    first, last = points.anchors
    begun = kind(**_fields(way, points, precision), **further)

    def compute(indices: Sequence[Index]) -> list[Values]:
        ts = [way.ts[i] for (i,) in indices]
        states = [points.state(way.tensors_at(t)) for t in ts]
        found = points(states, [(1 - t, t) for t in ts])
        for t, values in zip(ts, found, strict=True):
            values["excess"] = values["loss"] - ((1 - t) * first["loss"] + t * last["loss"])
            values["excess_error"] = values.pop("rise_error")
        return found

    with cells_of(begun, way.ranks, FILLED, OUTCOME, way.path, way.name) as cells:
        fill([len(way.ts)], cells, compute, way.ranks, way.progress, points.plan.stacked)
    arrays: dict[str, Any] = {key: torch.from_numpy(np.array(cells[key])) for key in (*FILLED, "done")}
    found: Pathed = dataclasses.replace(begun, **arrays, **_barriers(begun.t, arrays, first, last))
    if way.path is not None and way.ranks.is_first:
        found.save(way.path, way.name)
    return found


def largest(t: Tensor, excess: Tensor) -> tuple[float, int | None]:
    """Return the largest excess over the chord between the ends, and its place.

    Args:
        t: Places [G]; those outside [0, 1] do not count.
        excess: There [G].

    Returns:
        (excess, index), inf for a point that is not finite; (0.0, None) where nothing is above the chord.

    Example:
        >>> largest(torch.tensor([0.0, 0.25, 1.0, 2.0]), torch.tensor([0.0, 2.0, 0.0, 9.0]))
        (2.0, 1)
    """
    inside = torch.where((t >= 0) & (t <= 1), excess.nan_to_num(nan=math.inf, posinf=math.inf), -math.inf)
    place = int(inside.argmax())
    return (float(inside[place]), place) if float(inside[place]) > 0 else (0.0, None)


def _barriers(t: Tensor, arrays: Mapping[str, Tensor], first: Values, last: Values) -> dict[str, Any]:
    found: dict[str, Any] = {"barrier": math.nan, "barrier_error": math.nan, "barrier_at": math.nan}
    if not (first["diverged"] or last["diverged"]):
        barrier, place = largest(t, arrays["excess"])
        found["barrier"] = barrier
        found["barrier_at"] = 0.0 if place is None else float(t[place])
        found["barrier_error"] = 0.0 if place is None else float(arrays["excess_error"][place])
    start, end = (torch.tensor(values["metrics"], dtype=torch.float64)[:, None] for values in (first, last))
    above = arrays["metrics"] - ((1 - t) * start + t * end)
    found["metric_rises"], found["metric_falls"] = (
        torch.tensor([largest(t, side * row)[0] for row in above], dtype=torch.float64) for side in (1.0, -1.0)
    )
    found["status"] = Status.NOT_FINITE if bool(arrays["diverged"].any()) else Status.COMPLETE
    return found


def _fields(way: Way, points: Points, precision: str) -> dict[str, Any]:
    t, rows = torch.tensor(way.ts, dtype=torch.float64), len(points.metric_names)
    a, b = way.ends.flat_start.double(), way.ends.flat_end.double()
    nothing = torch.full_like(t, math.nan)
    what = {
        "start_sha256": tensors_sha256(way.ends.start),
        "end_sha256": tensors_sha256(way.ends.end),
        "data_fingerprint": points.data_fingerprint,
    }
    way.ranks.refuse_differences(what)
    return {
        **what,
        **dict.fromkeys(("loss", "standard_error", "excess", "excess_error"), nothing),
        **dict.fromkeys(("metrics", "metric_errors"), nothing.expand(rows, -1)),
        **dict.fromkeys(("done", "diverged"), torch.zeros_like(t, dtype=torch.bool)),
        **dict.fromkeys(("barrier", "barrier_error", "barrier_at"), math.nan),
        **dict.fromkeys(("metric_rises", "metric_falls"), torch.full((rows,), math.nan, dtype=torch.float64)),
        "start_loss": points.anchors[0]["loss"],
        "end_loss": points.anchors[1]["loss"],
        "t": t,
        "extent": t[[0, -1]],
        "points": len(t),
        "metric_names": points.metric_names,
        "distance": float(torch.linalg.vector_norm(b - a)),
        "cosine": float(a @ b / (torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))),
        "names": way.objective.names,
        "batchnorm": way.objective.batchnorm,
        "error_unit": points.unit,
        "precision": precision,
        **dataclasses.asdict(points.plan),
        "status": Status.INTERRUPTED,
    }
