"""`landscape measure` by the list of the sharpness report: which measures, within which budget.

Right when a stage made here is stored under the key and with the settings of the list, those of a study are the same,
what a budget leaves out is told, and a dry run measures nothing (`tests/landscape/measuring/test_choice.py`).
Cost: that of the measures; a budget or a dry run times a gradient, four gradients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.measuring.stages import NotAvailable, Stage, curvature, is_finished, sharpness
from landscape.options import Given

if TYPE_CHECKING:
    from analysis import Objective, Result, SharpnessPlan
    from analysis.report.measure import Measure, Setup
    from landscape.measuring.series import Series
    from landscape.network.subject import Subject
    from landscape.progress import Display

ALL = "all"
# What figures and verdicts need, and what costs a few gradients beside.
DEFAULT = ("eigenvalues", "trace", "worst", "average", "worst_adaptive", "average_adaptive")
CHEAP = ("magnitudes", "fisher_rao", "critical", "one_step", "one_step_centralized")


class Choice:
    """The measures chosen on the command line.

    Args:
        of: Names; "all" for all of them; none for those of a study and what is cheap.
        top: Eigenvalues.
        rho: Radius, or deviation of the noise.
        m: Samples of a subset; None fits it to the data.
        seed: Of whatever is drawn.
        budget: As of `sharpness_report`, where a number is one of gradients; empty for none.

    Raises:
        ValueError: One of them is out of range.
    """

    def __init__(
        self,
        of: Sequence[str] = (),
        *,
        top: int = 5,
        rho: float = 0.05,
        m: int | None = None,
        seed: int = 0,
        budget: str = "",
    ) -> None:
        sharpness(rho=rho)  # its own message for a radius
        from analysis.report.budget import parse
        from analysis.report.measure import Setup
        from analysis.report.measures import named

        self.setup = Setup(top=top, rho=rho, m=m, seed=seed)
        try:
            self.limit = parse(_budget(budget))
            self.measures = named(None if ALL in of else list(of) or [*DEFAULT, *CHEAP])
        except ValueError as error:  # in the words of the option
            text = str(error).replace("measures must be", f"--of must be {ALL} or").removesuffix("; None sets no limit")
            raise ValueError(text.replace("budget must be", "--budget must be")) from None
        needed = {stage.key for stage in (*curvature(), *sharpness())}
        self.stages = [_stage(measure, self.setup, is_needed=measure.key in needed) for measure in self.measures]
        self._left_out: dict[Path, list[str]] = {}

    def stages_for(self, *, again: bool) -> Callable[[Subject, bool, Display], list[Stage]]:
        """Return the function from a network to what is measured of it.

        Args:
            again: Whether finished ones are made anew, and cost something.
        """

        def stages_of(subject: Subject, *_: Any) -> list[Stage]:
            kept, self._left_out[subject.path] = self._within(subject.objective, self._open(subject.path, again))
            return kept

        return stages_of

    def stages_of(self, series: Series) -> tuple[list[Stage], list[str]]:
        """Return what is measured at every one of several checkpoints: a budget is that of each.

        Args:
            series: The checkpoints.

        Returns:
            The stages, and what to say of measures that the budget had no room for.
        """
        return self._within(series.objective, self.measures)

    def left_out(self, path: Path) -> list[str]:
        """Return what to say of measures that the budget had no room for.

        Args:
            path: The network's result file.
        """
        return self._left_out.get(path, [])

    def plan(self, objective: Objective, measures: Sequence[Measure]) -> SharpnessPlan:
        """Return what would be measured of a network, and its cost.

        Args:
            objective: The network.
            measures: Those that are not finished.
        """
        from analysis.report.budget import seconds_of_a_gradient
        from analysis.report.plan import planned

        pace = seconds_of_a_gradient(objective)
        return planned(measures, _fitted(self.setup, objective), self.limit, pace, is_whole=True)

    def dry_run(self, given: Given, *, again: bool) -> None:
        """Print the plan for each network; nothing is measured but the time of a gradient.

        Args:
            given: What to measure.
            again: Whether finished ones are made anew.
        """
        from landscape.network.opening import subjects
        from landscape.progress import Display
        from landscape.tables.printing import show

        for subject in subjects(given, Display()):
            plan = self.plan(subject.objective, self._open(subject.path, again))
            show(f"{subject.title}, into {subject.path}", str(plan))

    def dry_run_of(self, series: Series) -> None:
        """Print the plan for one of several checkpoints: it is the same for each.

        Args:
            series: The checkpoints.
        """
        from landscape.tables.printing import show

        plan = self.plan(series.objective, self.measures)
        show(f"each of {len(series.files)} checkpoints, where nothing of it is finished", str(plan))

    def _open(self, path: Path, again: bool) -> list[Measure]:
        """Return the measures that a file does not hold yet."""
        pairs = zip(self.measures, self.stages, strict=True)
        return [measure for measure, stage in pairs if again or not is_finished(stage, path)]

    def _within(self, objective: Objective, measures: Sequence[Measure]) -> tuple[list[Stage], list[str]]:
        """Return the stages that fit into the budget, finished ones too, and a line for each that does not."""
        from analysis.report.budget import Limit
        from analysis.report.plan import by_priority

        if self.limit == Limit():
            return self.stages, []
        lines = {line.name: line for line in self.plan(objective, measures).lines}
        kept, told = [], []
        for measure in by_priority(self.measures):
            line = lines.get(measure.name)
            if line is None or line.units:
                kept.append(self.stages[self.measures.index(measure)])
            else:
                told.append(
                    f"{line.title}: left out, would cost about {line.expected:.0f} gradients; give a larger --budget"
                )
        return kept, told


def _budget(text: str) -> float | str | None:
    """Return a budget as the report takes it: a number is one of gradients."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _fitted(setup: Setup, objective: Objective) -> Setup:
    return dataclasses.replace(setup.fitted(objective), top=setup.top)  # as many as asked for, or an error


def _stage(measure: Measure, setup: Setup, *, is_needed: bool) -> Stage:
    """Return the stage of a measure; one that a study does not need is left out where it cannot be had."""

    def compute(objective: Objective, _: Any, progress: Callable[[int, int], None]) -> Result:
        fitted = _fitted(setup, objective)
        try:
            return measure.compute(objective, fitted, measure.effort(fitted).full, progress)
        except (ValueError, NotImplementedError) as error:
            if is_needed:
                raise
            raise NotAvailable(" ".join(str(error).split()) or type(error).__name__) from error

    settings = {name: value for name, value in measure.settings(setup).items() if value is not None}
    return Stage(measure.kind, measure.stored, measure.title, settings, compute)
