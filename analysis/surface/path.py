"""The loss on the straight way from one checkpoint to another and beyond: is there a barrier between two minima?

Right when both ends equal the losses of the checkpoints bit for bit, batch-norm statistics included, and the barrier of
a double well is its closed form (`tests/analysis/surface/test_path.py`). Cost: one forward pass over the data for each
point and each objective; two with batchnorm="recalibrate".
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.objective import Objective
from analysis.store import Cells, open_cells
from analysis.surface.evaluate import rounded_fingerprint, tensors_sha256
from analysis.surface.grid import Progress, axes, coarse_to_fine

ENTEZARI = "Entezari et al. (2022), arXiv 2110.06296, definition 2.1"
FILLED = ("loss", "others")


@dataclasses.dataclass(frozen=True, eq=False)
class LinearPath(Result):
    """The loss on a line through two checkpoints: loss[i] is at (1 - t[i]) start + t[i] end."""

    group: ClassVar[str] = "surface"
    t: Tensor = measured("t", units="1", description="0 is the start, 1 the end")
    loss: Tensor = measured("t", units="loss", description="Mean loss; NaN and inf as found")
    other_names: tuple[str, ...] = measured("other", description="Further objectives on the same path")
    others: Tensor = measured("other", "t", units="1", description="Their means; NaN and inf as found")
    done: Tensor = measured("t", units="1", description="Whether the point has been computed")
    barrier: float = measured(
        units="loss", description="Largest excess of the loss over the chord between the ends", source=ENTEZARI
    )
    barrier_at: float = measured(units="1", description="The t of that excess")
    other_barriers: Tensor = measured("other", units="1", description="The same of the others", source=ENTEZARI)
    distance: float = measured(units="weight", description="Euclidean distance of the ends")
    cosine: float = measured(units="1", description="Of the two weight vectors")
    names: tuple[str, ...] = measured("tensor", description="Parameters that move, in the order of the flat vector")
    start_sha256: str = measured(description="SHA-256 of all parameters and buffers at the start")
    end_sha256: str = measured(description="The same at the end")
    batchnorm: str = measured(description="eval: statistics between those of the ends; recalibrate: those of the data")
    data_fingerprint: str = measured(description="Sum over all data relative to their norm, and the norm")
    status: Status = measured(description="How it ended")


def linear_path(
    objective: Objective,
    start: Tensor | Mapping[str, Tensor],
    end: Tensor | Mapping[str, Tensor],
    extent: tuple[float, float] = (0.0, 1.0),
    points: int = 25,
    *,
    others: Mapping[str, Objective] | None = None,
    path: str | os.PathLike[str] | None = None,
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
        others: Further objectives of the same model, by name, evaluated at the same points: test data, an error rate.
        path: Result file that takes each point as it is computed; a second call goes on where the first was stopped.
        name: Of the measurement in that file.
        progress: Called as progress(done, total).

    Returns:
        LinearPath (frozen). `barrier` is the largest loss(t) - ((1 - t) loss(0) + t loss(1)) over the points within
        [0, 1], at least 0; NaN where an end is not finite or not among the points, inf where a point between is not
        finite. Status NOT_FINITE where any point is not.

    Raises:
        ValueError: Ends of another network, not finite or equal; others of another model; extent or points out of
            range; or a file begun with other ends, data or settings.

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
        wanted = {"": objective, **(others or {})}
        _check(objective, wanted, start, end)
        ends = {key: (one.tensors(start), one.tensors(end)) for key, one in wanted.items()}
        a, b = (objective.flat(weights).double() for weights in (start, end))
        objective.loss(start)  # before the fingerprint: it takes a pass over the data to know them
        t = torch.tensor(ts, dtype=torch.float64)
        begun = LinearPath(
            t=t,
            loss=torch.full_like(t, math.nan),
            other_names=tuple(others or {}),
            others=torch.full((len(wanted) - 1, len(t)), math.nan, dtype=torch.float64),
            done=torch.zeros(len(t), dtype=torch.bool),
            barrier=math.nan,
            barrier_at=math.nan,
            other_barriers=torch.full((len(wanted) - 1,), math.nan, dtype=torch.float64),
            distance=float(torch.linalg.vector_norm(b - a)),
            cosine=float(a @ b / (torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))),
            names=objective.names,
            start_sha256=tensors_sha256(ends[""][0]),
            end_sha256=tensors_sha256(ends[""][1]),
            batchnorm=objective.batchnorm,
            data_fingerprint=rounded_fingerprint(objective),
            status=Status.INTERRUPTED,
        )
        moving = {key for key, _ in objective.model.named_parameters()}
        with _cells(begun, path, name) as cells:
            missing = [index for index in coarse_to_fine([len(t)]) if not cells.done[index]]
            for number, index in enumerate(missing, start=1 + len(t) - len(missing)):
                values = [one.loss(_between(*ends[key], moving, ts[index[0]])) for key, one in wanted.items()]
                cells.finish(index, loss=values[0], others=values[1:])
                if progress is not None:
                    progress(number, len(t))
        return _finished(begun, cells, path, name)


def chord_excess(t: Tensor, loss: Tensor, at_start: float, at_end: float) -> tuple[float, float]:
    """Return the largest excess of a loss over the straight line between its ends, and where it is.

    Args:
        t: Places [G]; those outside [0, 1] do not count.
        loss: There [G].
        at_start: At t = 0.
        at_end: At t = 1.

    Returns:
        (excess >= 0, t); (NaN, NaN) where an end is not finite.

    Example:
        >>> chord_excess(torch.tensor([0.0, 0.25, 1.0]), torch.tensor([1.0, 4.0, 5.0]), 1.0, 5.0)
        (2.0, 0.25)
    """
    if not (math.isfinite(at_start) and math.isfinite(at_end)):
        return math.nan, math.nan
    inside = (t >= 0) & (t <= 1)
    excess = (loss - ((1 - t) * at_start + t * at_end))[inside].nan_to_num(nan=math.inf)
    if not len(excess) or float(excess.max()) <= 0:
        return 0.0, 0.0
    return float(excess.max()), float(t[inside][excess.argmax()])


def _check(
    objective: Objective,
    wanted: Mapping[str, Objective],
    start: Tensor | Mapping[str, Tensor],
    end: Tensor | Mapping[str, Tensor],
) -> None:
    for key, one in wanted.items():
        if one.model is not objective.model or one.names != objective.names:
            raise ValueError(f"others[{key!r}] must be an objective of the same model and the same parameters")
    if torch.equal(objective.flat(start), objective.flat(end)):
        raise ValueError("start and end must differ, got equal weights; give two checkpoints")


def _between(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], moving: Collection[str], t: float
) -> dict[str, Tensor]:
    """Return every parameter and buffer at t; both ends come out exactly."""
    found: dict[str, Tensor] = {}
    for key, first in start.items():
        last = end[key]
        if key in moving:
            found[key] = torch.lerp(first, last, t)
        elif first.is_floating_point():
            found[key] = torch.lerp(first, last, min(max(t, 0.0), 1.0))
        else:
            found[key] = first if t < 0.5 else last
    return found


@contextmanager
def _cells(begun: LinearPath, path: str | os.PathLike[str] | None, name: str) -> Iterator[Cells]:
    measurement = begun.to_measurement()
    if path is None:
        yield Cells({key: measurement.variables[key].data.copy() for key in (*FILLED, "done")}, "done")
        return
    outcome = ("status", "status_meaning", "barrier", "barrier_at", "other_barriers")
    with open_cells(path, begun.group, name, measurement, FILLED, outcome=outcome) as cells:
        yield cells


def _finished(begun: LinearPath, cells: Cells, path: str | os.PathLike[str] | None, name: str) -> LinearPath:
    arrays = {key: torch.from_numpy(np.array(cells[key])) for key in (*FILLED, "done")}
    rows = [arrays["loss"], *arrays["others"]]
    found = [chord_excess(begun.t, row, _at(begun.t, row, 0.0), _at(begun.t, row, 1.0)) for row in rows]
    is_finite = all(bool(row.isfinite().all()) for row in rows)
    result = dataclasses.replace(
        begun,
        loss=arrays["loss"],
        others=arrays["others"],
        done=arrays["done"],
        barrier=found[0][0],
        barrier_at=found[0][1],
        other_barriers=torch.tensor([excess for excess, _ in found[1:]], dtype=torch.float64),
        status=Status.COMPLETE if is_finite else Status.NOT_FINITE,
    )
    if path is not None:
        result.save(path, name)
    return result


def _at(t: Tensor, loss: Tensor, place: float) -> float:
    """Return the loss at one of the ends; NaN where it is not among the points."""
    there = loss[t == place]
    return float(there[0]) if len(there) else math.nan
