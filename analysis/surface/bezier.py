"""A curve of low loss between two checkpoints: are two minima connected where the straight line meets a barrier?

Right when the curve between two points of a ring-shaped valley stays in the valley, its gradient is that of a finite
difference, and a stopped training goes on to the same curve (`tests/analysis/surface/test_bezier.py`).
Cost: one gradient of a batch for each step, then that of a linear path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.checks import check_whole
from analysis.objective import Objective
from analysis.surface.bend import Training, on_curve
from analysis.surface.grid import Progress, axes
from analysis.surface.path import Ends, Way, Weights, walk
from analysis.surface.plan import AUTO, Plan
from analysis.surface.points import points_of
from analysis.surface.quantities import Metrics
from analysis.surface.ranks import Ranks
from analysis.surface.results import BezierPath
from analysis.surface.scanning import PathLike, follow

STEP = 0.02  # of Adam, relative to the distance of the ends per weight: 300 steps go up to three times that distance


def bezier_path(
    objective: Objective,
    start: Weights,
    end: Weights,
    points: int = 25,
    *,
    steps: int = 300,
    lr: float | None = None,
    seed: int = 0,
    splits: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    plan: Plan | str = AUTO,
    precision: str = "full",
    distributed: bool = False,
    path: PathLike = None,
    name: str = "bezier_path",
    progress: Progress | None = None,
) -> BezierPath:
    """Train a quadratic Bezier curve between two checkpoints to low loss, and compute the loss along it.

    The curve is (1 - t)^2 start + 2 t (1 - t) bend + t^2 end. Each step takes the next batch and a t drawn evenly from
    [0, 1], and moves the bend against the gradient of that batch's loss there. The ends stay what they are. Only
    measured weights bend; everything else a checkpoint holds is interpolated, buffers too. With an objective of
    batchnorm="recalibrate" (advised for batch norm, as in Garipov et al.) the training normalizes by each batch, and
    each point of the curve by the data.

    Args:
        objective: Whose loss, on whose data: the training data.
        start: At t = 0: a vector [D], or a `state_dict`.
        end: At t = 1.
        points: As in `linear_path`, and so are all but these.
        steps: Of the training. 300, our choice; whether it was enough, `training_loss` tells.
        lr: Of Adam, in weights; it falls to 0 linearly. None is 0.02 ||end - start|| / sqrt(D), our choice: the bend
            can go three times the distance of the ends.
        seed: Of the t of each step.
        splits: As in `linear_path`.
        metrics: As in `linear_path`.
        plan: As in `linear_path`; of the points, not of the training.
        precision: As in `linear_path`.
        distributed: Shares the points; the training is each process's own, and the first one's counts.
        path: Result file; training and points go on where they were stopped.
        name: Of the measurement in that file; the training is kept beside it under this name and "_training".
        progress: Called as progress(done, total) over steps and points.

    Returns:
        BezierPath (frozen): all that `linear_path` returns, the bend [D], the length of the curve, and the training's
        losses [steps].

    Raises:
        ValueError: As in `linear_path`; steps or lr out of range.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> ring = lambda model, x: ((model.weight.norm() - 1) ** 2, 1)  # a valley at distance 1 from zero
        >>> objective = Objective(model, batch_loss=ring, data=torch.ones(1, 1))
        >>> start, end = torch.tensor([-1.0, 0.1]), torch.tensor([1.0, 0.1])
        >>> bezier_path(objective, start, end, points=9).barrier < 0.1
        True

    References:
        Garipov, Izmailov, Podoprikhin, Vetrov, Wilson, arXiv 1802.10026. We differ: Adam, and a step that is scaled to
        the distance of the ends.
    """
    check_whole("steps", steps, 1, "300 is the default")
    if lr is not None and not (math.isfinite(lr) and lr > 0):
        raise ValueError(
            f"lr must be a finite number > 0 or None, got {lr}; None scales it to the distance of the ends"
        )
    with torch.inference_mode(False):
        (ts,) = axes((0.0, 1.0), points, 1)
        ends, ranks = Ends.of(objective, start, end), Ranks(together=distributed)
        distance = float(torch.linalg.vector_norm(ends.flat_end.double() - ends.flat_start.double()))
        rate = STEP * distance / math.sqrt(objective.num_parameters) if lr is None else lr

        def tell(done: int) -> None:
            if progress is not None:
                progress(done, steps + points)

        training = Training(objective, ends.flat_start, ends.flat_end, ends.between, steps, rate, seed)
        training.run(path if ranks.is_first else None, f"{name}_training", tell)
        bend = ranks.of_first(training.bend).to(objective.device)
        losses = ranks.of_first(training.losses)

        def tensors_at(t: float) -> dict[str, Tensor]:
            curved = on_curve(ends.flat_start, bend, ends.flat_end, t)
            pieces = objective.layout.split(curved)
            return {key: pieces.get(key, tensor) for key, tensor in ends.between(t).items()}

        way = Way(objective, ends, ts, tensors_at, ranks, path, name, lambda done, _: tell(steps + done))
        further = {
            "bend": bend.cpu(),
            "length": _length(ends, bend),
            "steps": steps,
            "lr": rate,
            "seed": seed,
            "training_loss": losses,
        }
        with points_of(objective, splits, metrics, precision, (ends.start, ends.end)) as found:
            follow(found, plan, ranks, len(ts), path, f"{BezierPath.group}/{name}")
            return walk(BezierPath, way, found, precision, further)


def _length(ends: Ends, bend: Tensor) -> float:
    """Return the length of the curve, by the Gram matrix of its two legs: the integral of the norm of its speed."""
    legs = torch.stack([bend.double() - ends.flat_start.double(), ends.flat_end.double() - bend.double()])
    gram = (legs @ legs.T).cpu().numpy()
    t = (np.polynomial.legendre.leggauss(64)[0] + 1) / 2  # the speed 2 |(1 - t) leg_0 + t leg_1| is smooth
    shares = np.stack([1 - t, t])
    speed = 2 * np.sqrt(np.einsum("it,ij,jt->t", shares, gram, shares).clip(min=0))
    return float(speed @ np.polynomial.legendre.leggauss(64)[1] / 2)
