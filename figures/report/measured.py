"""Pictures of what was measured after training: surfaces, eigenvalues, sharpness, accuracy.

Each function returns None where no run holds the measurement. Right when every point is the number of its run
(`tests/figures/report/test_sections.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from figures.accuracy import mean_interval
from figures.plane import PLANE, Plane, planes
from figures.reading import Array, Run, by_method
from figures.report.content import ColorScale, Panel, Picture, Series
from figures.report.wording import counted, listed, method, number
from figures.scale import common_scale
from figures.sharpness import PANELS as SHARPNESS
from figures.spectrum import EIGENVALUES
from figures.style import in_order

SUMMARY = "training/summary"
# Browsers draw some 16 three-dimensional scenes on a page and then drop the oldest.
MOST_SCENES = 8


def surfaces(runs: Sequence[Run]) -> list[Picture]:
    """Return the surfaces of all methods in three dimensions, and the same as contours.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = planes(runs)
    if not found:
        return []
    scale = common_scale([plane.loss for plane in found])
    cuts = [number(end) for end in (scale.bottom,) * scale.is_floored + (scale.top,) * scale.is_clipped]
    label = f"loss, cut at {listed(cuts)}" if cuts else "loss"
    colors = ColorScale(label, scale.bottom, scale.top, scale.is_log)
    rises = [f"{_title(plane)} {number(_least(plane))} to {number(float(np.nanmax(plane.loss)))}" for plane in found]
    middle = math.sqrt(scale.bottom * scale.top) if scale.is_log else (scale.bottom + scale.top) / 2
    shares = [f"{_title(plane)} {100 * _share_below(plane, middle):.0f} %" for plane in found]
    words = {
        "surface": f"Loss on the plane, lowest to highest: {'; '.join(rises)}.",
        "contours": f"Share of the plane with a loss below {number(middle)}, the middle of the scale: "
        f"{listed(shares)}.",
    }
    seen = {run.method: run.seed for run in reversed(runs) if run.array(PLANE, "loss") is not None}
    which = "the first seed of each method" if len(seen) > 1 else "one run"
    about = (
        f"The loss on a plane through the trained weights, {which}; the origin is the network itself. Both directions "
        "are random and filter-normalized, one scale of colors for all."
    )
    few = f" The first {MOST_SCENES} of {len(found)} methods." if len(found) > MOST_SCENES else ""
    return [
        Picture(
            f"surfaces-{kind}",
            title,
            f"{about} {how}",
            words[kind],
            tuple(_grid(kind, plane) for plane in found[:most]),
            png,
            colors,
        )
        for kind, title, how, png, most in (
            ("surface", "In three dimensions", f"Heights above the scale are cut.{few}", "surfaces_3d", MOST_SCENES),
            (
                "contours",
                "The same as contours",
                "The cross marks the trained weights; gaps are cells without a number.",
                "surfaces",
                None,
            ),
        )
    ]


def eigenvalues(runs: Sequence[Run]) -> Picture | None:
    """Return the largest eigenvalues by method: a dot per seed and index, its residual as error bar.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    values, residuals = (by_method(runs, EIGENVALUES, name) for name in ("values", "residuals"))
    if not values:
        return None
    order = in_order(list(values))
    series, means = [], []
    for name in order:
        points = [
            (float(index), float(value), float(value - error), float(value + error))
            for found, errors in zip(values[name], residuals.get(name, values[name]), strict=True)
            for index, (value, error) in enumerate(zip(found, errors, strict=True), start=1)
        ]
        series.append(Series(name, *(list(column) for column in zip(*points, strict=True))))
        means.append((method(name), float(np.mean([found[0] for found in values[name]]))))
    count = max(len(found) for arrays in values.values() for found in arrays)
    is_positive = all((np.asarray(found) > 0).all() for arrays in values.values() for found in arrays)
    panel = Panel(
        "dots",
        f"The {count} largest eigenvalues",
        "index",
        "eigenvalue",
        tuple(series),
        is_log=is_positive,
    )
    words = f"Largest eigenvalue, mean over seeds: {listed([f'{name} {number(value)}' for name, value in means])}."
    caption = (
        "Largest eigenvalues of the Hessian of the training loss, in loss per squared weight; a dot for each seed and "
        "index, error bars the residual: an eigenvalue lies within it."
    )
    return Picture("eigenvalues", "Top of the spectrum", caption, words, (panel,), "eigenvalues", legend=tuple(order))


def sharpness(runs: Sequence[Run]) -> Picture | None:
    """Return the sharpness by method, a panel for each kind that is stored.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    panels, told = [], []
    for key, title in SHARPNESS:
        values, errors = (
            {m: _numbers(a) for m, a in by_method(runs, key, name).items()} for name in ("value", "standard_error")
        )
        if not values:
            continue
        order = in_order(list(values))
        rho = {float(array) for arrays in by_method(runs, key, "rho").values() for array in arrays}
        at = f", ρ = {rho.pop():g}" if len(rho) == 1 else ""
        panels.append(_by_method(values, errors, f"{title.capitalize()}{at}", "rise of the loss"))
        told.append(f"{title} {listed([f'{method(name)} {number(float(values[name].mean()))}' for name in order])}")
    if not panels:
        return None
    names = {series.name for panel in panels for series in panel.series}
    caption = (
        "How much the loss rises within a radius of the weights (worst case) or under noise of that size (average "
        "case); a dot per seed, error bars the standard error of one measurement. Adaptive: relative to the size of "
        "each weight."
    )
    words = f"Means over seeds: {'; '.join(told)}."
    return Picture(
        "sharpness",
        "How far the loss rises nearby",
        caption,
        words,
        tuple(panels),
        "sharpness",
        legend=tuple(in_order(list(names))),
    )


