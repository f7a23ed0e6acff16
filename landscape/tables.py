"""Tables for the terminal: what was measured, and what the study says about the claims.

They are made from the stored numbers, so that they say the same whether the work was done now or found done; without
torch, so that they appear at once. Right when each number and verdict of the file is in its row
(`tests/landscape/test_tables.py`).
"""

from __future__ import annotations

import itertools
import math
import os
import string
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.store import Measurement, list_measurements, read
from landscape.noise_lines import noise_line

STYLES = {"supported": "green", "contradicted": "red", "inconclusive": "dim"}
# A pipe has no width; this one keeps each row of the verdicts on a few lines.
PIPE_WIDTH = 140
UNITS = {"percentage points": "pp", "rank correlation": ""}


def show(*things: Table | str) -> None:
    """Print results on stdout.

    Args:
        *things: Tables, or lines of text.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for thing in things:
        if isinstance(thing, str):
            console.print(thing, highlight=False, markup=False, soft_wrap=True)
        else:
            console.print(thing)


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


def verdict_table(found: Measurement) -> Table:
    """List the comparisons that the data can speak to, a line each under the claim they bear on.

    Args:
        found: `/claims/verdicts` of a study file.

    Returns:
        The table; the letters in its last column are those of `note_lines`. Beside a verdict stand its p value
        corrected for the number of comparisons, and the smallest effect that these seeds would find in 80 % of studies.
    """
    columns = {name: variable.data.tolist() for name, variable in found.variables.items()}
    unknown = [math.nan] * len(columns["number"])  # in files of earlier versions
    overall = dict(zip(columns["claim_number"], columns["overall"], strict=True))
    letters, _ = _notes(columns)
    table = Table(title="Claims about GCSAM, from these runs", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("claim, and what is compared", "effect [95 % interval]", "p (Holm)", "seen from", "verdict", "note"):
        table.add_column(title, overflow="fold")
    heading = ""
    for i in _tested(columns):
        if columns["statement"][i] != heading:
            heading, number = columns["statement"][i], columns["number"][i]
            same = [k for k in _tested(columns) if columns["statement"][k] == heading]
            has_verdict = any(columns["role"][k] == "decides" for k in same)
            table.add_section()
            table.add_row(
                *(
                    Text(text, style="bold")
                    for text in (f"{number} {heading}", "", "", "", overall[number] * has_verdict)
                )
            )
        verdict = columns["verdict"][i] if columns["role"][i] == "decides" else "reported"
        table.add_row(
            Text(f"  {columns['quantity'][i]}: {columns['comparison'][i]}"),
            Text(_effect(*(columns[name][i] for name in ("effect", "interval_low", "interval_high", "unit")))),
            Text(_p_value(columns.get("p_corrected", unknown)[i])),
            Text(_smallest(columns.get("detectable", unknown)[i], columns["unit"][i])),
            Text(verdict, style=STYLES.get(verdict, "")),
            Text(" ".join(letters[text] for text in _texts(columns, i) if text in letters)),
        )
    return table


def note_lines(found: Measurement) -> list[str]:
    """Say what the letters in the table of verdicts stand for, and what holds wherever there is none.

    Args:
        found: `/claims/verdicts` of a study file.

    Returns:
        A line for each.
    """
    letters, common = _notes({name: variable.data.tolist() for name, variable in found.variables.items()})
    lines = [f"{letter}: {text}" for text, letter in letters.items()]
    return [f"every verdict: {common}", *lines] if common else lines


def untested_lines(found: Measurement) -> list[str]:
    """Name the claims, or parts of them, that these data cannot speak to.

    Args:
        found: `/claims/verdicts` of a study file.

    Returns:
        A line for each.
    """
    columns = {name: found.variables[name].data.tolist() for name in ("number", "statement", "role", "reason")}
    rows = dict.fromkeys(zip(*columns.values(), strict=True))  # several comparisons may need the same
    return [f"not tested here: {number} {text} ({why})" for number, text, role, why in rows if role == "untested"]


def _tested(columns: Mapping[str, list[Any]]) -> list[int]:
    return [i for i, role in enumerate(columns["role"]) if role != "untested"]


def _texts(columns: Mapping[str, list[Any]], i: int) -> list[str]:
    return [text for text in (columns["reason"][i], columns["caveat"][i]) if text]


def _notes(columns: Mapping[str, list[Any]]) -> tuple[dict[str, str], str]:
    """Return a letter for each reason and caveat, and the one reason that all verdicts share, which needs none."""
    deciding = [i for i in _tested(columns) if columns["role"][i] == "decides"]
    shared = set.intersection(*(set(_texts(columns, i)) for i in deciding)) if deciding else set()
    texts = dict.fromkeys(text for i in _tested(columns) for text in _texts(columns, i) if text not in shared)
    return dict(zip(texts, _letters(), strict=False)), "; ".join(sorted(shared))


def _letters() -> Iterator[str]:
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            yield "".join(letters)


def _p_value(value: float) -> str:
    if math.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _smallest(value: float, unit: str) -> str:
    return f"{value:.2g} {UNITS.get(unit, unit)}" if math.isfinite(value) else ""


def _effect(effect: float, low: float, high: float, unit: str) -> str:
    if math.isnan(effect):
        return "none"
    digits = 1 if unit in {"%", "percentage points"} else 2
    effect, low, high = (round(value, digits) + 0.0 for value in (effect, low, high))  # + 0.0: no -0.0
    unit = UNITS.get(unit, unit)
    interval = "" if math.isnan(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{effect:+.{digits}f}{f' {unit}' if unit else ''}{interval}"


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
    from landscape.measures import reading  # loads torch, as whoever measured these has done

    return reading(key, found)


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
