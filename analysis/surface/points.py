"""Everything a scan wants to know at a point: the loss, its errors, metrics, other splits, from one pass over each.

Right when the loss of a point equals `objective.loss(at)` bit for bit with the batches as given and to rounding under
any plan, and its error is that of a mean over samples (`tests/analysis/surface/test_points.py`).
Cost: one forward pass over each split for a point, and one for each anchor, close to that of bare forward passes
(`benchmarks/surface.py`). Memory: the data of all splits, up to `evaluate.HELD_BYTES` each, else they are read for
every point.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.checks import positive
from analysis.evaluation import At
from analysis.objective import Objective
from analysis.surface.plan import WORTH_A_TRIAL, Plan, channels_last, fastest, first_samples
from analysis.surface.quantities import Array, Metrics, mean_error, named_metrics, weighted_mean
from analysis.surface.split import Run, Split, State, on_host

PRECISIONS = ("full", "bfloat16")
# Of one point: loss, standard_error, rise_error, diverged, and metrics and metric_errors with an entry for each name.
Values = dict[str, Any]


class Points:
    """The function from weights to values; made by `points_of`, inside whose block the model is in eval mode.

    Attributes:
        metric_names: Metrics, then "split/loss" and "split/metric" for each further split.
        unit: What errors take as independent, "sample" or "batch".
        plan: How points are evaluated.
        anchors: The values at the points that all others are compared with.
    """

    def __init__(
        self, splits: Mapping[str, Objective], metrics: Metrics, precision: str, anchors: Sequence[At]
    ) -> None:
        self._objective = next(iter(splits.values()))
        self._precision = precision
        found = named_metrics(metrics)
        self._splits = [Split(split, found) for split in splits.values()]
        self.unit = self._splits[0].unit
        _, *others = splits
        self.metric_names = (*found, *(f"{name}/{of}" for name in others for of in ("loss", *found)))
        self.plan = Plan()
        self._own = self._objective.tensors()
        self._buffers = [name for name, _ in self._objective.model.named_buffers()]
        self._anchors = [self.state(at) for at in anchors]
        start = time.perf_counter()
        self._evaluate_anchors()
        self._seconds = (time.perf_counter() - start) / len(anchors)

    @property
    def data_fingerprint(self) -> str:
        """Of the data of all splits."""
        return "; ".join(split.fingerprint for split in self._splits)

    def state(self, at: At = None) -> State:
        """Return what the model is evaluated on at a point; with batchnorm="recalibrate" that takes a pass of its own.

        Args:
            at: Weights [D], every parameter and buffer by name, or None for the model's present ones.
        """
        objective = self._splits[0].objective
        if not isinstance(at, Tensor) or objective.batchnorm == "recalibrate":
            return objective.state(at)
        # the same for a vector, without a walk through the module tree for each of thousands of cells
        buffers = {name: self._own[name].clone() for name in self._buffers}
        pieces = objective.layout.split(objective.layout.checked(at, "at"))
        return {**self._own, **buffers, **{name: piece.to(self._own[name].dtype) for name, piece in pieces.items()}}

    def follow(self, plan: Plan) -> None:
        """Evaluate by a plan from here on, and the anchors anew, whose samples must come in the same order.

        Args:
            plan: How.

        Raises:
            ValueError: A batch size, for data that cannot be cut along samples or are too large to hold.
        """
        if plan == self.plan:
            return
        for split in self._splits:
            split.arrange(plan)
        self.plan = plan
        self._evaluate_anchors()

    def fastest(self, num_points: int) -> Plan:
        """Return the plan that a short trial finds fastest; the data as given where a trial is not worth it.

        Args:
            num_points: There will be.
        """
        split = self._splits[0]
        if split.batches is None or self._seconds * num_points < WORTH_A_TRIAL:
            return Plan()
        batches = list(split.batches)
        weights = self._objective.weights()  # cloned below: points that share memory are not stacked
        eps = torch.finfo(torch.bfloat16 if self._precision == "bfloat16" else self._objective.dtype).eps

        def timed(plan: Plan, samples: int) -> tuple[float, float]:
            data = plan.arranged(first_samples(batches, samples))
            states = [self._laid_out(self.state(weights.clone()), plan) for _ in range(plan.stacked)]
            start = time.perf_counter()
            totals = [total for total, _, _ in self._run(split, states, data)]
            return (time.perf_counter() - start) / len(states), totals[0]

        return fastest(batches, num_points, min(100 * eps, 0.05), timed, WORTH_A_TRIAL)

    def __call__(self, states: Sequence[State], shares: Sequence[Sequence[float]] | None = None) -> list[Values]:
        """Return the values of each point.

        Args:
            states: Every parameter and buffer of each point, as `state` returns them.
            shares: Of the anchors, in the sum each point's loss is compared with; None compares with the first.
        """
        return [
            self._values(runs, self._compared(share))
            for runs, share in zip(self._runs(states), shares or [[1.0]] * len(states), strict=True)
        ]

    def _evaluate_anchors(self) -> None:
        runs = list(self._runs(self._anchors))
        self._anchor_sums = [point[0][2][0][0] for point in runs]
        self.anchors = [self._values(point, sums) for point, sums in zip(runs, self._anchor_sums, strict=True)]

    def _compared(self, share: Sequence[float]) -> Array:
        if len(share) == 1:
            return share[0] * self._anchor_sums[0]
        with np.errstate(invalid="ignore"):  # 0 times an end that is not finite
            mixed: Array = np.asarray(share) @ np.stack(self._anchor_sums)
        return mixed

    def _runs(self, states: Sequence[State]) -> Iterator[tuple[Run, ...]]:
        """Yield what each point adds up to over each split."""
        for start in range(0, len(states), self.plan.stacked):
            group = [self._laid_out(state, self.plan) for state in states[start : start + self.plan.stacked]]
            yield from zip(*(self._run(split, group, split.data()) for split in self._splits), strict=True)

    def _laid_out(self, state: State, plan: Plan) -> State:
        return {name: channels_last(tensor) for name, tensor in state.items()} if plan.channels_last else state

    def _run(self, split: Split, states: Sequence[State], data: Iterable[Any]) -> list[Run]:
        low = torch.autocast(self._objective.device.type, torch.bfloat16) if self._precision == "bfloat16" else None
        with low or nullcontext():
            if len(states) == 1:
                return on_host(split.run(states[0], data), 1)
            kept = {
                name for name, first in states[0].items() if all(first.data_ptr() == s[name].data_ptr() for s in states)
            }
            moving = {name: torch.stack([state[name] for state in states]) for name in states[0] if name not in kept}
            shared = {name: states[0][name] for name in kept}
            try:
                total, count, units = torch.vmap(lambda own: split.run({**shared, **own}, data))(moving)
            except RuntimeError as error:  # an operation that vmap does not know, or memory
                raise ValueError(
                    f"this model cannot be evaluated at {len(states)} points together "
                    f"({str(error).splitlines()[0]}); give a plan with stacked=1"
                ) from error
        return on_host((total, count, units), len(states))

    def _values(self, runs: Sequence[Run], compared: Array) -> Values:
        total, count, units = runs[0]
        sums, counts = units[0]
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            errors = [mean_error(sums, counts), mean_error(sums - compared, counts)]
        columns = [*units[1:], *(pair for run in runs[1:] for pair in run[2])]
        loss = total / positive(count)
        return {
            "loss": loss,
            "standard_error": errors[0],
            "rise_error": errors[1] if self._splits[0].is_ordered else math.nan,
            "diverged": not math.isfinite(loss),
            "metrics": [weighted_mean(*pair) for pair in columns],
            "metric_errors": [mean_error(*pair) for pair in columns],
        }


@contextmanager
def points_of(
    objective: Objective,
    splits: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    precision: str = "full",
    anchors: Sequence[At] = (None,),
) -> Iterator[Points]:
    """Open the function from weights to values, for many points.

    The model is in eval mode until the block ends, and as found afterwards.

    Args:
        objective: Whose loss, on whose data; statistics of batch norm are the model's or those of these data.
        splits: Further data by name, for the same loss.
        metrics: As `quantities.named_metrics` takes them.
        precision: "full", or "bfloat16" for matrix products and convolutions.
        anchors: Points that others are compared with, sample by sample; the model's present weights.

    Yields:
        The function.

    Raises:
        ValueError: A wrong precision, metric or split, or data that hold nothing.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    others = {name: objective.on(data) for name, data in (splits or {}).items()}
    wrong = [name for name in others if not name or "/" in name]
    if wrong:
        raise ValueError(f"a split needs a name without '/', got {wrong[0]!r}; for example splits={{'test': loader}}")
    with ExitStack() as stack:
        for one in (objective, *others.values()):
            stack.enter_context(one.measuring(with_grad=False))
        yield Points({"": objective, **others}, metrics, precision, anchors)
