"""The measures of the sharpness report, each defined once: for the report, the command line and the file.

A new measure is one more entry of `MEASURES`. Right when every entry's stored result holds the settings it names, its
costs are what a counting objective sees, and what it says of rescaled ReLU networks is so
(`tests/analysis/report/test_measures.py`). Cost: that of the measuring functions, stated by each entry's effort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.evidence import Result
from analysis.objective import Objective
from analysis.report.computing import (
    CURVATURE,
    PASS,
    USUAL_HVPS,
    USUAL_PROBES,
    centralized_eigenvalues,
    centralized_trace,
    critical,
    critical_value,
    eigenvalues,
    first_over_last,
    fisher_rao,
    fisher_rao_value,
    frobenius,
    largest,
    norms,
    pac_bayes_measure,
    relative,
    relative_value,
    seed,
    sharpness_measure,
    trace,
    trace_value,
)
from analysis.report.measure import HVP, LOSS, Effort, Measure, Progress, Quantity, Setup
from analysis.report.readings import exact

Compute = Callable[[Objective, Setup, int, Progress], Result]


def _curvature(
    name: str,
    title: str,
    priority: int,
    compute: Compute,
    settings: Callable[[Setup], Mapping[str, Any]],
    effort: Callable[[Setup], Effort],
    *quantities: Quantity,
) -> Measure:
    return Measure(name, title, "curvature", name, quantities, settings, effort, compute, priority)


def _pairs(setup: Setup) -> dict[str, Any]:
    return {"pair": setup.top, "which": "largest", "seed": setup.seed}


def _lanczos(setup: Setup) -> Effort:
    full, least = max(200, setup.top), max(10, setup.top)
    return Effort("Hessian products", full, least, USUAL_HVPS, gradients=HVP, stops=True)


def _probing(_: Setup) -> Effort:
    return Effort("Hessian products", full=100, least=10, usual=USUAL_PROBES, gradients=HVP, stops=True)


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
        compute=norms,
        priority=0,
    ),
    _curvature(
        "eigenvalues",
        "Hessian eigenvalues",
        1,
        eigenvalues,
        _pairs,
        _lanczos,
        Quantity("lambda_max", "largest Hessian eigenvalue", CURVATURE, largest),
        Quantity("lambda_ratio", "lambda_1 / lambda_{pair}", "1", first_over_last),
    ),
    _curvature(
        "eigenvalues_centralized",
        "centralized Hessian eigenvalues",
        13,
        centralized_eigenvalues,
        _pairs,
        _lanczos,
        Quantity("lambda_max_centralized", "largest eigenvalue of P H P", CURVATURE, largest),
    ),
    _curvature(
        "trace",
        "Hessian trace",
        6,
        trace,
        seed,
        _probing,
        Quantity("trace", "Hessian trace", CURVATURE, trace_value),
        Quantity("frobenius", "Hessian Frobenius norm", CURVATURE, frobenius),
    ),
    _curvature(
        "trace_centralized",
        "centralized Hessian trace",
        14,
        centralized_trace,
        seed,
        _probing,
        Quantity("trace_centralized", "trace of P H P", CURVATURE, trace_value),
    ),
    sharpness_measure("one_step", "one step of SAM, rho {rho:g}", 2, is_one_step=True),
    sharpness_measure(
        "one_step_centralized", "one step of GCSAM, rho {rho:g}", 2, is_one_step=True, subspace="centralized"
    ),
    sharpness_measure("worst", "worst, L2, rho {rho:g}", 3),
    sharpness_measure("worst_m", "worst, L2, rho {rho:g}, m {m}", 5, has_m=True),
    sharpness_measure("worst_adaptive", "worst, adaptive, rho {rho:g}", 4, adaptive=True),
    sharpness_measure("worst_filters", "worst, by filters, rho {rho:g}", 15, adaptive="filters"),
    sharpness_measure("worst_logits", "worst, adaptive, norm. logits", 10, adaptive=True, is_normalized=True),
    sharpness_measure("worst_linf", "worst, box, rho {rho:g}", 9, norm="linf"),
    sharpness_measure("average", "average, rho {rho:g}", 7, kind="average"),
    sharpness_measure("average_adaptive", "average, adaptive, rho {rho:g}", 8, kind="average", adaptive=True),
    pac_bayes_measure("pac_bayes", "PAC-Bayes sigma, rise {rise:g}", 11),
    pac_bayes_measure("pac_bayes_adaptive", "PAC-Bayes sigma, adaptive", 12, adaptive=True),
    Measure(
        name="relative_flatness",
        title="relative flatness",
        kind="sharpness",
        stored="relative_flatness",
        quantities=(Quantity("relative_flatness", "relative flatness, last layer", "loss", relative_value, True),),
        settings=seed,
        effort=lambda _: Effort("Hessian products", full=100, least=10, usual=100, gradients=HVP, stops=True),
        compute=relative,
        priority=10,
    ),
    Measure(
        name="fisher_rao",
        title="Fisher-Rao norm",
        kind="sharpness",
        stored="fisher_rao",
        quantities=(Quantity("fisher_rao", "Fisher-Rao norm", "loss", fisher_rao_value, True),),
        settings=lambda _: {},
        effort=lambda _: Effort("passes", gradients=PASS),
        compute=fisher_rao,
        priority=2,
        spent=lambda _: PASS,
    ),
    Measure(
        name="critical",
        title="critical sharpness",
        kind="sharpness",
        stored="critical",
        quantities=(Quantity("critical", "critical sharpness, gradient", CURVATURE, critical_value),),
        settings=lambda _: {},
        effort=lambda _: Effort("losses", full=100, least=15, usual=20, gradients=LOSS, fixed=1.0, stops=True),
        compute=critical,
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
