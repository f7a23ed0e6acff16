"""The loss along a line, over a plane or in a block through the weights, cell by cell, resumable.

Proved right by: a quadratic that comes back exactly in every cell of an uneven grid, an origin that equals
`objective.loss()`, the same surface after a ReLU network is rescaled, and a resumed grid that equals an
uninterrupted one (`tests/analysis/surface/test_scan.py`).
Cost: one forward pass over the data for each cell, and nearly nothing else (`benchmarks/surface.py`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch

from analysis.objective import Objective
from analysis.surface.directions import Given
from analysis.surface.extent import RISE
from analysis.surface.grid import Extent, Index, Progress
from analysis.surface.plan import AUTO, Plan
from analysis.surface.points import Values, points_of
from analysis.surface.quantities import Metrics
from analysis.surface.results import Block, Line, LossScan, Surface
from analysis.surface.scanning import Grid, PathLike, follow, place, run

Scanned = TypeVar("Scanned", bound=LossScan)
FILLED = ("loss", "standard_error", "rise_error", "metrics", "metric_errors", "diverged")


def loss_surface(
    objective: Objective,
    directions: Given = "random",
    normalize: str = "filter",
    extent: Extent | str = 1.0,
    points: int | Sequence[int] = 51,
    seed: int = 0,
    *,
    rise: float = RISE,
    zero_1d: bool = True,
    splits: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    plan: Plan | str = AUTO,
    precision: str = "full",
    distributed: bool = False,
    path: PathLike = None,
    name: str = "surface",
    progress: Progress | None = None,
) -> Surface:
    """Compute the loss on a grid in a plane through the weights.

    Buffers are never moved along; batch norm's statistics are the model's, or with an objective of
    batchnorm="recalibrate" those of the data at every cell, at the cost of a second pass. With an odd number of points
    and a symmetric extent the middle cell is the origin and equals `objective.loss()`: bit for bit with plan="given",
    else to rounding. With an even number there is no such cell.

    Args:
        objective: Whose loss, around its model's present weights.
        directions: "random" (Gaussian, made orthogonal), "hessian" (eigenvectors of the two largest eigenvalues); two
            vectors [D], or two mappings from parameter names to tensors, such as differences of checkpoints; or a
            result that has directions, a trajectory for example.
        normalize: What of a direction gets the norm of the same part of the weights: each "filter" (default of Li et
            al.), each "layer" (tensor), the whole "model", or "none". Eigenvectors are never scaled. The user's
            vectors are, unless "none"; they are not made orthogonal.
        extent: r for [-r, r] along both directions, (low, high), or ((low, high), (low, high)). 1.0, as in Li et al.:
            the perturbation is then as large as the filter itself. "auto" takes the radius at which the loss has
            risen `rise` times, one for both directions where they are normalized.
        points: Points along both directions, or a pair. 51, as in Li et al.
        seed: Of the random directions; the same on every device.
        rise: Of extent="auto": how many times the loss at the weights the larger end of an axis reaches. 10, our
            choice, shows a valley and its walls.
        zero_1d: Leave biases and norm parameters out of the directions (default of Li et al.). Does not touch
            eigenvectors, nor the user's vectors with "none".
        splits: Further data by name, {"test": loader}: their loss and metrics at every cell, on the same weights.
        metrics: {name: function(output, target)}, which returns a number for each sample [B] or one for the batch; with
            a `batch_loss` called as function(output, batch). "accuracy" is known by name. Another metric costs no
            further pass of the model.
        plan: How cells are evaluated: "auto" finds the fastest batch size, order of memory and number of cells at once
            by a short trial, where the scan promises to take more than ten seconds; "given" takes the batches as they
            are and repeats to the last bit; or an `analysis.Plan`.
        precision: "full", or "bfloat16" for matrix products and convolutions.
        distributed: Share the cells among all processes of the default group (torchrun, gloo or NCCL), each of which
            calls this with the whole data; all return the same surface, the first writes the file.
        path: Result file that takes each cell as it is computed. A second call with the same configuration goes on
            where the first was stopped; another configuration is refused by name. None keeps all in memory, and an
            exception then loses it.
        name: Of the measurement in that file.
        progress: Called as progress(done, total).

    Returns:
        Surface (frozen). loss [G1, G2] in float64, its first index along the first direction, and standard_error.
        rise_error is that of the difference to the origin: all cells are on the same samples, so differences between
        them are known far better than the loss itself; NaN where data too large to hold are shuffled anew. metrics
        [M, G1, G2] and their errors by metric_names. `diverged` marks cells whose loss is NaN or inf. `cosine` is below
        1e-6 for random directions but for `single_share`. status is COMPLETE; NOT_FINITE where a cell diverged;
        MAX_HVPS if the eigenvectors did not converge; INTERRUPTED only in the file of a stopped call.

    Raises:
        ValueError: An argument out of range, a direction of the wrong length, zero or not finite, or a file that was
            begun with other weights, data, directions, loss or settings.
        RuntimeError: `distributed` without a process group.

    Cost: 1 + G1 * G2 forward passes over each split, a trial of 2 percent of that, memory for the data (up to 2 GiB,
    else they are read for each cell) and a few vectors [D]. "hessian" adds some tens of Hessian products.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2 on the data below
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> found = loss_surface(objective, torch.eye(2), "none", extent=1.0, points=(3, 2))
        >>> found.loss, found.status.name
        (tensor([[2.5000, 2.5000],
                 [2.0000, 2.0000],
                 [2.5000, 2.5000]], dtype=torch.float64), 'COMPLETE')

    References:
        Li, Xu, Taylor, Studer, Goldstein, Visualizing the loss landscape of neural nets, NeurIPS 2018, arXiv
        1712.09913. We differ: the directions are orthogonal after normalization, and a bias that is kept is scaled as
        one filter.
    """
    with torch.inference_mode(False):  # whatever the caller's mode, the result holds ordinary tensors
        grid = place(
            objective,
            directions,
            2,
            normalize,
            extent,
            points,
            seed,
            rise,
            zero_1d=zero_1d,
            distributed=distributed,
        )
        return _scan(Surface, grid, grid.plane_fields(), splits, metrics, plan, precision, path, name, progress)


def loss_line(
    objective: Objective,
    direction: Given = "random",
    normalize: str = "filter",
    extent: Extent | str = 1.0,
    points: int = 101,
    seed: int = 0,
    *,
    rise: float = RISE,
    zero_1d: bool = True,
    splits: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    plan: Plan | str = AUTO,
    precision: str = "full",
    distributed: bool = False,
    path: PathLike = None,
    name: str = "line",
    progress: Progress | None = None,
) -> Line:
    """Compute the loss along a line through the weights: the row y = 0 of the surface with the same first direction.

    Args:
        objective: Whose loss, around its model's present weights.
        direction: "random", "hessian" (the eigenvector of the largest eigenvalue), or a vector [D].
        normalize: As in `loss_surface`.
        extent: r for [-r, r], (low, high), or "auto" as in `loss_surface`. From one checkpoint to another:
            `linear_path`.
        points: 101, our choice: twice as fine as a surface, at a small part of its cost.
        seed: As in `loss_surface`; the same seed gives a surface's first direction.
        rise: As in `loss_surface`.
        zero_1d: As in `loss_surface`, and so are the next five.
        splits: Further data.
        metrics: Further quantities.
        plan: How points are evaluated.
        precision: "full" or "bfloat16".
        distributed: Whether several processes share the points.
        path: As in `loss_surface`.
        name: Of the measurement in that file.
        progress: Called as progress(done, total).

    Returns:
        Line (frozen). loss [G] in float64; status as in `loss_surface`.

    Raises:
        ValueError: As in `loss_surface`.

    Cost: 1 + G forward passes over the data.
    """
    with torch.inference_mode(False):  # whatever the caller's mode, the result holds ordinary tensors
        grid = place(
            objective, direction, 1, normalize, extent, points, seed, rise, zero_1d=zero_1d, distributed=distributed
        )
        (t,) = grid.axes
        placed = {"t": t, "direction": grid.chosen.vectors[0].cpu(), "extent": t[[0, -1]], "points": len(t)}
        return _scan(Line, grid, placed, splits, metrics, plan, precision, path, name, progress)


def loss_block(
    objective: Objective,
    directions: Given = "random",
    normalize: str = "filter",
    extent: Extent | str = 1.0,
    points: int | Sequence[int] = 21,
    seed: int = 0,
    *,
    rise: float = RISE,
    zero_1d: bool = True,
    splits: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    plan: Plan | str = AUTO,
    precision: str = "full",
    distributed: bool = False,
    path: PathLike = None,
    name: str = "block",
    progress: Progress | None = None,
) -> Block:
    """Compute the loss on a grid in three directions from the weights, for volume rendering.

    Args:
        objective: As in `loss_surface`, and so are all others but these two.
        directions: "random", "hessian" (eigenvectors of the three largest eigenvalues), or three vectors [D].
        normalize: As in `loss_surface`.
        extent: As in `loss_surface`; or three pairs.
        points: Along all directions, or three numbers. 21, our choice: 9,261 cells.
        seed: As in `loss_surface`; the first two directions are those of the surface.
        rise: As in `loss_surface`.
        zero_1d: As in `loss_surface`, and so are the next five.
        splits: Further data.
        metrics: Further quantities.
        plan: How points are evaluated.
        precision: "full" or "bfloat16".
        distributed: Whether several processes share the points.
        path: As in `loss_surface`.
        name: Of the measurement in that file.
        progress: Called as progress(done, total).

    Returns:
        Block (frozen). loss [G1, G2, G3] in float64; status as in `loss_surface`.

    Raises:
        ValueError: As in `loss_surface`.

    Cost: 1 + G1 * G2 * G3 forward passes over the data.
    """
    with torch.inference_mode(False):
        grid = place(
            objective,
            directions,
            3,
            normalize,
            extent,
            points,
            seed,
            rise,
            zero_1d=zero_1d,
            distributed=distributed,
        )
        return _scan(Block, grid, grid.plane_fields(), splits, metrics, plan, precision, path, name, progress)


def _scan(
    kind: type[Scanned],
    grid: Grid,
    placed: dict[str, Any],
    splits: Mapping[str, Any] | None,
    metrics: Metrics,
    plan: Plan | str,
    precision: str,
    path: PathLike,
    name: str,
    progress: Progress | None,
) -> Scanned:
    with points_of(grid.objective, splits, metrics, precision) as points:
        follow(points, plan, grid.ranks, math.prod(grid.shape), path, f"{kind.group}/{name}")
        begun = kind(
            **grid.fields(points.anchors[0]["loss"], points.data_fingerprint),
            **placed,
            **_empty(grid.shape, len(points.metric_names)),
            metric_names=points.metric_names,
            error_unit=points.unit,
            precision=precision,
            **dataclasses.asdict(points.plan),
        )
        weights = grid.objective.weights()

        def compute(indices: Sequence[Index]) -> list[Values]:
            return points([points.state(grid.at(weights, index)) for index in indices])

        return run(begun, grid, compute, FILLED, path, name, progress, together=points.plan.stacked)


def _empty(shape: Sequence[int], num_metrics: int) -> dict[str, Any]:
    numbers = {key: torch.full(tuple(shape), math.nan, dtype=torch.float64) for key in FILLED[:3]}
    rows = {key: torch.full((num_metrics, *shape), math.nan, dtype=torch.float64) for key in FILLED[3:5]}
    return {**numbers, **rows, **{key: torch.zeros(tuple(shape), dtype=torch.bool) for key in ("diverged", "done")}}
