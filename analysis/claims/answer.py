"""Whether a criterion of success holds: yes, no or not yet, by the interval of this look against the bound.

"yes" when the whole interval lies on the side that the criterion asks for, "no" when it lies wholly on the other, else
"not yet". So "accuracy >= baseline - 0.2%" is a question of non-inferiority, and a wide interval is never taken for
"no difference". Right when planted effects get their answer, and false ones are as rare as promised, over all looks
(`tests/analysis/claims/test_answer.py`). Costs a formula, and the search for the seeds that are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.claims.effects import NO_INTERVAL
from analysis.claims.further import Needed, seeds_for_mean, seeds_for_spread
from analysis.claims.looks import look_confidence
from analysis.claims.statistics import CONFIDENCE, ROUNDING, Array, Interval, mean_interval, spread_ratio
from analysis.claims.success import PERCENT, SPREAD, Criterion
from analysis.claims.table import RunTable
from analysis.claims.verdict import MIN_SEEDS

YES, NO, NOT_YET = "yes", "no", "not yet"
_UNKNOWN = Needed()


@dataclass(frozen=True)
class Answer:
    """What the runs say about one criterion.

    Args:
        criterion: The question.
        answer: "yes", "no" or "not yet".
        reason: For it.
        effect: Estimate and interval of this look, in the criterion's unit; NaN where there is none.
        needed: Seeds in all that would settle it; those at hand where it is settled.
        baseline_mean: Of its runs, in the quantity's unit; for a spread the standard deviation.
        candidate_mean: The same of the candidate.
    """

    criterion: Criterion
    answer: str
    reason: str
    effect: Interval = NO_INTERVAL
    needed: Needed = _UNKNOWN
    baseline_mean: float = math.nan
    candidate_mean: float = math.nan


def judge_criterion(
    criterion: Criterion, table: RunTable, baseline: str, candidate: str, look: int, confidence: float = CONFIDENCE
) -> Answer:
    """Judge one criterion by paired runs.

    A number that is missing, infinite, or not positive where a ratio is taken makes it "not yet": leaving out the run
    that diverged would favor its method.

    Args:
        criterion: From `parse_success`.
        table: Runs, as `collect` reads them.
        baseline: Method that the bound is taken from.
        candidate: Method that is to meet it.
        look: Number of this look at the data, from 1.
        confidence: Of the intervals of all looks together, in (0, 1).

    Returns:
        The answer.
    """
    theirs, ours = (table.by_seed(method, criterion.column) for method in (baseline, candidate))
    seeds = sorted(theirs.keys() & ours.keys())
    control, treatment = (np.array([of[seed] for seed in seeds], dtype=np.float64) for of in (theirs, ours))
    means = tuple(_summary(criterion, numbers) for numbers in (control, treatment))
    problem = _problem(criterion, control, treatment)
    if problem:
        return Answer(criterion, NOT_YET, problem, NO_INTERVAL, _UNKNOWN, *means)
    effect = effect_interval(criterion, treatment, control, look_confidence(look, confidence))
    if not effect.low < effect.high:
        return Answer(criterion, NOT_YET, _no_interval(len(seeds)), effect, _UNKNOWN, *means)
    if len(seeds) < MIN_SEEDS:
        answer, reason = NOT_YET, f"{len(seeds)} of the {MIN_SEEDS} seeds a verdict needs"
        needed = Needed(MIN_SEEDS, MIN_SEEDS, MIN_SEEDS)
    else:
        answer, reason = held_against(effect, criterion)
        needed = Needed(*[float(len(seeds))] * 3)
        if answer == NOT_YET:
            needed = _needed(criterion, treatment, control, look_confidence(look + 1, confidence))
    return Answer(criterion, answer, reason, effect, needed, *means)


def effect_interval(criterion: Criterion, treatment: Array, control: Array, confidence: float) -> Interval:
    """Estimate the effect that a criterion asks about.

    Args:
        criterion: The question.
        treatment: The candidate's numbers [N], finite; positive for a ratio.
        control: The baseline's, by the same seeds [N].
        confidence: Of this interval.

    Returns:
        In the criterion's unit: t interval of the paired differences, or of the paired logarithms, or Pitman-Morgan
        interval; without ends where the numbers do not vary, or are too few.
    """
    if criterion.scale == SPREAD:
        ratio = spread_ratio(treatment, control, confidence)
        return Interval(*(100 * (number - 1) for number in (ratio.estimate, ratio.low, ratio.high)))
    ours, theirs = _on_scale(criterion, treatment, control)
    differences = ours - theirs
    found = mean_interval(differences, confidence)
    if len(differences) and np.ptp(differences) <= ROUNDING * max(np.abs(ours).max(), np.abs(theirs).max()):
        found = Interval(found.estimate, math.nan, math.nan)
    ends = (found.estimate, found.low, found.high)
    if criterion.scale == "log-ratio":
        with np.errstate(over="ignore"):  # the interval of a few wild seeds may end at infinity
            return Interval(*(100 * float(np.expm1(number)) for number in ends))
    return Interval(*((100 if criterion.unit else 1) * number for number in ends))


def held_against(effect: Interval, criterion: Criterion) -> tuple[str, str]:
    """Return the answer that an interval gives, and why.

    Args:
        effect: With ends, in the criterion's unit.
        criterion: The question.
    """
    if not effect.excludes(criterion.bound):
        return NOT_YET, "the interval includes the bound"
    is_above = effect.low > criterion.bound
    return YES if is_above == criterion.is_above else NO, f"the whole interval is {'above' if is_above else 'below'} it"


def all_together(answers: Iterable[str]) -> str:
    """Combine the answers of criteria that must all hold.

    Args:
        answers: "yes", "no" or "not yet" of each.

    Returns:
        "no" if one is, "yes" if all are, else "not yet".
    """
    found = set(answers)
    return NO if NO in found else YES if found == {YES} else NOT_YET


def _on_scale(criterion: Criterion, treatment: Array, control: Array) -> tuple[Array, Array]:
    return (np.log(treatment), np.log(control)) if criterion.scale == "log-ratio" else (treatment, control)


def _needed(criterion: Criterion, treatment: Array, control: Array, confidence: float) -> Needed:
    bound = criterion.bound / 100 if criterion.unit else criterion.bound
    if criterion.scale == SPREAD:
        return seeds_for_spread(treatment, control, 1 + bound, confidence)
    ours, theirs = _on_scale(criterion, treatment, control)
    return seeds_for_mean(ours - theirs, math.log1p(bound) if criterion.unit == PERCENT else bound, confidence)


def _summary(criterion: Criterion, numbers: Array) -> float:
    if criterion.scale == SPREAD:
        return float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan
    return float(numbers.mean()) if numbers.size else math.nan


def _problem(criterion: Criterion, control: Array, treatment: Array) -> str:
    """Return why the runs cannot be compared, or nothing."""
    if not control.size:
        return "no paired seeds of the two methods"
    both = np.concatenate([control, treatment])
    missing = int((~np.isfinite(both)).sum())
    if missing:
        what = "not reached" if criterion.column == "epochs_to_target" else "missing or not finite"
        return f"{what} in {missing} run{'s' if missing > 1 else ''}"
    if criterion.scale == "log-ratio" and (both <= 0).any():
        return "not positive in some runs, so without a ratio; give an absolute margin"
    return ""


def _no_interval(count: int) -> str:
    if count < MIN_SEEDS:
        return f"{count} of the {MIN_SEEDS} seeds a verdict needs"
    return "the numbers do not vary over seeds, so there is no interval; more test images, or other settings, tell more"
