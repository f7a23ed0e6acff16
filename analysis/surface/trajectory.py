"""Where training went: checkpoints of one or several runs on a plane, with what the plane does not show.

Every point carries its distance to the plane, its true loss and the loss of the plane right below it: a path that lies
far outside does not follow the contours, and here that can be read off. Right when w + 1.5 d1 - 0.5 d2 comes back as
(1.5, -0.5) whatever the directions, and the principal axes are those of a dense singular value decomposition
(`tests/analysis/surface/test_trajectory.py`). Cost: two forward passes over each split for each point, a few passes
over [T, D] in pieces.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.objective import Objective
from analysis.surface.grid import Index, Progress, fill
from analysis.surface.identity import state_sha256, tensors_sha256
from analysis.surface.points import Points, points_of
from analysis.surface.quantities import Metrics
from analysis.surface.ranks import Ranks
from analysis.surface.results import DIVERGED, DONE, LOSS_ERROR, METRIC_ERRORS, METRIC_NAMES
from analysis.surface.scanning import OUTCOME, PathLike, cells_of

PIECE = 1 << 20  # weights whose inner products are summed at once: the float64 copy stays at 8 MB for each point
ONE_RUN = "run"
FILLED = ("loss", "standard_error", "plane_loss", "metrics", "metric_errors", "diverged")

Weights = Tensor | Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory(Result):
    """Points of training on a plane through the objective's weights, T in all, one run after the other."""

    group: ClassVar[str] = "surface"
    run_names: tuple[str, ...] = measured("run_name", description="Runs, in the order given")
    run: Tensor = measured("point", units="1", description="Index of the run a point belongs to")
    coordinates: Tensor = measured("point", "axis", units="1", description="Multiples of the directions, least squares")
    distance: Tensor = measured("point", units="weight", description="Euclidean distance to the plane")
    loss: Tensor = measured("point", units="loss", description="At the point itself, with the checkpoint's buffers")
    standard_error: Tensor = measured("point", **LOSS_ERROR)
    plane_loss: Tensor = measured("point", units="loss", description="At its projection, with the model's buffers")
    metric_names: tuple[str, ...] = measured("metric", **METRIC_NAMES)
    metrics: Tensor = measured("metric", "point", units="1", description="Means of the metrics at the point itself")
    metric_errors: Tensor = measured("metric", "point", **METRIC_ERRORS)
    diverged: Tensor = measured("point", **DIVERGED)
    done: Tensor = measured("point", **DONE)
    directions: Tensor = measured("axis", "parameter", units="weight", description="Of the plane")
    explained_variance: Tensor = measured(
        "axis", units="1", description="Share of the sum of squared distances to the origin that lies along an axis"
    )
    in_plane: float = measured(units="1", description="Share of that sum that lies in the plane")
    rank: int = measured(units="1", description="Directions the points span, at most 2; unspanned ones are arbitrary")
    source: str = measured(description="Where the plane comes from: pca or given")
    names: tuple[str, ...] = measured("tensor", description="Measured parameters, in the order of the flat vector")
    origin_loss: float = measured(units="loss", description="Loss at coordinates (0, 0), the objective's weights")
    batchnorm: str = measured(
        description="eval: statistics of the checkpoints and of the model; recalibrate: the data's"
    )
    error_unit: str = measured(description="What standard errors take as independent: sample or batch")
    state_sha256: str = measured(description="SHA-256 of all parameters and buffers at the origin")
    points_sha256: str = measured(description="SHA-256 of the weights of all points")
    data_fingerprint: str = measured(description="Sum over all data relative to their norm, and the norm")
    status: Status = measured(description="How it ended")

    def extent(self, margin: float = 0.15) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return a range for `loss_surface` that shows every point and the origin.

        Args:
            margin: Added on each side, as a share of the longer axis; 0.15 leaves room for markers.

        Returns:
            ((low, high), (low, high)), in multiples of the directions.
        """
        low = self.coordinates.amin(0).clamp(max=0.0)
        high = self.coordinates.amax(0).clamp(min=0.0)
        scale = torch.linalg.vector_norm(self.directions.double(), dim=1)
        room = margin * float(((high - low) * scale).max()) / scale  # equal in weights, also where axes differ
        pairs = torch.stack([low - room, high + room], dim=1).tolist()
        return (pairs[0][0], pairs[0][1]), (pairs[1][0], pairs[1][1])


def trajectory(
    objective: Objective,
    runs: Mapping[str, Sequence[Weights]] | Sequence[Weights],
    plane: str | Tensor | Any = "pca",
    *,
    splits: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    distributed: bool = False,
    path: PathLike = None,
    name: str = "trajectory",
    progress: Progress | None = None,
) -> Trajectory:
    """Project checkpoints on a plane through the objective's weights, and measure what the plane does not show.

    The origin is the objective's present weights, as in a surface of it: usually the last checkpoint. The principal
    axes are those of the differences to it (as in Li et al.; not to their mean), unit vectors, of all runs together.
    An axis points where its entry of largest magnitude is positive.

    Args:
        objective: Whose weights are the origin, and whose loss is measured.
        runs: By name, the checkpoints of each run in order: vectors [D] or `state_dict`s. A sequence of checkpoints
            is one run named "run". The true loss of a `state_dict` is taken with its own batch-norm statistics.
        plane: "pca"; or two directions [2, D] of any length and angle; or a result that has `.directions`.
        splits: Further data by name, as in `loss_surface`; measured at the points themselves.
        metrics: Further quantities, the same.
        distributed: As in `loss_surface`.
        path: Result file that takes each point as it is measured; stopped, the same call goes on.
        name: Of the trajectory in that file.
        progress: Called as progress(points done, points).

    Returns:
        Trajectory (frozen): coordinates [T, 2], distance [T], loss [T] with its standard error, plane_loss [T]. NaN and
        inf as found, with status NOT_FINITE. Where all points lie on a line `rank` is 1, and the second axis is an
        arbitrary one orthogonal to it.

    Raises:
        ValueError: No two different points, a checkpoint of another network or not finite, or directions that span
            no plane.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.eye(2), torch.zeros(2, 1)))
        >>> found = trajectory(objective, [torch.tensor([3.0, 4.0]), torch.zeros(2)], torch.tensor([[1.0, 0], [1, 1]]))
        >>> found.coordinates
        tensor([[-1.,  4.],
                [ 0.,  0.]], dtype=torch.float64)

    References:
        Li et al., Visualizing the loss landscape of neural nets, NeurIPS 2018, section 7. We differ: distance to the
        plane and true loss are part of the result, and any number of runs share one plane.
    """
    with torch.inference_mode(False):
        named = runs if isinstance(runs, Mapping) else {ONE_RUN: runs}
        checkpoints = [checkpoint for points in named.values() for checkpoint in points]
        index = [number for number, points in enumerate(named.values()) for _ in points]
        origin = objective.weights().cpu()
        # [T, D], in the objective's dtype: float64 would double what is the largest thing here
        steps = (
            torch.stack([objective.flat(point).cpu() - origin for point in checkpoints]) if index else origin[None][:0]
        )
        gram = _inner(steps, steps)
        _refuse_one_point(len(steps), gram)
        if isinstance(plane, str):
            if plane != "pca":
                raise ValueError(f"plane must be 'pca', two directions [2, D] or a result that has them, got {plane!r}")
            directions, rank = _principal(steps, gram, float(torch.linalg.vector_norm(origin)))
        else:
            directions, rank = _given(objective, getattr(plane, "directions", plane)), 2
        coordinates, distance = _project(steps, directions)
        spread = float(gram.diagonal().sum())
        ranks = Ranks(together=distributed)
        with points_of(objective, splits, metrics) as points:
            nothing = torch.full((len(index),), math.nan, dtype=torch.float64)
            rows = nothing.expand(len(points.metric_names), -1)
            what = {
                "state_sha256": state_sha256(objective),
                "points_sha256": tensors_sha256({"steps": steps}),
                "data_fingerprint": points.data_fingerprint,
            }
            ranks.refuse_differences(what)
            begun = Trajectory(
                **what,
                run_names=tuple(named),
                run=torch.tensor(index),
                coordinates=coordinates,
                distance=distance,
                loss=nothing,
                standard_error=nothing,
                plane_loss=nothing,
                metric_names=points.metric_names,
                metrics=rows,
                metric_errors=rows,
                diverged=torch.zeros(len(index), dtype=torch.bool),
                done=torch.zeros(len(index), dtype=torch.bool),
                directions=directions,
                explained_variance=_shares(steps, directions, spread),
                in_plane=1.0 - float((distance**2).sum()) / spread,
                rank=rank,
                source="pca" if isinstance(plane, str) else "given",
                names=objective.names,
                origin_loss=points.anchors[0]["loss"],
                batchnorm=objective.batchnorm,
                error_unit=points.unit,
                status=Status.INTERRUPTED,
            )
            weights = objective.weights()

            def compute(indices: Sequence[Index]) -> list[dict[str, Any]]:
                return [
                    _values(points, checkpoints[i], _below(weights, coordinates[i], directions)) for (i,) in indices
                ]

            with cells_of(begun, ranks, FILLED, OUTCOME, path, name) as cells:
                fill([len(index)], cells, compute, ranks, progress)
        found: dict[str, Any] = {key: torch.from_numpy(np.array(cells[key])) for key in (*FILLED, "done")}
        status = Status.NOT_FINITE if bool(found["diverged"].any()) else Status.COMPLETE
        result = dataclasses.replace(begun, **found, status=status)
        if path is not None and ranks.is_first:
            result.save(path, name)
        return result


def _values(points: Points, checkpoint: Weights, below: Tensor) -> dict[str, Any]:
    """Return what is measured at a checkpoint, and the loss in the plane below it."""
    true, plane = points([points.state(checkpoint), points.state(below)])
    del true["rise_error"]
    return {**true, "plane_loss": plane["loss"], "diverged": true["diverged"] or plane["diverged"]}


def _below(weights: Tensor, point: Tensor, directions: Tensor) -> Tensor:
    """Return the weights [D] of a place in the plane."""
    for coordinate, direction in zip(point.tolist(), directions, strict=True):
        weights = torch.add(weights, direction.to(weights), alpha=coordinate)
    return weights


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return all inner products of the rows [I, D], [J, D] in float64, [I, J]."""
    total = torch.zeros(len(a), len(b), dtype=torch.float64)
    for start in range(0, a.shape[1], PIECE):
        total += a[:, start : start + PIECE].double() @ b[:, start : start + PIECE].double().T
    return total


