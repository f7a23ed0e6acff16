"""The numbers a measurement holds, each with what is known about its uncertainty; by its variables, without torch.

Right when every number of every measure is found with its standard error, samples or bounds
(`tests/landscape/comparing/test_comparison.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.store import Measurement, Variable
from landscape.comparing.intervals import Array

ERROR = "standard_error"
# Texts that are outcomes, or names of what was measured, and no settings.
NO_SETTINGS = ("statuses", "ways", "names", "parameters", "layers")
# Numbers that what is measured depends on; others of floating point are outcomes, or tolerances of an estimate.
NUMBERS_SET = ("rho", "rise")
NAMES = ("parameters", "layers", "rho")


@dataclass(frozen=True)
class Quantity:
    """One number.

    Attributes:
        name: In its measurement; empty where it is the only one that matters.
        value: The number.
        error: Its standard error; NaN for none.
        samples: Independent samples whose mean it is, [n]; None where they were not kept or are not independent.
        count: How many samples are behind it; inf where that is not known.
        bounds: Between which numbers it lies for certain; None where that is not known.
        over: What the samples are.
    """

    name: str
    value: float
    error: float = math.nan
    samples: Array | None = None
    count: float = math.inf
    bounds: tuple[float, float] | None = None
    over: str = "samples"


def quantities(found: Measurement) -> list[Quantity]:
    """Return the numbers of a measurement.

    Args:
        found: As it was stored.

    Returns:
        In order of importance; empty for what has no number with an uncertainty, as scans.
    """
    numbers = {name: variable.data for name, variable in found.variables.items()}
    if "residuals" in numbers:
        pairs = zip(numbers["values"].tolist(), numbers["residuals"].tolist(), strict=True)
        return [
            Quantity(str(place), value, bounds=(value - residual, value + residual))
            for place, (value, residual) in enumerate(pairs, start=1)
        ]
    if {"learning_rate", "low", "high"} <= numbers.keys():  # 2 / learning rate, which lies in a bracket
        low, high = float(numbers["low"]), float(numbers["high"])
        return [Quantity("", float(numbers["value"]), bounds=(2 / high, 2 / low if low > 0 else math.inf))]
    return [*_sampled(found), *_with_error(found)]


def settings(found: Measurement) -> dict[str, object]:
    """Return what the numbers of a measurement depend on beside network, data and random numbers.

    Args:
        found: As it was stored.

    Returns:
        Name to value: texts, truth values, whole numbers, and `NUMBERS_SET`; not counts, seeds and memory.
    """
    chosen: dict[str, object] = {"type": found.type}
    samples = found.variables.get("samples")
    for name, variable in found.variables.items():
        kind = variable.data.dtype.kind
        if name == "method":  # of a trace: how it was estimated; of eigenvalues: how products were made, or of what
            text = str(variable.data)
            if found.type != "TraceEstimate" and text not in {"double_backward", "finite_difference"}:
                chosen[name] = text
        elif name == "m":  # all samples where no subsets were asked for
            if samples is not None and samples.data.shape[-1] > 1 and _text(found, "kind") == "worst":
                chosen[name] = variable.data.tolist()
        elif kind in "OUb" and name not in NO_SETTINGS:
            chosen[name] = variable.data.tolist()
        elif kind in "iu" and not name.startswith("num_") and name not in {"seed", "peak_memory"}:
            chosen[name] = variable.data.tolist()
        elif name in NUMBERS_SET:
            chosen[name] = variable.data.tolist()
    return chosen


def _sampled(found: Measurement) -> Iterator[Quantity]:
    """Yield the value whose samples were kept: one number, or one at each rho."""
    variables = found.variables
    if "along" in variables and "value" in variables:  # Fisher-Rao: the mean of squares
        along = variables["along"].data
        yield Quantity("", float(variables["value"].data), _error(found), along**2, len(along))
        return
    if "samples" not in variables or "value" not in variables or not variables["samples"].dims:
        return
    table = np.atleast_2d(variables["samples"].data)
    values, errors = (np.atleast_1d(variables[name].data) for name in ("value", ERROR))
    # those of XTrace have most of their basis in common
    is_independent = _text(found, "method") != "xtrace"
    over = "probes" if "probe" in variables["samples"].dims else "pairs"
    over = "subsets" if _text(found, "kind") == "worst" else over
    for name, value, error, samples in zip(_labels(found, variables["value"]), values, errors, table, strict=True):
        yield Quantity(
            name, float(value), float(error), samples if is_independent else None, float(len(samples)), over=over
        )


def _with_error(found: Measurement, path: str = "") -> Iterator[Quantity]:
    """Yield every number that has a standard error beside it; of nested groups those that are no arrays."""
    variables = found.variables
    taken = not path and bool(list(_sampled(found)))
    count = float(variables["num_samples"].data) if "num_samples" in variables else math.inf
    for name, variable in variables.items():
        error = variables.get(ERROR if name == "value" else f"{name}_{ERROR}")
        if error is None or (name == "value" and taken) or (path and variable.dims):
            continue
        own = "" if name == "value" else name
        labels = _labels(found, variable)
        for label, value, spread in zip(
            labels, np.ravel(variable.data).tolist(), np.ravel(error.data).tolist(), strict=True
        ):
            yield Quantity(" ".join(filter(None, (path, own, label))), value, spread, count=count)
    for name, group in found.groups.items():
        yield from _with_error(group, path if name == "total" else " ".join(filter(None, (path, name))))


def _labels(found: Measurement, variable: Variable) -> list[str]:
    """Return a name for each entry of a variable: by the texts or radii along its dimension, else its place."""
    if not variable.dims:
        return [""]
    for name in NAMES:
        along = found.variables.get(name)
        if along is not None and along.dims == variable.dims:
            return [f"rho {entry:g}" if name == "rho" else str(entry) for entry in along.data.tolist()]
    return [str(place) for place in range(1, variable.data.size + 1)]


def _error(found: Measurement) -> float:
    return float(found.variables[ERROR].data)


def _text(found: Measurement, name: str) -> str:
    return str(found.variables[name].data) if name in found.variables else ""
