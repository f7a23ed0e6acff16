"""Pictures of runs under other conditions: grids of rho and label noise, corrupted images, a drifting stream.

Each function returns None where the files hold none. Right when every point is the mean over the seeds and the band
their range (`tests/figures/report/test_conditions.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from figures.drift import stored_stream
from figures.reading import Array, Run
from figures.report.content import Panel, Picture, Series
from figures.report.wording import counted, listed, method, number
from figures.robustness import stored_robustness
from figures.style import in_order
from figures.sweeps import PANELS as SWEEPS

SETTINGS = {
    "training/sweep_lr": ("Over the learning rate", "learning rate"),
    "training/sweep_rho": ("Over the radius rho", "rho of the ascent"),
    "training/sweep_label_noise": ("Over label noise", "share of wrong training labels"),
}


def sweeps(study: Run | None) -> Picture | None:
    """Return test accuracy over the grids of a study.

    Args:
        study: Its file, if there is one.
    """
    panels, told, lost = [], [], 0
    for key in (panel.key for panel in SWEEPS):
        names = ("value", "method", "test_accuracy")
        values, methods, accuracy = (None if study is None else study.array(key, name) for name in names)
        if values is None or methods is None or accuracy is None:
            continue
        title, x_label = SETTINGS[key]
        curves = {str(name): 100 * accuracy[i] for i, name in enumerate(methods)}  # [seed, value]
        lost += int((~np.isfinite(accuracy)).sum())
        series = _means(curves, [f"{value:g}" for value in values])
        panels.append(Panel("lines", title, x_label, "test accuracy [%]", series))
        told += [f"{title.lower()} {listed([f'{method(one.name)} {_span(one)}' for one in series])}"]
    if not panels:
        return None
    caption = "Mean over seeds at each value of the grid; the band is from the lowest to the highest seed."
    if lost:
        caption += (
            f" {counted(lost, 'run')} diverged: where one did there is no mean, since the others alone would flatter."
        )
    words = f"From the worst to the best value of the grid: {'; '.join(told)}."
    return Picture(
        "sweeps", "Test accuracy over grids", caption, words, tuple(panels), "sweeps", legend=_legend(panels)
    )


def robustness(runs: Sequence[Run]) -> Picture | None:
    """Return test accuracy on corrupted images, by severity and by kind.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = stored_robustness(runs)
    if found is None:
        return None
    severity = [f"{value:g}" for value in found.severity]
    over_severity = {name: accuracy.mean(1) for name, accuracy in found.accuracy.items()}
    over_kinds = {name: accuracy[:, :, 1:].mean(2) for name, accuracy in found.accuracy.items()}
    kinds = [kind.replace("_", " ") for kind in found.kinds]
    panels = (
        Panel("lines", "Over the severity", "severity, 0: clean", "test accuracy [%]", _means(over_severity, severity)),
        Panel("dots", "By kind", "corruption", "test accuracy [%]", _means(over_kinds, kinds)),
    )
    told = [f"{method(name)} {number(float(values[:, 1:].mean()))} %" for name, values in over_severity.items()]
    caption = (
        "Test images are corrupted, the networks are not trained for it. Mean over seeds, with their range; on the "
        "left also over the kinds of corruption, on the right over the severities above 0."
    )
    words = f"Mean over kinds, severities and seeds: {listed(told)}."
    return Picture("robustness", "Corrupted test images", caption, words, panels, "robustness", legend=_legend(panels))


def drift(runs: Sequence[Run]) -> Picture | None:
    """Return accuracy hour by hour on a stream that drifts.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    titles = {
        "online_accuracy": "Online: each batch before it is trained on",
        "current_accuracy": "Now: validation images after the hour",
    }
    found = {name: stored_stream(runs, name) for name in titles}
    if not found["online_accuracy"]:
        return None
    panels = []
    for name, title in titles.items():
        curves = {one: 100 * values for one, values in found[name].items()}
        hours = [str(hour + 1) for hour in range(max(values.shape[1] for values in curves.values()))]
        panels.append(Panel("lines", title, "hour of the stream", "accuracy [%]", _means(curves, hours)))
    told = [f"{method(n)} {number(100 * float(np.nanmean(v)))} %" for n, v in found["online_accuracy"].items()]
    caption = "The images change a little more every hour. Mean over seeds, with their range."
    words = f"Online accuracy, mean over hours and seeds: {listed(told)}."
    return Picture("drift", "Accuracy over time", caption, words, tuple(panels), "drift", legend=_legend(panels))


def _means(curves: Mapping[str, Array], x: Sequence[str]) -> tuple[Series, ...]:
    """Return mean and range over seeds of [seed, x] by method; where a seed is missing there is none."""
    found = []
    for name in in_order(list(curves)):
        mean, low, high = (
            [float(f"{value:.6g}") for value in reduced] for reduced in (of(curves[name], 0) for of in _STATISTICS)
        )
        ends = (low, high) if len(curves[name]) > 1 else ((), ())
        found.append(Series(name, list(x)[: len(mean)], mean, *ends))
    return tuple(found)


_STATISTICS = (np.mean, np.min, np.max)


def _legend(panels: Sequence[Panel]) -> tuple[str, ...]:
    return tuple(in_order(list(dict.fromkeys(series.name for panel in panels for series in panel.series))))


def _span(series: Series) -> str:
    values = [value for value in series.y if np.isfinite(value)]
    return f"{number(min(values))} to {number(max(values))} %" if values else "nothing"