def _refuse_one_point(count: int, gram: Tensor) -> None:
    between = gram.diagonal()[:, None] + gram.diagonal()[None, :] - 2 * gram
    if count < 2 or not bool((between > 0).any()):
        equal = "" if count < 2 else " that are all equal"
        raise ValueError(f"a trajectory needs at least two different checkpoints, got {count}{equal}")


def _principal(steps: Tensor, gram: Tensor, scale: float) -> tuple[Tensor, int]:
    """Return the two principal axes [2, D] of the points about the origin, and how many of them the points span."""
    squares, vectors = torch.linalg.eigh(gram)
    # what is not longer than the rounding of the weights in all points is no direction, nor is what the rounding of
    # the inner products hides: eigenvalues of [T, T] are known to T eps of the largest
    longest = float(squares[-1].clamp(min=0)) ** 0.5
    rounding = 8 * torch.finfo(steps.dtype).eps * math.sqrt(len(steps)) * (scale + longest)
    hidden = 8 * len(steps) * torch.finfo(torch.float64).eps * longest**2
    rank = min(2, int((squares > max(rounding**2, hidden)).sum()))
    axes = vectors.flip(1)[:, :2].T.to(steps.dtype) @ steps  # [2, T] @ [T, D]
    if steps.shape[1] < 2:
        raise ValueError("a plane needs at least two measured weights, got 1; draw a line")
    if rank < 2:
        axes = torch.stack([axes[0], torch.randn(axes.shape[1], generator=torch.Generator().manual_seed(0)).to(axes)])
    first = _unit(axes[0].double())
    second = axes[1].double()
    for _ in range(2):  # once leaves rounding where the second singular value is small
        second = _unit(second - (second @ first) * first)
    return torch.stack([first, second]).to(steps.dtype), rank


