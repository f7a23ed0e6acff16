"""The table of runs, from the study's file or, where there is none, from the runs themselves.

Every column the study holds is shown, those readers ask for first, so that a new one appears by itself. Right when a
cell is the number of its run (`tests/figures/report/test_sections.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from figures.reading import Array, Run
from figures.report.content import Cell, Column, Table
from figures.report.wording import counted, label, number, signed
from figures.report.wording import method as method_name
from figures.sharpness import PANELS as SHARPNESS
from figures.spectrum import EIGENVALUES
from figures.style import in_order

RUNS, SUMMARY, TUNING, AB = "training/runs", "training/summary", "training/tuning", "claims/ab"
FIRST = (
    *("test_accuracy", "validation_accuracy", "train_accuracy", "train_loss", "lambda_max", "lambda_ratio", "trace"),
    *(
        "trace_centralized",
        "worst",
        "average",
        "worst_adaptive",
        "average_adaptive",
        "generalization_gap",
        "ascent_ratio",
    ),
)
# Of single layers: in the heat map.
LAYER = "ascent_ratio."


def run_table(study: Run | None, runs: Sequence[Run]) -> Table | None:
    """Return a row for each run, or None where nothing is known of any.

    Args:
        study: Its file, if there is one.
        runs: As from `figures.reading.load_runs`.
    """
    rows, descriptions = _stored(study) if study is not None and RUNS in study.measurements else _read(runs)
    if not rows:
        return None
    names = {name for row in rows.values() for name, value in row.items() if not math.isnan(value)}
    names = {name for name in names if not name.startswith(LAYER)}
    order = [name for name in FIRST if name in names] + sorted(names - set(FIRST))
    columns = (
        Column("Method"),
        Column("Seed", is_number=True),
        *(Column(label(name), descriptions.get(name, ""), is_number=True) for name in order),
    )
    methods = in_order([method for method, _ in rows])
    cells = tuple(
        (Cell(method_name(method)), Cell(str(seed), seed), *(_cell(name, row.get(name, math.nan)) for name in order))
        for (method, seed), row in sorted(rows.items(), key=lambda item: (methods.index(item[0][0]), item[0][1]))
    )
    caption = f"{counted(len(cells), 'run').capitalize()}; a dash is a number that was not measured. Accuracies in %."
    return Table("runs", caption, columns, cells)


def tuning_table(study: Run | None) -> Table | None:
    """Return a row for each trial of the search before the study, or None where nothing was tuned.

    Args:
        study: Its file, if there is one.
    """
    names = ("method", "seed", "lr", "rho", "validation_accuracy", "validation_loss", "chosen")
    stored = _stored_together(study, TUNING, (*names, "control", "same_as"))
    if stored is None:
        return None
    *columns, controls, same_as = stored
    rows = tuple(
        (Cell(method_name(str(name))), Cell("yes" if chosen else "no"), *map(_cell, names[1:-1], map(float, numbers)))
        for name, *numbers, chosen in zip(*columns, strict=True)
    )
    told = (Column("Method"), Column("Chosen"), *(Column(label(name), is_number=True) for name in names[1:-1]))
    caption = f"{counted(len(rows), 'trial').capitalize()}, as many for each method, with seeds that are not judged."
    for control, other in zip(controls, same_as, strict=True):
        caption += f" The control {method_name(control)} has the settings found for {method_name(other)}."
    return Table("tuning", caption, told, rows)


def answer_table(study: Run | None) -> Table | None:
    """Return the criteria of a comparison of two methods with their answers, or None where there was none.

    Args:
        study: Its file, if there is one.
    """
    names = ("criterion", "answers", "effect", "interval_low", "interval_high", "unit", "seeds_needed", "reason")
    columns = _stored_together(study, AB, names)
    if study is None or columns is None:
        return None
    rows = tuple(
        (
            Cell(str(criterion)),
            Cell(str(answer)),
            Cell(f"{signed(float(effect), unit)} [{signed(float(low), unit)}, {signed(float(high), unit)}]", effect),
            Cell(number(float(needed)), needed),
            Cell(str(reason)),
        )
        for criterion, answer, effect, low, high, unit, needed, reason in zip(*columns, strict=True)
    )
    told = [str(study.array(AB, name)) for name in ("candidate", "baseline", "answer")]
    looks, confidence = study.array(AB, "looks"), study.array(AB, "look_confidence")
    caption = (
        f"Does {method_name(told[0])} meet what was asked beside {method_name(told[1])}? {told[2].capitalize()}. "
        f"Intervals of {number(100 * float(confidence if confidence is not None else math.nan))} %, for look "
        f"{1 if looks is None else max(len(looks), 1)} at the growing number of seeds."
    )
    titles = ("Criterion", "Answer", "Effect [interval]", "Seeds needed", "Reason")
    numbers = ("Effect [interval]", "Seeds needed")
    return Table("success", caption, tuple(Column(title, is_number=title in numbers) for title in titles), rows)


def _stored_together(study: Run | None, key: str, names: Sequence[str]) -> list[Array] | None:
    found = [study.array(key, name) for name in names] if study is not None else []
    there = [column for column in found if column is not None]
    return there if len(there) == len(names) else None


def _cell(name: str, value: float) -> Cell:
    if name.endswith("accuracy") and math.isfinite(value):
        return Cell(f"{100 * value:.2f}", value)
    return Cell(number(value), value)


Rows = dict[tuple[str, int], Mapping[str, float]]


def _stored(study: Run) -> tuple[Rows, dict[str, str]]:
    variables = dict(study.measurements[RUNS].variables)
    methods, seeds = (variables.pop(name).data.tolist() for name in ("method", "seed"))
    columns = {
        name: v.data.astype(float) for name, v in variables.items() if v.data.dtype != object and v.data.ndim == 1
    }
    rows: Rows = {
        (str(method), int(seed)): {name: float(column[i]) for name, column in columns.items()}
        for i, (method, seed) in enumerate(zip(methods, seeds, strict=True))
    }
    return rows, {name: variable.description for name, variable in variables.items()}


def _read(runs: Sequence[Run]) -> tuple[Rows, dict[str, str]]:
    rows: Rows = {}
    for run in runs:
        summary = run.measurements.get(SUMMARY)
        row = {}
        for name, variable in ({} if summary is None else summary.variables).items():
            if name != "seed" and variable.data.ndim == 0 and variable.data.dtype != object:
                row[name] = float(variable.data)
        values = run.array(EIGENVALUES, "values")
        single = {"trace": "curvature/trace", "trace_centralized": "curvature/trace_centralized"}
        single |= {key.partition("/")[2]: key for key, _ in SHARPNESS}
        row |= {name: float(value) for name, key in single.items() if (value := run.array(key, "value")) is not None}
        if values is not None and np.size(values):
            row["lambda_max"] = float(values[0])
        if row:
            rows[run.method, run.seed] = row
    return rows, {}
