"""How each measure of the report is computed from an objective, and how its result is read.

Right when every compute function passes its settings on and every reading is the stored number with its own interval
(`tests/analysis/report/test_measures.py`, `test_readings.py`). Cost: that of the measuring functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.curvature.hessian import Eigenpairs, hessian_eigenvalues
from analysis.curvature.trace import TraceEstimate, hessian_trace
from analysis.evidence import Result
from analysis.flatness.critical import CriticalSharpness, critical_sharpness
from analysis.flatness.fisher_rao import FisherRaoNorm, fisher_rao_norm
from analysis.flatness.pac_bayes import PACBayesSigma, pac_bayes_sigma
from analysis.flatness.relative import RelativeFlatness, relative_flatness
from analysis.flatness.sharpness import Sharpness, sharpness
from analysis.objective import Objective
from analysis.operators.restricted import Centralized
from analysis.report.magnitudes import magnitudes
from analysis.report.measure import LOSS, Effort, Measure, Progress, Quantity, Setup
from analysis.report.readings import BRACKET, Reading, at_least, exact, half_width, ratio, sampled, within

CURVATURE = "loss/weight^2"
# What tolerances took on three networks trained on digits (2 MLPs, a CNN, 500 images): 10 to 13 products for the top 5,
# 47 to 100 probes for the trace, 3 to 15 steps an ascent, 11 or 12 noises tried. Ours lie between.
USUAL_HVPS, USUAL_PROBES, USUAL_STEPS, USUAL_TRIES = 15, 70, 8, 12
# Small networks take all 100 pairs before the standard error is 2 % of the value, one of 25 million weights about 15.
USUAL_PAIRS, AVERAGE_TOL = 80, 0.02
STEP = 2 * (1 + 1.3 * LOSS)  # two ascents, in each a gradient and about 1.3 losses
PASS = 1.5  # of per-sample norms: one to two gradients


def seed(setup: Setup) -> Mapping[str, Any]:
    """Return the seed alone."""
    return {"seed": setup.seed}


def norms(objective: Objective, _: Setup, __: int, ___: Progress) -> Result:
    """Return loss, gradient norm and weight norm."""
    return magnitudes(objective)


def eigenvalues(objective: Any, setup: Setup, units: int, progress: Progress) -> Result:
    """Return the largest eigenvalues of the Hessian, of an objective or of another matrix."""

    def nearer(done: int, total: int) -> None:
        progress(done, int(min(total, max(20, 1.25 * done))))  # the budget is ten times what they take

    return hessian_eigenvalues(objective, k=setup.top, seed=setup.seed, max_hvps=units, progress=nearer)


def largest(found: Eigenpairs) -> Reading:
    """Read the largest eigenvalue."""
    return within(float(found.values[0]), float(found.residuals[0]))


def first_over_last(found: Eigenpairs) -> Reading:
    """Read lambda_1 over the last eigenvalue asked for."""
    last = len(found.values) - 1
    return ratio(largest(found), within(float(found.values[last]), float(found.residuals[last])))


def trace(objective: Any, setup: Setup, units: int, progress: Progress) -> Result:
    """Return the trace of the Hessian, of an objective or of another matrix."""
    return hessian_trace(objective, seed=setup.seed, max_hvps=units, progress=progress)


def centralized_eigenvalues(objective: Objective, setup: Setup, units: int, progress: Progress) -> Result:
    """Return the largest eigenvalues of P H P."""
    return eigenvalues(Centralized(objective), setup, units, progress)


def centralized_trace(objective: Objective, setup: Setup, units: int, progress: Progress) -> Result:
    """Return the trace of P H P."""
    return trace(Centralized(objective), setup, units, progress)


def trace_value(found: TraceEstimate) -> Reading:
    """Read the trace."""
    return sampled(found.value, found.standard_error, len(found.samples), "probes")


def frobenius(found: TraceEstimate) -> Reading:
    """Read the Frobenius norm."""
    return sampled(found.frobenius, found.frobenius_standard_error, len(found.samples), "probes")


def _worst(found: Sharpness) -> Reading:
    if len(found.samples) < 2:
        return at_least(found.value)
    return sampled(found.value, found.standard_error, len(found.samples), "subsets")


def _average(found: Sharpness) -> Reading:
    return sampled(found.value, found.standard_error, len(found.samples), "pairs")


def sharpness_measure(
    name: str,
    title: str,
    priority: int,
    *,
    kind: str = "worst",
    adaptive: bool | str = False,
    norm: str = "l2",
    has_m: bool = False,
    subspace: str = "all",
    is_one_step: bool = False,
    is_normalized: bool = False,
) -> Measure:
    """Return the measure for one of the kinds of `sharpness`.

    Args:
        name: Of the measure, its row and its place in the file.
        title: Of its row.
        priority: In a budget.
        kind: As for `sharpness`, like the next two.
        adaptive: What perturbations are relative to.
        norm: Of the ball.
        has_m: Whether the worst case is over subsets.
        subspace: Of the perturbations.
        is_one_step: Whether SAM's perturbation alone is taken, and nothing climbs.
        is_normalized: Whether the loss is that of normalized logits.
    """

    def settings(setup: Setup) -> dict[str, Any]:
        rho = setup.rho if norm == "l2" else setup.rho_linf
        found: dict[str, Any] = {"rho": rho, "kind": kind, "adaptive": bool(adaptive), "seed": setup.seed}
        others = {"norm": (norm, "l2"), "subspace": (subspace, "all")}
        found |= {name: value for name, (value, usual) in others.items() if value != usual}
        found |= {"scale": adaptive} if isinstance(adaptive, str) else {}
        return found | ({"m": setup.m} if has_m else {})

    def compute(objective: Objective, setup: Setup, units: int, progress: Progress) -> Result:
        arguments = settings(setup)
        arguments["adaptive"] = arguments.pop("scale", adaptive)
        arguments |= {"samples": units, "average_tol": AVERAGE_TOL} if kind == "average" else {"steps": units}
        if is_one_step:
            arguments["steps"] = 0
        of = objective.with_normalized_logits() if is_normalized else objective
        return sharpness(of, **arguments, progress=progress)

    line = Quantity(name, title, "loss", _reading(kind, is_one_step), is_invariant=bool(adaptive))
    words = f"{'adaptive ' if adaptive else ''}{kind}-case sharpness"
    words += {"l2": "", "linf": " in a box"}[norm] + (" of subsets" if has_m else "")
    words = "rise along one step" if is_one_step else words
    words += ", filters" * (adaptive == "filters") + ", normalized logits" * is_normalized
    words += {"all": "", "centralized": ", centralized"}[subspace]
    effort = _sharpness_effort(kind, is_one_step)
    return Measure(name, words, "sharpness", name, (line,), settings, lambda _: effort, compute, priority)


def _sharpness_effort(kind: str, is_one_step: bool) -> Effort:
    if is_one_step:
        return Effort("steps", gradients=1 + 2 * LOSS)
    if kind == "average":
        usual = USUAL_PAIRS
        return Effort("pairs", full=100, least=10, usual=usual, gradients=2 * LOSS, fixed=LOSS, stops=True)
    return Effort("steps of an ascent", full=20, least=3, usual=USUAL_STEPS, gradients=STEP, fixed=1 + LOSS, stops=True)


def _reading(kind: str, is_one_step: bool) -> Callable[[Sharpness], Reading]:
    if is_one_step:
        return lambda found: exact(found.value)
    return _average if kind == "average" else _worst


def pac_bayes_measure(name: str, title: str, priority: int, *, adaptive: bool = False) -> Measure:
    """Return the measure for the noise that the loss bears.

    Args:
        name: Of the measure, its row and its place in the file.
        title: Of its row.
        priority: In a budget.
        adaptive: Whether the noise is relative to |w|.
    """

    def settings(setup: Setup) -> dict[str, Any]:
        return {"rise": 0.1, "adaptive": adaptive, "seed": setup.seed}

    def compute(objective: Objective, setup: Setup, units: int, progress: Progress) -> Result:
        return pac_bayes_sigma(objective, **settings(setup), samples=units, progress=progress)

    effort = Effort("pairs", full=50, least=10, usual=50, gradients=2 * LOSS * USUAL_TRIES, fixed=LOSS)
    line = Quantity(name, title, "1" if adaptive else "weight", _sigma, is_invariant=adaptive)
    words = f"{'adaptive ' if adaptive else ''}PAC-Bayes sigma"
    return Measure(name, words, "sharpness", name, (line,), settings, lambda _: effort, compute, priority)


def _sigma(found: PACBayesSigma) -> Reading:
    half = half_width(found.standard_error, found.num_samples)
    return Reading(found.value, max(0.0, found.low - half), found.high + half, f"{BRACKET}, {found.num_samples} pairs")


def relative(objective: Objective, setup: Setup, units: int, _: Progress) -> Result:
    """Return the relative flatness of the last layer."""
    return relative_flatness(objective, seed=setup.seed, max_hvps=units)


def relative_value(found: RelativeFlatness) -> Reading:
    """Read the relative flatness."""
    return sampled(float(found.value[0]), float(found.standard_error[0]), found.num_hvps, "probes")


def fisher_rao(objective: Objective, _: Setup, __: int, ___: Progress) -> Result:
    """Return the Fisher-Rao norm."""
    return fisher_rao_norm(objective)


def fisher_rao_value(found: FisherRaoNorm) -> Reading:
    """Read the Fisher-Rao norm."""
    return exact(found.norm)  # over all the data given; its standard error is about the population


def critical(objective: Objective, _: Setup, units: int, __: Progress) -> Result:
    """Return the critical sharpness along the gradient."""
    return critical_sharpness(objective, max_losses=units)


def critical_value(found: CriticalSharpness) -> Reading:
    """Read the critical sharpness."""
    if found.low == 0:
        return Reading(found.value, float("nan"), float("nan"), "no bracket")
    return Reading(found.value, 2 / found.high, 2 / found.low, BRACKET)
