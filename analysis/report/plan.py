"""What a report would compute within a budget, and what each measure would cost.

Right when the costs a plan names are within the factor of those counted (`tests/analysis/report/test_cost.py`).
Cost: four gradients.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from analysis.objective import Objective
from analysis.report.budget import NUM_PACE, Limit, parse, seconds_of_a_gradient
from analysis.report.measure import Measure, Setup
from analysis.report.measures import named
from analysis.report.show import Grid, Shown
from analysis.report.words import plan_grid


@dataclasses.dataclass(frozen=True)
class PlanLine:
    """One measure of a plan.

    Attributes:
        name: Of the measure.
        title: For the reader.
        expected: Cost, in gradients over all data, with the units it would get; with all of them where it is left out.
        most: The cost it cannot exceed, likewise.
        seconds: That the expected cost takes.
        units: It would get of what it can use; 0 where it is left out.
        full: Units it can use.
        unit: What they are.
    """

    name: str
    title: str
    expected: float
    most: float
    seconds: float
    units: int
    full: int
    unit: str


@dataclasses.dataclass(frozen=True)
class SharpnessPlan(Shown):
    """What a report would compute.

    Attributes:
        lines: One for each measure, those left out included.
        seconds_per_gradient: As timed.
        budget_gradients: inf where there is no such limit.
        budget_seconds: inf where there is no such limit.
        num_parameters: D.
        num_samples: N.
    """

    lines: tuple[PlanLine, ...]
    seconds_per_gradient: float
    budget_gradients: float
    budget_seconds: float
    num_parameters: int
    num_samples: int

    @property
    def expected(self) -> float:
        """Gradients that all measures that fit would cost, with those that were timed."""
        return NUM_PACE + sum(line.expected for line in self.lines if line.units)

    @property
    def expected_seconds(self) -> float:
        """The same in seconds."""
        return self.expected * self.seconds_per_gradient

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON; what is infinite is None."""
        found = dataclasses.asdict(self)
        found |= {"lines": [dataclasses.asdict(line) for line in self.lines], "expected": self.expected}
        return {name: None if value == math.inf else value for name, value in found.items()}

    def grid(self) -> Grid:
        """Return the table that is shown."""
        return plan_grid(self)


def sharpness_plan(
    objective: Objective,
    *,
    budget: float | str | None = None,
    measures: Sequence[str] | None = None,
    top: int = 5,
    rho: float = 0.05,
    rho_linf: float = 0.001,
    m: int | None = None,
    seed: int = 0,
) -> SharpnessPlan:
    """Estimate what `sharpness_report` would compute and cost; nothing is measured but the time of a gradient.

    The arguments are those of `sharpness_report`. The report goes by what measures really cost, so that within a budget
    it may fit in more than the plan says.

    How good it is: on two MLPs and a CNN trained on digits, each measure cost 0.4 to 1.9 times the gradients expected
    by its own counts, and all together 0.9 to 1.0 times. Seconds are gradients times the seconds of one: where
    gradients take milliseconds the overhead of calls makes some measures several times slower, m-sharpness above all.

    Args:
        objective: Whose sharpness, at its model's present weights.
        budget: As for `sharpness_report`.
        measures: Names of those wanted; None for all.
        top: Eigenvalues.
        rho: Radius and deviation.
        rho_linf: Half the side of the box.
        m: Samples of a subset.
        seed: Changes no cost.

    Returns:
        SharpnessPlan (frozen): `print` it for a table.

    Raises:
        ValueError: As `sharpness_report`.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: four gradients, the median of three of which is the time of one, and a pass over the data.

    Example:
        >>> import torch
        >>> from analysis import Objective
        >>> model, data = torch.nn.Linear(3, 2), (torch.randn(8, 3), torch.arange(8) % 2)
        >>> plan = sharpness_plan(Objective(model, torch.nn.CrossEntropyLoss(), data), budget=60)
        >>> [line.name for line in plan.lines if line.units]
        ['magnitudes', 'eigenvalues', 'one_step', 'one_step_centralized', 'worst', 'fisher_rao', 'critical']
    """
    wanted, limit = named(measures), parse(budget)
    setup = Setup(top=top, rho=rho, rho_linf=rho_linf, m=m, seed=seed).fitted(objective)
    return planned(wanted, setup, limit, seconds_of_a_gradient(objective))


def planned(
    wanted: Iterable[Measure], setup: Setup, limit: Limit, pace: float, *, is_whole: bool = False
) -> SharpnessPlan:
    """Return the plan for measures of known costs.

    Args:
        wanted: In the order of the lines.
        setup: Fitted to the objective.
        limit: What may be spent.
        pace: Seconds of a gradient.
        is_whole: Whether a measure is left out where it is expected to cost more than is left, instead of cut short.
    """
    measures = list(wanted)
    left = min(limit.gradients, limit.seconds / max(pace, 1e-9)) - NUM_PACE
    units: dict[str, int] = {}
    for measure in by_priority(measures):
        effort = measure.effort(setup)
        fits = effort.full if effort.expected(effort.full) <= left else 0
        units[measure.name] = fits if is_whole else effort.affordable(left)
        if units[measure.name]:
            left -= effort.expected(units[measure.name])
    lines = []
    for measure in measures:
        effort, given = measure.effort(setup), units[measure.name]
        expected, most = effort.expected(given or effort.full), effort.most(given or effort.full)
        lines.append(
            PlanLine(measure.name, measure.title, expected, most, expected * pace, given, effort.full, effort.unit)
        )
    return SharpnessPlan(tuple(lines), pace, limit.gradients, limit.seconds, setup.num_parameters, setup.num_samples)


def by_priority(measures: Iterable[Measure]) -> list[Measure]:
    """Return measures in the order in which a budget is spent on them.

    Args:
        measures: Any.
    """
    return sorted(measures, key=lambda measure: measure.priority)
