"""What a measure of the report is: where it is stored, what it takes, how it is computed and read.

Costs are in gradients over all data. A loss counts as a third of one and a Hessian product as two: a backward pass
takes about twice the arithmetic of a forward pass, and a product differentiates both once more. On a CPU a product
takes 1.6 to 3.5 (`analysis.objective`).

Right when the cost of every measure in `MEASURES` is what a counting objective sees, and its settings are those of the
stored result (`tests/analysis/report/test_measures.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis.checks import check_whole
from analysis.evidence import Result
from analysis.flatness.subsets import num_samples
from analysis.objective import Objective
from analysis.report.readings import Reading

LOSS, HVP = 1 / 3, 2.0
M, LEAST_SUBSETS = (
    128,
    4,
)  # Foret et al. (2021) train with batches of 128; fewer than 4 subsets have no t interval to use
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Setup:
    """What all measures share: the user's choices, and what is known of the objective.

    Args:
        top: Eigenvalues.
        rho: Radius of L2 balls, and deviation of Gaussian noise.
        rho_linf: Half the side of the box.
        m: Samples over which m-sharpness takes its worst case; None before it is fitted to the data.
        seed: Of whatever is drawn.
        num_samples: N.
        num_parameters: D.
    """

    top: int = 5
    rho: float = 0.05
    rho_linf: float = 0.001
    m: int | None = None
    seed: int = 0
    num_samples: int = 0
    num_parameters: int = 0

    def __post_init__(self) -> None:
        for name in ("rho", "rho_linf"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number > 0, got {value!r}; the default is {_DEFAULTS[name]}")
        check_whole("top", self.top, 1, "5 gives lambda_1 / lambda_5")
        if self.m is not None:
            check_whole("m", self.m, 1, "None takes up to 128, so that there are 4 subsets")
        check_whole("seed", self.seed, 0, "equal seeds make checkpoints comparable")

    def fitted(self, objective: Objective) -> Setup:
        """Return the setup for an objective: no more eigenvalues than weights, and m so that there are subsets.

        Args:
            objective: Its data are read once, without the model.
        """
        total, m = num_samples(objective), self.m or M
        while self.m is None and m > 1 and -(-total // m) < LEAST_SUBSETS:
            m //= 2
        size = objective.num_parameters
        return replace(self, m=m, top=min(self.top, size), num_samples=total, num_parameters=size)


_DEFAULTS = {"rho": 0.05, "rho_linf": 0.001}


@dataclass(frozen=True)
class Effort:
    """What a measure takes, in units of its own, of which it can do with fewer.

    Args:
        unit: For the reader: "Hessian products".
        full: Units it may use where nothing limits it, the default of its function.
        least: With fewer it says nothing.
        usual: Units it takes as a rule before it meets its tolerance; `full` if it has none.
        gradients: Cost of a unit, in gradients over all data.
        fixed: Cost beside the units.
        stops: Whether it ends where its tolerance is met, so that more units would change nothing.
    """

    unit: str
    full: int = 1
    least: int = 1
    usual: int = 1
    gradients: float = 1.0
    fixed: float = 0.0
    stops: bool = False

    def expected(self, units: int) -> float:
        """Return the cost to expect when so many units are allowed.

        Args:
            units: At most `full`.
        """
        return self.fixed + self.gradients * min(self.usual, units)

    def most(self, units: int) -> float:
        """Return the cost it can come to when so many units are allowed.

        Args:
            units: At most `full`.
        """
        return self.fixed + self.gradients * units

    def affordable(self, left: float) -> int:
        """Return how many units can be allowed for a cost; 0 where they are too few to say anything.

        Args:
            left: In gradients; inf sets no limit.
        """
        if left >= self.most(self.full):
            return self.full
        units = math.floor((left - self.fixed) / self.gradients)
        return units if units >= self.least else 0


@dataclass(frozen=True)
class Quantity:
    """One line of the report.

    Args:
        name: Of its row.
        title: For the reader; settings of the measure in braces, "rho {rho:g}".
        units: Of the number.
        read: From the result to the number.
        is_invariant: Whether it stays the same when a ReLU network is rescaled without changing its function.
    """

    name: str
    title: str
    units: str
    read: Callable[[Any], Reading]
    is_invariant: bool = False


def counted(found: Any) -> float:
    """Return what a result cost by its own counts, in gradients over all data.

    Args:
        found: The result. A worst case counts passes over its subsets, one for each of its samples.
    """
    parts = len(found.samples) if getattr(found, "kind", "") == "worst" else 1
    gradients, losses, hvps = (getattr(found, f"num_{name}", 0) for name in ("gradients", "losses", "hvps"))
    return float(HVP * hvps + (gradients + LOSS * losses) / parts)


@dataclass(frozen=True)
class Measure:
    """One measurement of the report, of the command line and of a file.

    Args:
        name: By which it is asked for.
        title: While it goes on.
        kind: Group of the file it is stored in.
        stored: Its name there.
        quantities: Lines it gives in the report.
        settings: From the setup to what the numbers depend on, by the name of the stored variable or dimension.
        effort: From the setup to what it takes.
        compute: Called as compute(objective, setup, units, progress).
        priority: A budget is spent on low numbers first.
        spent: From the result to its cost, in gradients.
    """

    name: str
    title: str
    kind: str
    stored: str
    quantities: tuple[Quantity, ...]
    settings: Callable[[Setup], Mapping[str, Any]]
    effort: Callable[[Setup], Effort]
    compute: Callable[[Objective, Setup, int, Progress], Result]
    priority: int
    spent: Callable[[Any], float] = counted

    @property
    def key(self) -> str:
        """As the store spells it, "kind/name"."""
        return f"{self.kind}/{self.stored}"
