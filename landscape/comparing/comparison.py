"""Two result files side by side: what both measured in the same way, how it differs, and how sure that is.

Without torch, so that it appears at once. Right when a paired interval is taken only where samples belong together,
and unlike things are named instead of compared (`tests/landscape/comparing/test_comparison.py`). Cost: reading both
files.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.store import Measurement, Variable, list_measurements, read, read_attributes
from landscape.comparing.intervals import Interval, bounded, independent, paired
from landscape.comparing.quantities import Quantity, quantities, settings
from landscape.records.identity import DATA_KEY, is_same_data

KINDS = ("curvature", "sharpness", "noise")
NOT_TOLD, NO_INTERVAL, OTHER_SETTINGS = "not told apart", "no interval", "not compared"
# What a larger number says; of all other measures of curvature and sharpness that the network is sharper.
FLATTER, NEITHER = ("PACBayesSigma",), ("FisherRaoNorm",)
LOWER_BOUND = "MAX_STEPS"


@dataclass(frozen=True)
class Row:
    """One number of both files.

    Attributes:
        name: Measurement and quantity.
        first: The number of A.
        second: That of B.
        interval: Of B - A.
        words: Whether they differ.
        how: What the interval rests on, or why there is none.
    """

    name: str
    first: float
    second: float
    interval: Interval
    words: str
    how: str

    @property
    def ratio(self) -> float:
        """B / A; NaN where one of them is not positive."""
        return self.second / self.first if self.first > 0 and self.second > 0 else math.nan


@dataclass(frozen=True)
class Side:
    """One result file.

    Attributes:
        path: The file.
    """

    path: Path

    @cached_property
    def measurements(self) -> dict[str, Measurement]:
        """Those that can be compared, by "kind/name"."""
        return {key: read(self.path, key) for key in self.keys if key.split("/")[0] in KINDS}

    @cached_property
    def keys(self) -> list[str]:
        """All that the file holds."""
        return list_measurements(self.path)

    @cached_property
    def data(self) -> dict[str, Variable]:
        """What the file says about its data; empty where it says nothing."""
        return dict(read(self.path, DATA_KEY).variables) if DATA_KEY in self.keys else {}

    @cached_property
    def attributes(self) -> dict[str, str]:
        """The provenance."""
        return read_attributes(self.path)

    @property
    def architecture(self) -> tuple[Any, Any]:
        """Name of the network, and names of its measured weights where eigenvalues say them."""
        model = json.loads(self.attributes["config"]).get("model")
        for found in self.measurements.values():
            if found.type == "Eigenpairs" and "names" in found.variables:
                return model, found.variables["names"].data.tolist()
        return model, None


@dataclass(frozen=True)
class Comparison:
    """What two files have in common.

    Attributes:
        first: A.
        second: B.
        rows: In the order of the file.
        notes: What else is to be known, a line each.
    """

    first: Path
    second: Path
    rows: list[Row]
    notes: list[str]


def compare(first: Path, second: Path) -> Comparison:
    """Compare two result files.

    Args:
        first: A.
        second: B.

    Returns:
        The comparison.

    Raises:
        FileNotFoundError: One is not there.
        SchemaError: One is no result file.
        ValueError: They have no measurement in common.
    """
    a, b = Side(first), Side(second)
    common = [key for key in a.measurements if key in b.measurements]
    if not common:
        held = [", ".join(side.measurements) or "none that has one number" for side in (a, b)]
        raise ValueError(
            f"{first} and {second} have no measurement in common: the first holds {held[0]}, the second {held[1]}; "
            "measure the same of both"
        )
    apart, notes = _relation(a, b)
    rows = _loss(a, b, common, apart)
    for key in common:
        rows += _rows(key, a.measurements[key], b.measurements[key], apart)
    for name, own, other in (("A", a, b), ("B", b, a)):
        alone = [key for key in own.measurements if key not in other.measurements]
        notes += [f"only in {name}: {', '.join(alone)}"] if alone else []
    silent = [key for key in common if not any(row.name.startswith(key) for row in rows)]
    return Comparison(first, second, rows, [*notes, *([f"without a number: {', '.join(silent)}"] if silent else [])])


def _relation(a: Side, b: Side) -> tuple[str, list[str]]:
    """Return why samples of two files do not belong together, empty where they do, and notes about it."""
    apart, notes = "", []
    models = [side.architecture for side in (a, b)]
    differ = any(one != other and None not in (one, other) for one, other in zip(*models, strict=True))
    if differ:
        apart = "another architecture"
        notes.append(f"of another architecture: A {models[0][0]}, B {models[1][0]}")
    if not (a.data and b.data):
        apart = apart or "data unknown"
        unknown = " and ".join(name for name, side in (("A", a), ("B", b)) if not side.data)
        notes.append(f"{unknown} does not say on which data it was measured; taken as other data")
    elif not is_same_data(a.data, *(float(b.data[name].data) for name in ("sum", "sum_of_squares"))):
        apart = apart or "other data"
        notes.append(f"on other data: A on {a.data['data'].data}, B on {b.data['data'].data}")
    return apart, notes


def _loss(a: Side, b: Side, common: list[str], apart: str) -> list[Row]:
    """Return the loss, where a measurement notes it; on the same data it is exact."""
    for key in common:
        found = [side.measurements[key].variables.get("base_loss") for side in (a, b)]
        if found[0] is not None and found[1] is not None:
            first, second = (float(variable.data) for variable in found if variable is not None)
            is_exact = apart in {"", "another architecture"}
            words = "equal" if first == second else ("B is lower" if second < first else "A is lower")
            known = words if is_exact and math.isfinite(first - second) else NO_INTERVAL
            how = "exact on these data" if is_exact else apart
            return [Row("loss", first, second, Interval(second - first), known, how)]
    return []


def _rows(key: str, first: Measurement, second: Measurement, apart: str) -> list[Row]:
    given = settings(first), settings(second)
    for name in dict.fromkeys([*given[0], *given[1]]):
        if given[0].get(name) != given[1].get(name):
            how = f"other settings: {name} {_told(given[0].get(name))} and {_told(given[1].get(name))}"
            return [Row(key, math.nan, math.nan, Interval(math.nan), OTHER_SETTINGS, how)]
    pairs = {quantity.name: quantity for quantity in quantities(second)}
    rows = []
    for one in quantities(first):
        if one.name in pairs:
            other = pairs[one.name]
            interval, how = _interval(one, other, apart or _other_seed(first, second))
            lower = [
                name for name, found in (("A", first), ("B", second)) if found.attributes.get("status") == LOWER_BOUND
            ]
            how += f"; lower bound: {' and '.join(lower)}" if lower else ""
            name = f"{key} {one.name}".rstrip()
            rows.append(Row(name, one.value, other.value, interval, _words(key, first, interval), how))
    if not rows and quantities(first):
        how = "other settings: of other parts of the network"
        return [Row(key, math.nan, math.nan, Interval(math.nan), OTHER_SETTINGS, how)]
    return rows


def _interval(one: Quantity, other: Quantity, apart: str) -> tuple[Interval, str]:
    """Return the interval of the difference of two numbers, and what it rests on."""
    difference = other.value - one.value
    if not math.isfinite(difference):
        return Interval(difference), "not finite"
    if one.bounds is not None and other.bounds is not None:
        return bounded((one.value, *one.bounds), (other.value, *other.bounds)), "bounds of both"
    if one.samples is not None and other.samples is not None and not apart:
        length = min(len(one.samples), len(other.samples))
        is_whole = len(one.samples) == len(other.samples)
        if length > 1:
            middle = difference if is_whole else None
            how = f"paired, {length} {one.over}" if is_whole else f"paired, the first {length} {one.over} of both"
            return paired(one.samples[:length], other.samples[:length], middle), how
    if np.isfinite([one.error, other.error]).all():
        why = apart if one.samples is not None else "no samples kept"
        found = independent((one.value, one.error, one.count), (other.value, other.error, other.count))
        return found, f"as if independent ({why})"
    return Interval(difference), "a single maximum each" if one.over == "subsets" else "no standard error"


def _other_seed(first: Measurement, second: Measurement) -> str:
    seeds = [found.variables["seed"].data.tolist() for found in (first, second) if "seed" in found.variables]
    return "another seed" if len(set(seeds)) > 1 else ""


def _words(key: str, found: Measurement, interval: Interval) -> str:
    if not interval.is_known:
        return NO_INTERVAL
    if interval.low <= 0 <= interval.high:
        return NOT_TOLD
    is_second = interval.low > 0
    is_smallest = "which" in found.variables and str(found.variables["which"].data) == "smallest"
    if key.startswith("noise") or found.type in NEITHER or is_smallest:
        return f"{'B' if is_second else 'A'} is larger"
    return f"{'B' if is_second != (found.type in FLATTER) else 'A'} is sharper"


def _told(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