def accuracy(runs: Sequence[Run]) -> Picture | None:
    """Return test accuracy by seed, with mean and interval of each method, or None for fewer than two runs.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    by_seed: dict[str, dict[int, float]] = {}
    for run in runs:
        value = run.array(SUMMARY, "test_accuracy")
        if value is not None and np.isfinite(value):
            by_seed.setdefault(run.method, {})[run.seed] = 100 * float(value)
    if sum(map(len, by_seed.values())) < 2:
        return None
    order = in_order(list(by_seed))
    seeds = sorted({seed for found in by_seed.values() for seed in found})
    paired = tuple(
        Series(name, [f"seed {seed}" for seed in seeds], [by_seed[name].get(s, math.nan) for s in seeds])
        for name in order
    )
    intervals = {name: mean_interval(list(by_seed[name].values())) for name in order}
    spread = [Series(name, [method(name)], [one.mean], [one.low], [one.high]) for name, one in intervals.items()]
    told = [
        f"{method(one.name)} {one.y[0]:.2f} %"
        + (f" ({one.low[0]:.2f} to {one.high[0]:.2f})" if len(by_seed[one.name]) > 1 else "")
        for one in spread
    ]
    panels = (
        Panel("dots", "By seed", "", "test accuracy [%]", paired),
        Panel("dots", "Mean and 95 % interval", "", "test accuracy [%]", tuple(spread)),
    )
    caption = (
        "Accuracy on the test set, which selected nothing. Runs of one seed share initialization and order of the "
        "data, so they are to be compared within a seed."
    )
    if any(one.is_cut for one in intervals.values()):
        caption += " Intervals are cut at 0 and 100 %, beyond which there is no accuracy."
    words = f"Mean over {counted(len(seeds), 'seed')}, 95 % interval in parentheses: {'; '.join(told)}."
    return Picture("accuracy", "Seed by seed", caption, words, panels, "accuracy", legend=tuple(order))


def _by_method(values: Mapping[str, Array], errors: Mapping[str, Array], title: str, label: str) -> Panel:
    series = []
    for name in in_order(list(values)):
        found = values[name]
        error = np.nan_to_num(errors.get(name, np.zeros(len(found))))
        series.append(
            Series(
                name, [method(name)] * len(found), found.tolist(), (found - error).tolist(), (found + error).tolist()
            )
        )
    everything = np.concatenate(list(values.values()))
    is_log = bool(len(everything)) and bool((everything[np.isfinite(everything)] > 0).all())
    return Panel("dots", title, "", label, tuple(series), is_log=is_log)


def _numbers(arrays: Sequence[Array]) -> Array:
    return np.array(arrays, dtype=float)


def _grid(kind: str, plane: Plane) -> Panel:
    # rows along the vertical axis: loss[i, j] lies at x[i], y[j]
    return Panel(
        kind,
        _title(plane),
        "direction 1",
        "direction 2",
        x=_short(plane.x),
        y=_short(plane.y),
        z=[_short(row) for row in plane.loss.T],
        z_label="loss",
    )


def _title(plane: Plane) -> str:
    return plane.title.replace("\n", ", ")


def _least(plane: Plane) -> float:
    return float(np.nanmin(plane.loss))


def _share_below(plane: Plane, middle: float) -> float:
    return float((plane.loss[np.isfinite(plane.loss)] < middle).mean())


def _short(values: Array) -> list[float]:
    """Return numbers with six digits, which no picture shows more of."""
    return [float(f"{value:.6g}") for value in np.asarray(values, dtype=float)]
