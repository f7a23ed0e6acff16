"""Accuracy over a grid of one setting, in a few numbers for each run: area, drop, slopes at the ends.

The area is the mean accuracy over the range of the grid (trapezoids), over the logarithm of radii and learning rates,
because those differ by factors, and over the share itself for wrong labels. The drop is the best minus the worst. Right
when straight lines and parabolas through the grid give the numbers of calculus
(`tests/analysis/claims/test_sweeps.py`). Costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.claims.table import RunTable
from analysis.store import Measurement, Variable, read, write

Array = np.ndarray[Any, np.dtype[np.float64]]

TYPE = "Sweep"
LOGARITHMIC = ("lr", "rho")
# Description of each number of a sweep; all but the slopes are fractions.
COLUMNS = {
    **{
        f"{setting}_{name}": ("1", text)
        for setting, one, many in (("lr", "learning rate", "learning rates"), ("rho", "radius", "radii"))
        for name, text in (
            ("area", f"mean test accuracy over the grid of {many}, on a logarithmic axis"),
            ("drop", f"test accuracy at the best {one} of the grid minus at the worst"),
            ("slope_low", f"change of the test accuracy per decade, from the smallest {one} to the next"),
            ("slope_high", f"change of the test accuracy per decade, from the last {one} but one to the largest"),
        )
    },
    "label_noise_area": ("1", "mean test accuracy over the grid of label noise"),
    "label_noise_drop": ("1", "test accuracy at the best level of label noise minus at the worst"),
    "label_noise_highest": ("1", "test accuracy at the highest level of label noise"),
}
_NUMBERS = {
    "test_accuracy": "of the selected weights, as a fraction; NaN where the training diverged",
    "validation_accuracy": "likewise, on the validation split",
    "train_accuracy": "likewise, on the training split, with its labels as they were trained on",
}


@dataclass(frozen=True, eq=False)
class SweepTable:
    """What runs over the values of one setting came to.

    Args:
        setting: That is swept: "lr", "rho" or "label_noise".
        values: Of it, rising, two or more [value].
        method: Methods that were swept [method].
        seed: Of the runs [seed].
        numbers: "test_accuracy" and others by name [method, seed, value], NaN where a run diverged.

    Raises:
        ValueError: The values do not rise, there are fewer than two, or a radius or learning rate is not above 0.
    """

    setting: str
    values: tuple[float, ...]
    method: tuple[str, ...]
    seed: tuple[int, ...]
    numbers: Mapping[str, Array]

    def __post_init__(self) -> None:
        low = 0.0 if self.setting not in LOGARITHMIC else np.nextafter(0.0, 1.0)
        values = np.array(self.values, dtype=np.float64)
        if len(values) < 2 or not (np.diff(values) > 0).all() or not low <= values[0] <= values[-1] < np.inf:
            what = "above 0" if self.setting in LOGARITHMIC else "of 0 or more"
            raise ValueError(
                f"a sweep of {self.setting} needs two or more finite values {what} in rising order, got "
                f"{', '.join(f'{value:g}' for value in self.values) or 'none'}"
            )

    @property
    def name(self) -> str:
        """That of the measurement: `/training/<name>`."""
        return f"sweep_{self.setting}"

    def columns(self) -> dict[str, Array]:
        """Return the numbers of each curve over the grid [method, seed], by the name of their column."""
        accuracy, x = self.numbers["test_accuracy"], self._axis()
        found = {"area": area(x, accuracy), "drop": accuracy.max(-1) - accuracy.min(-1)}
        if self.setting in LOGARITHMIC:
            slopes = np.diff(accuracy) / np.diff(x)
            found |= {"slope_low": slopes[..., 0], "slope_high": slopes[..., -1]}
        else:
            found["highest"] = accuracy[..., -1]
        return {f"{self.setting}_{name}": numbers for name, numbers in found.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sweep as a measurement with the dimensions method, seed and value.

        Args:
            path: The result file.
        """
        units = "weight" if self.setting == "rho" else "1"
        variables = {
            "value": Variable(np.array(self.values), ("value",), units, f"{self.setting} of the run"),
            "method": Variable(np.array(self.method, dtype=object), ("method",), description="training method"),
            "seed": Variable(np.array(self.seed, dtype=np.int64), ("seed",), description="seed that pairs the runs"),
        }
        for name, array in self.numbers.items():
            variables[name] = Variable(array, ("method", "seed", "value"), "1", _NUMBERS.get(name, ""))
        write(path, "training", self.name, Measurement(TYPE, variables, {"setting": self.setting}))

    @classmethod
    def load(cls, path: str | os.PathLike[str], setting: str) -> SweepTable:
        """Read a sweep that `save` wrote.

        Args:
            path: The result file.
            setting: That was swept.

        Returns:
            An equal table.
        """
        found = dict(read(path, f"training/sweep_{setting}").variables)
        value, method, seed = (found.pop(name).data.tolist() for name in ("value", "method", "seed"))
        numbers = {name: variable.data for name, variable in found.items()}
        return cls(setting, tuple(value), tuple(method), tuple(seed), numbers)

    def _axis(self) -> Array:
        values = np.array(self.values, dtype=np.float64)
        return np.log10(values) if self.setting in LOGARITHMIC else values


def area(x: Array, y: Array) -> Array:
    """Return the mean of a piecewise linear curve over its range: trapezoids, divided by the length of the range.

    Args:
        x: Where it is known, rising [V].
        y: Its numbers [..., V].

    Returns:
        [...]; NaN where one of the numbers is.

    Example:
        >>> float(area(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 1.0])))  # (0.5 + 2) / 3
        0.8333333333333334
    """
    mean: Array = ((y[..., 1:] + y[..., :-1]) / 2 * np.diff(x)).sum(-1) / (x[-1] - x[0])
    return mean


def with_sweeps(table: RunTable, sweeps: Iterable[SweepTable]) -> RunTable:
    """Return a table of runs with the numbers of sweeps beside those of the runs they belong to.

    Args:
        table: A row per run of the study.
        sweeps: Of any settings; a method and seed without a row in the table are left out.

    Returns:
        The same rows, with the columns of `COLUMNS` that the sweeps fill; NaN in the rows of other methods.
    """
    columns = dict(table.columns)
    for sweep in sweeps:
        for name, numbers in sweep.columns().items():
            places = {(m, s): numbers[i, k] for i, m in enumerate(sweep.method) for k, s in enumerate(sweep.seed)}
            column = [float(places.get(run, np.nan)) for run in zip(table.method, table.seed, strict=True)]
            columns[name] = Variable(np.array(column), ("run",), *COLUMNS[name])
    return RunTable(table.method, table.seed, columns)