def _unit(vector: Tensor) -> Tensor:
    """Return the vector at norm 1, its entry of largest magnitude positive."""
    found: Tensor = vector / torch.linalg.vector_norm(vector) * torch.sign(vector[vector.abs().argmax()])
    return found


def _given(objective: Objective, directions: Any) -> Tensor:
    rows = [objective.layout.checked(row, "a direction of the plane").cpu() for row in directions]
    if len(rows) != 2:
        raise ValueError(f"a plane needs two directions [2, D], got {len(rows)}")
    found = torch.stack(rows)
    gram = _inner(found, found)
    if not bool(gram.isfinite().all()) or not float(torch.linalg.det(gram)) > 1e-12 * float(gram.diagonal().prod()):
        raise ValueError("the two directions must span a plane; they are zero, parallel or not finite")
    return found


def _project(steps: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return least-squares coordinates [T, 2] and distances [T]."""
    coordinates = torch.linalg.solve(_inner(directions, directions), _inner(directions, steps)).T
    left = [step.double() - point @ directions.double() for step, point in zip(steps, coordinates, strict=True)]
    return coordinates, torch.stack([torch.linalg.vector_norm(row) for row in left])


def _shares(steps: Tensor, directions: Tensor, spread: float) -> Tensor:
    along = _inner(steps, directions) / _inner(directions, directions).diagonal().sqrt()  # [T, 2]
    return (along**2).sum(0) / spread
