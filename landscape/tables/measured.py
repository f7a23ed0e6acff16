"""What was measured, for the terminal: a row for each measurement with its evidence, and what a training came to.

They are made from the stored numbers, so that they say the same whether the work was done now or found done; without
torch but for the measures of the sharpness report. Right when each number of the file is in its row
(`tests/landscape/tables/test_tables.py`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from analysis.store import Measurement, list_measurements, read
from landscape.tables.noise_lines import noise_line


def measured_table(path: str | os.PathLike[str], keys: Iterable[str]) -> Table:
    """List measurements, each number with its evidence.

    Args:
        path: The result file.
        keys: "kind/name" of those wanted; ones that are not in the file are left out.

    Returns:
        The table.
    """
    there = list_measurements(path)
    table = Table(title=os.fspath(path), title_justify="left")
    for heading in ("measurement", "value", "evidence", "status"):
        table.add_column(heading, overflow="fold")
    for key in keys:
        if key in there:
            found = read(path, key)
            value, evidence = _content(key, found)
            table.add_row(Text(key), Text(value), Text(evidence), Text(found.attributes.get("status", "")))
    return table


def trained_table(path: str | os.PathLike[str]) -> Table:
    """List what a training came to: loss and accuracy of the selected weights on each split.

    Args:
        path: The run's result file.

    Returns:
        The table.
    """
    found = {name: variable.data.tolist() for name, variable in read(path, "training/summary").variables.items()}
    title = f"{os.fspath(path)}: weights of epoch {found['selected_epoch']}, {found['seconds']:.1f} s of steps"
    table = Table(title=title, title_justify="left", min_width=len(title))  # or the title would be broken
    for heading in ("split", "loss", "accuracy"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split in ("train", "validation", "test"):
        table.add_row(split, f"{found[f'{split}_loss']:.4f}", f"{100 * found[f'{split}_accuracy']:.2f} %")
    return table


def reading(key: str, found: Measurement) -> tuple[str, str]:
    """Return value and evidence of a stored measurement of the list, by the readings of the report.

    Args:
        key: "kind/name".
        found: As stored.

    Returns:
        Both empty if the list has no such measurement.
    """
    from analysis.evidence import from_measurement
    from analysis.report.measures import MEASURES
    from analysis.report.words import number_and_interval

    measure = next((each for each in MEASURES if each.key == key), None)
    if measure is None:
        return "", ""
    result = from_measurement(found)
    values, evidence = [], []
    for quantity in measure.quantities:
        read = quantity.read(result)
        value, interval = number_and_interval(read.value, read.low, read.high, read.meaning)
        values.append(value)
        name = f"{quantity.title} " if len(measure.quantities) > 1 else ""
        evidence.append(f"{name}{interval}{f' {read.meaning}' if interval.startswith('[') else ''}")
    return " ".join(values), "; ".join(evidence)


def _content(key: str, found: Measurement) -> tuple[str, str]:
    """Return the value and the evidence of a measurement, by what variables it has."""
    numbers = {name: variable.data for name, variable in found.variables.items()}
    if "explained_variance" in numbers:
        first, second = (f"{100 * share:.1f} %" for share in numbers["explained_variance"])
        far = f"at most {numbers['distance'].max():.3g} outside the plane"
        return f"{len(numbers['loss'])} points", f"{first} and {second} of the variance along its axes; {far}"
    if "done" in numbers:
        return _scan(numbers)
    if "residuals" in numbers:
        values = " ".join(f"{value:.4g}" for value in numbers["values"])
        return values, f"residuals up to {numbers['residuals'].max():.2g}; {numbers['num_hvps']} Hessian products"
    if found.type == "TraceEstimate":
        error, probes = float(numbers["standard_error"]), int(numbers["num_hvps"])
        return f"{numbers['value']:.4g}", f"standard error {error:.2g}; {probes} probes"
    if found.type == "Sharpness":
        error, residual = float(numbers["standard_error"]), float(numbers["residual"])
        evidence = f"residual {residual:.2g}" if math.isnan(error) else f"standard error {error:.2g}"
        evidence = "exact" if math.isnan(error) and math.isnan(residual) else evidence  # the rise along one step
        return f"{numbers['value']:.4g}", f"{evidence}; rho {numbers['rho']:g}"
    if "raw" in found.groups:
        return noise_line(found)
    return reading(key, found)  # loads torch, as whoever measured these has done


def _scan(numbers: Mapping[str, Any]) -> tuple[str, str]:
    """Return the range of what was computed in the cells of a scan, and what it is compared with."""
    if "lambda_max" in numbers:
        high, ratio = np.nanmax(numbers["lambda_max"]), np.nanmax(numbers["ratio"])
        products = int(np.nansum(numbers["num_hvps"]))
        values = f"lambda_max up to {high:.4g}, |lambda_min| up to {100 * ratio:.3g} % of it"
        return values, f"{_cells(numbers)}; residuals up to {np.nanmax(numbers['residuals']):.2g}; {products} products"
    if "slope" in numbers:
        share = 100 * np.nanmedian(numbers["in_plane"])
        return f"gradient up to {np.nanmax(numbers['gradient_norm']):.4g}", f"{_cells(numbers)}; {share:.2g} % in plane"
    loss = numbers["loss"]
    finite = loss[np.isfinite(loss)]
    values = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "nothing finite"
    if "barrier" in numbers:
        barrier = (
            f"barrier {numbers['barrier']:.4g} +- {numbers['barrier_error']:.2g} at t = {numbers['barrier_at']:.3g}"
        )
        return values, f"{_cells(numbers)}; {barrier}"
    return values, f"{_cells(numbers)}; {numbers['origin_loss']:.4g} at the origin"


def _cells(numbers: Mapping[str, Any]) -> str:
    done, diverged = numbers["done"], int(numbers["diverged"].sum())
    return f"{int(done.sum())} of {done.size} cells{f', {diverged} diverged' if diverged else ''}"
