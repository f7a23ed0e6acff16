"""Pictures of what goes on during training, and of gradient noise by layer: curves with bands, and heat maps.

Each function returns None where no run holds the measurement. Right when every point is the mean over the seeds that
have it, and the band their range (`tests/figures/report/test_sections.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from figures.noise import NOISE
from figures.noise_training import MOST, stored_course
from figures.ratio import short_names, stored_ratios
from figures.reading import Array, Run, by_method, stacked
from figures.report.content import ColorScale, Panel, Picture, Series
from figures.report.wording import listed, method, number
from figures.style import in_order
from figures.training import HISTORY, PANELS

RATIO = "centralized_to_raw"
Q = "q = ‖Pg‖ / ‖g‖"
OPEN = "Gray cells are open: the signal there is not told from zero."


def training(runs: Sequence[Run]) -> Picture | None:
    """Return the training curves, means over seeds with the range of the seeds as band.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    panels, told = [], []
    for name, title, factor in PANELS:
        found = {m: factor * stacked(arrays) for m, arrays in by_method(runs, HISTORY, name).items()}
        found = {m: values for m, values in found.items() if np.isfinite(values).any()}
        if not found:
            continue
        order = in_order(list(found))
        series = tuple(_band(m, found[m]) for m in order)
        lowest = min(float(np.nanmin(values)) for values in found.values())
        plain = Q if "$" in title else title
        panels.append(
            Panel(
                "lines",
                _first(plain),
                "epoch",
                "%" if "[%]" in plain else "",
                series,
                is_log=name == "train_loss" and lowest > 0,
            )
        )
        ends = [f"{method(one.name)} {number(_last(one.y))}" for one in series]
        told.append(f"{plain} {listed(ends)}")
    if not panels:
        return None
    names = {series.name for panel in panels for series in panel.series}
    caption = "Mean over seeds at each epoch; the band is from the lowest to the highest seed."
    words = f"At the last epoch: {'; '.join(told)}."
    return Picture(
        "training", "Training curves", caption, words, tuple(panels), "training", legend=tuple(in_order(list(names)))
    )


def ascent_ratio(runs: Sequence[Run]) -> Picture | None:
    """Return q by layer over training, a heat map for each method.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = stored_ratios(runs)
    if not found:
        return None
    panels = tuple(
        Panel(
            "heat",
            one.title,
            one.coordinate,
            "layer",
            x=one.places.tolist(),
            y=short_names(one.layers),
            z=one.values.T.tolist(),
            z_label="q",
        )
        for one in found
    )
    lowest = min(float(np.nanmin(one.values)) for one in found)
    told = [f"{one.title} {number(float(np.nanmean(one.values)))}" for one in found]
    caption = (
        "q = ‖Pg‖ / ‖g‖ by layer over training, mean over seeds. Where q is 1 centralization changes nothing, and "
        "GCSAM is SAM."
    )
    scale = ColorScale(Q, lowest, 1.0)
    words = f"q, mean over layers and training: {listed(told)}."
    return Picture(
        "ascent-ratio", "What centralization keeps of the gradient", caption, words, panels, "ascent_ratio", scale
    )


def noise(runs: Sequence[Run]) -> list[Picture]:
    """Return relative noise of centralized gradients over that of raw ones: by layer and method, and over training.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    return [picture for picture in (_noise_by_method(runs), _noise_over_training(runs)) if picture is not None]


def _noise_by_method(runs: Sequence[Run]) -> Picture | None:
    layers: list[str] = []
    found: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        names, ratio, high = (
            run.array(NOISE, "layers"),
            run.array(NOISE, f"{RATIO}/ratio"),
            run.array(NOISE, f"{RATIO}/high"),
        )
        if names is None or ratio is None or high is None:
            continue
        layers += [str(name) for name in names if str(name) not in layers]
        ends = [*ratio.tolist(), _scalar(run, "ratio")], [*high.tolist(), _scalar(run, "high")]
        cells = {str(n): r if math.isfinite(h) else math.nan for n, r, h in zip([*names, "all"], *ends, strict=True)}
        found.setdefault(run.method, []).append(cells)
    order = in_order(list(found))
    if not order:
        return None
    rows = [*layers, "all"]
    z = [[_mean([cells.get(layer, math.nan) for cells in found[name]]) for name in order] for layer in rows]
    panel = Panel(
        "heat",
        "By layer, at the trained weights",
        "method",
        "layer",
        x=[method(m) for m in order],
        y=rows,
        z=z,
        z_label="ratio",
    )
    closed = sum(math.isfinite(value) for row in z for value in row)
    total = [f"{method(m)} {number(v) if math.isfinite(v) else 'open'}" for m, v in zip(order, z[-1], strict=True)]
    caption = (
        "Relative gradient noise (trace of the covariance over the squared mean gradient) of centralized gradients in "
        f"units of that of raw ones; below 1 centralization makes the gradient less noisy. Geometric mean over "
        f"seeds. {OPEN}"
    )
    words = f"{closed} of {len(rows) * len(order)} cells have a number. Over all layers: {listed(total)}."
    return Picture("noise", "Centralized over raw, at the end", caption, words, (panel,), "noise", _diverging())


def _noise_over_training(runs: Sequence[Run]) -> Picture | None:
    course = next((found for found in map(stored_course, runs) if found is not None), None)
    if course is None or not len(course.layers):
        return None
    panel = Panel(
        "heat",
        "By layer, over training",
        course.unit,
        "layer",
        x=[str(time) for time in course.time],
        y=list(course.layers),
        z=course.by_layer.T.tolist(),
        z_label="ratio",
    )
    caption = f"The same ratio at kept checkpoints of the first run that was measured there. {OPEN}"
    told = [
        f"{course.unit} {t} {number(float(r))}"
        for t, r in zip(course.time, course.relative[0], strict=True)
        if np.isfinite(r)
    ]
    words = f"Over all layers: {listed(told)}." if told else "Over all layers the ratio is open at every checkpoint."
    return Picture(
        "noise-training",
        "Centralized over raw, over training",
        caption,
        words,
        (panel,),
        "noise_training",
        _diverging(),
    )


def _diverging() -> ColorScale:
    return ColorScale("relative noise, centralized over raw", 1 / MOST, MOST, is_log=True, colors="diverging")


def _scalar(run: Run, name: str) -> float:
    value = run.array(NOISE, f"{RATIO}/total/{name}")
    return math.nan if value is None else float(value)


def _mean(values: Sequence[float]) -> float:
    """Return the geometric mean of the ratios that are closed; that of their inverses is its inverse."""
    closed = [math.log(value) for value in values if math.isfinite(value) and value > 0]
    return math.exp(math.fsum(closed) / len(closed)) if closed else math.nan


def _band(name: str, values: Array) -> Series:
    """Return mean and range over seeds of [seed, epoch]; an epoch no seed has is NaN."""
    columns = [column[np.isfinite(column)] for column in values.T]
    ends = [(c.mean(), c.min(), c.max()) if len(c) else (math.nan,) * 3 for c in columns]
    mean, low, high = ([float(f"{value:.6g}") for value in column] for column in zip(*ends, strict=True))
    epochs = [float(epoch) for epoch in range(1, values.shape[1] + 1)]
    return Series(name, epochs, mean, low, high) if len(values) > 1 else Series(name, epochs, mean)


def _last(values: Sequence[float]) -> float:
    return next((value for value in reversed(values) if math.isfinite(value)), math.nan)


def _first(text: str) -> str:
    text = text.split(" [")[0]
    return text if text == Q else text.capitalize()
