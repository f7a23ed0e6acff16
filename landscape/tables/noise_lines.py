"""A measurement of the gradient noise in one line, whichever it is: its value, and its evidence.

Right when each kind of measurement has its own numbers in its line (`tests/landscape/tables/test_tables.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from analysis.store import Measurement

KINDS = ("raw", "centralized", "control")


def noise_line(found: Measurement) -> tuple[str, str]:
    """Return value and evidence of a measurement that has the three kinds of gradients.

    Args:
        found: From `/noise`.
    """
    group = found.groups["raw"]
    total = group.groups.get("total", group)
    if "noise_scale" in total.variables:
        return _scales(found)
    if "norm_hill" in total.groups:
        return _tails(found)
    return _spectrum(found) if "share" in total.variables else _weights(found)


def _scales(found: Measurement) -> tuple[str, str]:
    error = float(_total(found, "raw").variables["noise_scale_standard_error"].data)
    return f"noise scale: {_each(found, 'noise_scale')}", f"standard error (raw) {error:.2g}"


def _tails(found: Measurement) -> tuple[str, str]:
    def index(kind: str) -> Measurement:
        return _total(found, kind).groups["norm_hill"]

    values = _listed(lambda kind: float(index(kind).variables["value"].data))
    low, high = (float(index("raw").variables[f"interval_{end}"].data) for end in ("low", "high"))
    return f"tail index of norms: {values}", f"95 % (raw) {low:.3g} to {high:.3g}"


def _spectrum(found: Measurement) -> tuple[str, str]:
    error = float(found.groups["raw"].variables["alignment_standard_error"].data)
    return f"alignment with the Hessian: {_each(found, 'alignment')}", f"standard error (raw) {error:.2g}"


def _weights(found: Measurement) -> tuple[str, str]:
    error = float(_total(found, "raw").variables["mean_standard_error"].data)
    return f"mean ratio of weights: {_each(found, 'mean')}", f"standard error (raw) {error:.2g}"


def _total(found: Measurement, kind: str) -> Measurement:
    # that of mini-batches, and the spectrum, are over all weights and have no layers to total
    return found.groups[kind].groups.get("total", found.groups[kind])


def _each(found: Measurement, name: str) -> str:
    return _listed(lambda kind: float(_total(found, kind).variables[name].data))


def _listed(value: Callable[[str], float]) -> str:
    return ", ".join(f"{kind} {value(kind):.4g}" for kind in KINDS)
