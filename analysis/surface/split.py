"""One set of data that points are evaluated on: its batches, held and laid out, and one pass over them.

Right when a pass gives what `Objective.loss` gives, bit for bit, for data that are held and data that are read anew
(`tests/analysis/surface/test_points.py`). Cost: a pass is one forward pass over the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler

from analysis.objective import Objective
from analysis.slots import Slots
from analysis.surface.evaluate import Held, read_once
from analysis.surface.identity import rounded_fingerprint
from analysis.surface.plan import Plan
from analysis.surface.quantities import Array, Quantities, Units, unit_of

State = Mapping[str, Tensor]
# Of one point over one split: loss_sum, count, and the units of the loss and of each metric.
Run = tuple[float, float, list[tuple[Array, Array]]]
Sums = tuple[Tensor, Tensor, list[Units]]  # the same where it was computed


class Split:
    """One set of data, and what is measured of it."""

    def __init__(self, objective: Objective, metrics: Mapping[str, Any]) -> None:
        self.batches: Held | None = read_once(objective)
        self.objective = objective if self.batches is None else objective.on(self.batches)
        self._given = objective
        # samples are compared one by one, which a loader that shuffles anew at every point does not allow
        self.is_ordered = self.batches is not None or not isinstance(
            getattr(objective.data, "sampler", None), RandomSampler
        )
        self._arranged: Iterable[Any] | None = self.batches
        self._slots = Slots(objective.model)
        first = next(iter(self.data()))
        with self._slots.holding(objective.state_from(objective.tensors())):
            self.unit = unit_of(objective, objective.model, first)
        self._quantities = Quantities(objective, metrics, self.unit)

    @property
    def fingerprint(self) -> str:
        """Of the data; known once a point has been evaluated."""
        return rounded_fingerprint(self._given)

    def data(self) -> Iterable[Any]:
        """Return the batches, as the plan has them."""
        return self.objective.batches() if self._arranged is None else self._arranged

    def arrange(self, plan: Plan) -> None:
        """Cut and lay out the batches by a plan."""
        if self.batches is None:
            raise ValueError("data too large to hold keep their batches; give plan='given'")
        self._arranged = plan.arranged(list(self.batches))

    def run(self, state: State, data: Iterable[Any]) -> Sums:
        """Go over data with weights put in place once for all batches."""
        with self._slots.holding(state):
            return self._over(self.objective.model, data)

    def _over(self, model: nn.Module, data: Iterable[Any]) -> Sums:
        total: Tensor | float = 0.0
        count: Tensor | float = 0.0
        units: list[list[Units]] = []
        for batch in data:
            loss_sum, batch_count, found = self._quantities(model, batch)
            total = total + loss_sum  # summed as in Objective.loss, so that the origin is equal bit for bit
            count = count + batch_count
            units.append(found)
        joined = [
            (torch.cat([sums for sums, _ in column]), torch.cat([counts for _, counts in column]))
            for column in zip(*units, strict=True)
        ]
        return torch.as_tensor(total), torch.as_tensor(count), joined


def on_host(found: Sums, number: int) -> list[Run]:
    """Bring what was added up at one or several points to the host in one transfer; the rest is a little arithmetic.

    Args:
        found: Of `Split.run`; of several points with a first axis for them.
        number: Of points.

    Returns:
        One for each point.
    """
    total, count, units = found
    parts = [part.reshape(number, -1) for part in (total, count, *(part for pair in units for part in pair))]
    widths = [part.shape[1] for part in parts[2:]]
    runs: list[Run] = []
    for row in torch.cat(parts, 1).cpu().numpy():  # total, count, sums, counts, sums, ...
        pieces, start = [], 2
        for width in widths:
            pieces.append(row[start : start + width])
            start += width
        runs.append((float(row[0]), float(row[1]), list(zip(pieces[::2], pieces[1::2], strict=True))))
    return runs
