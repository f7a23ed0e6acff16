"""The measures of the sharpness report, each defined once: for the report, the command line and the file.

A new measure is one more entry of `MEASURES`. Right when every entry's stored result holds the settings it names, its
costs are what a counting objective sees, and what it says of rescaled ReLU networks is so
(`tests/analysis/report/test_measures.py`). Cost: that of the measuring functions, stated by each entry's effort.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from analysis.report.magnitudes import magnitudes
from analysis.report.measure import HVP, LOSS, Effort, Measure, Progress, Quantity, Setup
from analysis.report.readings import BRACKET, Reading, at_least, exact, half_width, ratio, sampled, within

CURVATURE = "loss/weight^2"
# What tolerances took on three networks trained on digits (2 MLPs, a CNN, 500 images): 10 to 13 products for the top 5,
# 47 to 100 probes for the trace, 3 to 15 steps an ascent, 11 or 12 noises tried. Ours lie between.
USUAL_HVPS, USUAL_PROBES, USUAL_STEPS, USUAL_TRIES = 15, 70, 8, 12
STEP = 2 * (1 + 1.3 * LOSS)  # two ascents, in each a gradient and about 1.3 losses
PASS = 1.5  # of per-sample norms: one to two gradients


def _seed(setup: Setup) -> Mapping[str, Any]:
    return {"seed": setup.seed}


def _magnitudes(objective: Objective, _: Setup, __: int, ___: Progress) -> Result:
    return magnitudes(objective)


def _eigenvalues(objective: Objective, setup: Setup, units: int, progress: Progress) -> Result:
    def nearer(done: int, total: int) -> None:
        progress(done, int(min(total, max(20, 1.25 * done))))  # the budget is ten times what they take

    return hessian_eigenvalues(objective, k=setup.top, seed=setup.seed, max_hvps=units, progress=nearer)


def _largest(found: Eigenpairs) -> Reading:
    return within(float(found.values[0]), float(found.residuals[0]))


def _ratio(found: Eigenpairs) -> Reading:
    last = len(found.values) - 1
    return ratio(_largest(found), within(float(found.values[last]), float(found.residuals[last])))


def _trace(objective: Objective, setup: Setup, units: int, progress: Progress) -> Result:
    return hessian_trace(objective, seed=setup.seed, max_hvps=units, progress=progress)


def _trace_value(found: TraceEstimate) -> Reading:
    return sampled(found.value, found.standard_error, len(found.samples), "probes")


def _frobenius(found: TraceEstimate) -> Reading:
    return sampled(found.frobenius, found.frobenius_standard_error, len(found.samples), "probes")


def _worst(found: Sharpness) -> Reading:
    if len(found.samples) < 2:
        return at_least(found.value)
    return sampled(found.value, found.standard_error, len(found.samples), "subsets")


def _average(found: Sharpness) -> Reading:
    return sampled(found.value, found.standard_error, len(found.samples), "pairs")


def _sharpness(
    name: str,
    title: str,
    priority: int,
    *,
    kind: str = "worst",
    adaptive: bool = False,
    norm: str = "l2",
    has_m: bool = False,
) -> Measure:
    """Return the measure for one of the kinds of `sharpness`."""

    def settings(setup: Setup) -> dict[str, Any]:
        rho = setup.rho if norm == "l2" else setup.rho_linf
        found: dict[str, Any] = {"rho": rho, "kind": kind, "adaptive": adaptive, "seed": setup.seed}
        found |= {} if norm == "l2" else {"norm": norm}
        return found | ({"m": setup.m} if has_m else {})

    def compute(objective: Objective, setup: Setup, units: int, progress: Progress) -> Result:
        arguments = settings(setup) | {"samples" if kind == "average" else "steps": units}
        return sharpness(objective, **arguments, progress=progress)

    effort = (
        Effort("pairs", full=100, least=10, usual=100, gradients=2 * LOSS, fixed=LOSS)
        if kind == "average"
        else Effort(
            "steps of an ascent", full=20, least=3, usual=USUAL_STEPS, gradients=STEP, fixed=1 + LOSS, stops=True
        )
    )
    read = _average if kind == "average" else _worst
    line = Quantity(name, title, "loss", read, is_invariant=adaptive)
    words = f"{'adaptive ' if adaptive else ''}{kind}-case sharpness"
    words += {"l2": "", "linf": " in a box"}[norm] + (" of subsets" if has_m else "")
    return Measure(name, words, "sharpness", name, (line,), settings, lambda _: effort, compute, priority)


def _pac_bayes(name: str, title: str, priority: int, *, adaptive: bool = False) -> Measure:
    """Return the measure for the noise that the loss bears."""

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


def _relative(objective: Objective, setup: Setup, units: int, _: Progress) -> Result:
    return relative_flatness(objective, seed=setup.seed, max_hvps=units)


def _relative_value(found: RelativeFlatness) -> Reading:
    return sampled(float(found.value[0]), float(found.standard_error[0]), found.num_hvps, "probes")


def _fisher_rao(objective: Objective, _: Setup, __: int, ___: Progress) -> Result:
    return fisher_rao_norm(objective)


def _fisher_rao_value(found: FisherRaoNorm) -> Reading:
    return exact(found.norm)  # over all the data given; its standard error is about the population


def _critical(objective: Objective, _: Setup, units: int, __: Progress) -> Result:
    return critical_sharpness(objective, max_losses=units)


def _critical_value(found: CriticalSharpness) -> Reading:
    if found.low == 0:
        return Reading(found.value, float("nan"), float("nan"), "no bracket")
    return Reading(found.value, 2 / found.high, 2 / found.low, BRACKET)


MEASURES: tuple[Measure, ...] = (
    Measure(
        name="magnitudes",
        title="loss, gradient and weight norms",
        kind="sharpness",
        stored="magnitudes",
        quantities=(
            Quantity("loss", "loss", "loss", lambda found: exact(found.loss), is_invariant=True),
            Quantity("gradient_norm", "gradient norm", "loss/weight", lambda found: exact(found.gradient_norm)),
            Quantity("weight_norm", "weight norm", "weight", lambda found: exact(found.weight_norm)),
        ),
        settings=lambda _: {},
        effort=lambda _: Effort("passes", gradients=1 + LOSS),
        compute=_magnitudes,
        priority=0,
    ),
    Measure(
        name="eigenvalues",
        title="Hessian eigenvalues",
        kind="curvature",
        stored="eigenvalues",
        quantities=(
            Quantity("lambda_max", "largest Hessian eigenvalue", CURVATURE, _largest),
            Quantity("lambda_ratio", "lambda_1 / lambda_{pair}", "1", _ratio),
        ),
        settings=lambda setup: {"pair": setup.top, "which": "largest", "seed": setup.seed},
        effort=lambda setup: Effort(
            "Hessian products",
            full=max(200, setup.top),
            least=max(10, setup.top),
            usual=USUAL_HVPS,
            gradients=HVP,
            stops=True,
        ),
        compute=_eigenvalues,
        priority=1,
    ),
    Measure(
        name="trace",
        title="Hessian trace",
        kind="curvature",
        stored="trace",
        quantities=(
            Quantity("trace", "Hessian trace", CURVATURE, _trace_value),
            Quantity("frobenius", "Hessian Frobenius norm", CURVATURE, _frobenius),
        ),
        settings=_seed,
        effort=lambda _: Effort("Hessian products", full=100, least=10, usual=USUAL_PROBES, gradients=HVP, stops=True),
        compute=_trace,
        priority=6,
    ),
    _sharpness("worst", "worst, L2, rho {rho:g}", 3),
    _sharpness("worst_m", "worst, L2, rho {rho:g}, m {m}", 5, has_m=True),
    _sharpness("worst_adaptive", "worst, adaptive, rho {rho:g}", 4, adaptive=True),
    _sharpness("worst_linf", "worst, box, rho {rho:g}", 9, norm="linf"),
    _sharpness("average", "average, rho {rho:g}", 7, kind="average"),
    _sharpness("average_adaptive", "average, adaptive, rho {rho:g}", 8, kind="average", adaptive=True),
    _pac_bayes("pac_bayes", "PAC-Bayes sigma, rise {rise:g}", 11),
    _pac_bayes("pac_bayes_adaptive", "PAC-Bayes sigma, adaptive", 12, adaptive=True),
    Measure(
        name="relative_flatness",
        title="relative flatness",
        kind="sharpness",
        stored="relative_flatness",
        quantities=(Quantity("relative_flatness", "relative flatness, last layer", "loss", _relative_value, True),),
        settings=_seed,
        effort=lambda _: Effort("Hessian products", full=100, least=10, usual=100, gradients=HVP, stops=True),
        compute=_relative,
        priority=10,
    ),
    Measure(
        name="fisher_rao",
        title="Fisher-Rao norm",
        kind="sharpness",
        stored="fisher_rao",
        quantities=(Quantity("fisher_rao", "Fisher-Rao norm", "loss", _fisher_rao_value, True),),
        settings=lambda _: {},
        effort=lambda _: Effort("passes", gradients=PASS),
        compute=_fisher_rao,
        priority=2,
        spent=lambda _: PASS,
    ),
    Measure(
        name="critical",
        title="critical sharpness",
        kind="sharpness",
        stored="critical",
        quantities=(Quantity("critical", "critical sharpness, gradient", CURVATURE, _critical_value),),
        settings=lambda _: {},
        effort=lambda _: Effort("losses", full=100, least=15, usual=20, gradients=LOSS, fixed=1.0, stops=True),
        compute=_critical,
        priority=2,
    ),
)


def named(names: Any = None) -> tuple[Measure, ...]:
    """Return measures in the order of the report.

    Args:
        names: Of those wanted; None for all.

    Raises:
        ValueError: One is unknown, or they are no sequence of names.

    Example:
        >>> [measure.key for measure in named(["worst", "trace"])]
        ['curvature/trace', 'sharpness/worst']
    """
    if names is None:
        return MEASURES
    allowed = ", ".join(measure.name for measure in MEASURES)
    if isinstance(names, str):
        raise ValueError(f"measures must be a sequence of names, got {names!r}; ({names!r},) is a single one")
    for name in names:
        if name not in allowed.split(", "):
            raise ValueError(f"measures must be some of {allowed}, got {name!r}")
    return tuple(measure for measure in MEASURES if measure.name in set(names))
