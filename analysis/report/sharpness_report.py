"""Every sharpness the literature reports, measured at once within a budget.

Right when each row is the public function's number and interval, the costs are those counted, what cannot be had is a
row with its reason, and a killed report goes on (`tests/analysis/report/test_sharpness_report.py`, `test_resume.py`).
Cost: stated at `sharpness_report`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

from analysis.evidence import Result
from analysis.objective import Objective
from analysis.report.budget import NUM_PACE, Purse, now, parse, seconds_of_a_gradient
from analysis.report.measure import Effort, Measure, Progress, Quantity, Setup
from analysis.report.measures import named
from analysis.report.plan import by_priority
from analysis.report.rows import Line, SharpnessReport, report_of
from analysis.report.stored import ENDED_EARLY, Stored
from analysis.surface.identity import rounded_fingerprint, state_sha256


def sharpness_report(
    objective: Objective,
    *,
    budget: float | str | None = None,
    measures: Sequence[str] | None = None,
    top: int = 5,
    rho: float = 0.05,
    rho_linf: float = 0.001,
    m: int | None = None,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> SharpnessReport:
    """Measure every sharpness in `analysis.report.measures.MEASURES`, each with its interval and its cost.

    With equal arguments and equal seed two checkpoints of one network are measured on the same random numbers: their
    rows compare. Compare them at equal loss, and where their weights differ in scale by the rows marked "=".

    First a gradient is timed. Then measures are made in the order of their priority: loss and norms, eigenvalues,
    Fisher-Rao and critical sharpness, worst cases, trace, averages, box, relative flatness, PAC-Bayes. Within a budget
    one is allowed only what is left: it then may get fewer Hessian products, pairs or steps, which its row says, and is
    left out where too little is left for any number. Hessian products, gradients and pairs are bounded. The losses of
    an ascent, about 1.3 a step, the noises that a PAC-Bayes search tries, about 12, and the time of one measure are
    not, so that the last one may overrun a budget by a part of its own cost.

    Args:
        objective: Whose sharpness, at its model's present weights.
        budget: None for none; a time ("30 s", "5 min", "2 h"); or a number of gradients over all data. Four of it are
            spent on timing.
        measures: Names of those wanted, in any order; None for all.
        top: Eigenvalues, of which the first and the last are reported; at most D. 5 as Foret et al. (2021).
        rho: Radius of L2 balls and deviation of Gaussian noise, of |w| where adaptive. 0.05, the default of SAM.
        rho_linf: Half the side of the box. 0.001 is our choice: a box is far larger than a ball of the same radius.
        m: Samples of a subset in m-sharpness. None takes 128 (Foret et al.), halved until there are 4 subsets.
        seed: Of whatever is drawn, >= 0.
        path: A result file. Each result is written there as soon as it is there, with the report as "sharpness/report";
            what it holds of the same weights, data and settings is taken from it, at no cost.
        progress: Called as progress(done, total), in gradients that are expected.

    Returns:
        SharpnessReport (frozen): `print` it, or `report["lambda_max"].value`, `.low`, `.high`. status: LEFT_OUT where
        the budget was spent. A row that cannot be had for this objective is NOT_AVAILABLE with the reason in its note.

    Raises:
        ValueError: An argument out of range, or a file of other weights or data.
        NotRepeatable: The loss changes from pass to pass.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: about 1,200 gradients without a budget, 800 of them PAC-Bayes sigmas; 200 give all worst cases and the
    eigenvalues. `sharpness_plan` tells for the objective at hand.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2 on the data below
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> report = sharpness_report(objective, measures=["eigenvalues", "trace"])
        >>> [f"{line.name} {line.value:.3f}" for line in report.lines]
        ['lambda_max 4.000', 'lambda_ratio 4.000', 'trace 5.000', 'frobenius 4.123']

    References:
        Those of the functions that measure; `sharpness`, `pac_bayes_sigma`, `relative_flatness` and so on.
    """
    wanted, limit = named(measures), parse(budget)
    setup = Setup(top=top, rho=rho, rho_linf=rho_linf, m=m, seed=seed).fitted(objective)
    sha256, fingerprint = state_sha256(objective), rounded_fingerprint(objective)
    stored = Stored(path, wanted, sha256, fingerprint)
    purse = Purse(limit, objective)
    with torch.inference_mode(False):  # whatever the caller's mode, gradients are needed
        pace = seconds_of_a_gradient(objective)
        purse.spend(NUM_PACE)
        lines = {measure.name: _lines(measure, setup) for measure in wanted}

        def report() -> SharpnessReport:
            return report_of(
                [line for measure in wanted for line in lines[measure.name]],
                setup,
                seconds_per_gradient=pace,
                budget="" if budget is None else str(budget),
                weights_sha256=sha256,
                data_fingerprint=fingerprint,
            )

        stored.begin(objective, sha256, report())
        advance = _Advance(progress, wanted, setup)
        for measure in by_priority(wanted):
            lines[measure.name], result = _measured(measure, objective, setup, purse, pace, stored, advance)
            advance.finish(measure)
            if result is not None:
                stored.put(measure, result, report())
        stored.end(report())
    return report()


def _measured(
    measure: Measure,
    objective: Objective,
    setup: Setup,
    purse: Purse,
    pace: float,
    stored: Stored,
    advance: _Advance,
) -> tuple[list[Line], Result | None]:
    """Return the lines of a measure, and its result if it was made now."""
    effort = measure.effort(setup)
    units = effort.affordable(purse.left(pace))
    before = stored.take(measure, setup, units or effort.least)
    if before is not None:
        result, allowed = before
        return _lines(measure, setup, result, allowed=allowed, note=_fewer(effort, result, allowed)), None
    if not units:
        return _lines(measure, setup, status="LEFT_OUT", costs={"expected": effort.expected(effort.full)}), None
    begun = now(objective)
    try:
        result = measure.compute(objective, setup, units, advance.within(measure))
    except (ValueError, NotImplementedError) as error:  # what the objective lacks; a mistake in the code goes up
        why = " ".join(str(error).split()) or type(error).__name__
        return _lines(measure, setup, status="NOT_AVAILABLE", note=why), None
    purse.spend(measure.spent(result))
    return _lines(
        measure,
        setup,
        result,
        allowed=units,
        note=_fewer(effort, result, units),
        costs={
            "expected": effort.expected(units),
            "spent": measure.spent(result),
            "seconds": now(objective) - begun,
        },
    ), result


def _fewer(effort: Effort, result: Result, units: int) -> str:
    """Return what is said of a result that had fewer units than it could have used; nothing of others."""
    ended_early = effort.stops and result.status.name in ENDED_EARLY  # type: ignore[attr-defined]
    return "" if units >= effort.full or ended_early else f"{units} of {effort.full} {effort.unit}, for the budget"


def _lines(
    measure: Measure,
    setup: Setup,
    result: Result | None = None,
    *,
    status: str = "INTERRUPTED",
    note: str = "",
    allowed: int = 0,
    costs: dict[str, float] | None = None,
) -> list[Line]:
    """Return the lines of a measure, with numbers where there is a result."""

    def line(quantity: Quantity, shares: dict[str, Any]) -> Line:
        numbers: dict[str, Any] = {}
        if result is not None:
            reading = quantity.read(result)
            numbers = {name: getattr(reading, name) for name in ("value", "low", "high", "meaning")}
        return Line(
            name=quantity.name,
            measure=measure.name,
            title=quantity.title.format(**measure.settings(setup)),
            units=quantity.units,
            status=status if result is None else result.status.name,  # type: ignore[attr-defined]
            note=note,
            is_invariant=quantity.is_invariant,
            allowed=allowed,
            **numbers,
            **shares,
        )

    first, *others = measure.quantities
    return [line(first, costs or {}), *(line(other, {}) for other in others)]


class _Advance:
    """Tell the caller how far the report is, in gradients that are expected.

    Args:
        progress: Of the caller; None tells nobody.
        measures: Of the report.
        setup: Fitted.
    """

    def __init__(self, progress: Progress | None, measures: Sequence[Measure], setup: Setup) -> None:
        self._progress = progress
        self._costs = {each.name: (e := each.effort(setup)).expected(e.full) for each in measures}
        self._total = max(1, round(sum(self._costs.values())))
        self._done = 0.0

    def within(self, measure: Measure) -> Callable[[int, int], None]:
        """Return what a measure calls as it goes on.

        Args:
            measure: Which one.
        """
        return lambda done, total: self._tell(self._done + self._costs[measure.name] * min(1.0, done / max(total, 1)))

    def finish(self, measure: Measure) -> None:
        """Count a measure as done, whatever became of it.

        Args:
            measure: Which one.
        """
        self._done += self._costs[measure.name]
        self._tell(self._done)

    def _tell(self, done: float) -> None:
        if self._progress is not None:
            self._progress(min(round(done), self._total), self._total)
