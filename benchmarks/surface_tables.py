"""The tables of what a grid costs, as `tables.py` puts them into the README.

A target is called met or missed here, from the median, and nowhere else. Right when made-up ratios on both sides of a
target are called so (`tests/benchmarks/test_tables.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["SURFACE"]

Report = Mapping[str, Any]
Cells = tuple[Sequence[str], Sequence[Sequence[str]]]


def judged(ratio: Mapping[str, Any] | None) -> str:
    """Return a ratio with its interval, and whether it is within its target where it has one."""
    if ratio is None:
        return ""
    found = f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    most, least = ratio.get("at_most"), ratio.get("at_least")
    if most is None and least is None:
        return found
    is_met = ratio["median"] <= most if most is not None else ratio["median"] >= least
    return f"{found}, {'met' if is_met else 'missed'}"


def laid_out(plan: Mapping[str, Any]) -> str:
    """Return a plan, or the layout of bare passes, in words."""
    size = plan["batch_size"]
    words = [f"batches of {size}" if size else "as given"]
    words += ["channels last"] if plan["channels_last"] else []
    words += [f"{plan['stacked']} cells at once"] if plan.get("stacked", 1) > 1 else []
    return ", ".join(words)


def bare(report: Report) -> Cells:
    """Return our grid beside bare passes."""
    head = ["", "bare passes are fastest in", "one takes, ms", "a cell / bare", "51 x 51 with trial / bare"]
    rows = []
    for row in _rows(report, "cost"):
        fastest = min(one["seconds"] for one in row["search"])
        cell, grid = _ratio(row, "ours", "bare"), _ratio(row, "ours", "bare", "grid")
        rows.append([row["label"], laid_out(row["bare"]), f"{1e3 * fastest:.3g}", judged(cell), judged(grid)])
    return head, rows


def plans(report: Report) -> Cells:
    """Return what the trial chose and cost."""
    head = [
        "",
        "plan of the trial",
        "trial, s",
        "of a 51 x 51 grid",
        'plan="given" / "auto"',
        "in bare's layout / bare",
    ]
    rows = []
    for row in _rows(report, "cost"):
        trial = row["trial"]
        rows.append([
            row["label"],
            laid_out(trial),
            f"{trial['seconds']:.2g}" if trial["seconds"] >= 0.01 else "none",  # what deciding against one takes
            f"{trial['share']:.1%}",
            judged(_ratio(row, "ours, given", "ours")) or "the same",
            judged(_ratio(row, "ours, layout of bare", "bare")) or "the same",
        ])
    return head, rows


def library(report: Report) -> Cells:
    """Return loss-landscapes beside ours."""
    name = "loss-landscapes"
    rows = []
    for row in _rows(report, "cost"):
        failure = row["failures"].get(name, "")
        rows.append([
            row["label"],
            judged(_ratio(row, name, "ours")) or failure,
            judged(_ratio(row, f"{name}, best batch", "ours")),
            judged(_ratio(row, name, "ours", "grid")),
        ])
    return ["", "a cell / ours", "in bare's layout / ours", "51 x 51 / ours with trial"], rows


def extras(report: Report) -> Cells:
    """Return what further quantities and bfloat16 cost."""
    names = ("accuracy", "second split", "bfloat16")
    rows = [[row["label"], *(judged(_ratio(row, name, "plain")) for name in names)] for row in _rows(report, "extras")]
    return ["", *names], rows


def stacked(report: Report) -> Cells:
    """Return what cells together cost."""
    rows = []
    for row in _rows(report, "stacked"):
        for count in (name for name in row["seconds"] if name != "bare"):
            one = judged(_ratio(row, count, "1")) or "1"
            rows.append([row["label"], count, one, judged(_ratio(row, count, "bare"))])
    return ["", "cells at once", "a cell / one at a time", "a cell / bare"], rows


def processes(report: Report) -> Cells:
    """Return what a second process saves."""
    rows = [
        [row["label"], row.get("failure") or judged(_ratio(row, "two", "one"))] for row in _rows(report, "processes")
    ]
    return ["", "a cell by two / by one"], rows


SURFACE: Mapping[str, Callable[[Report], Cells]] = {
    "surface-bare": bare,
    "surface-plans": plans,
    "surface-library": library,
    "surface-extras": extras,
    "surface-stacked": stacked,
    "surface-processes": processes,
}
"""Name of the place in the README, to head and cells."""


def _rows(report: Report, part: str) -> Iterator[Mapping[str, Any]]:
    return (row for row in report["rows"] if row["part"] == part)


def _ratio(row: Mapping[str, Any], ours: str, theirs: str, of: str = "cell") -> Mapping[str, Any] | None:
    wanted = (of, ours, theirs)
    return next((one for one in row["ratios"] if (one["of"], one["ours"], one["theirs"]) == wanted), None)
