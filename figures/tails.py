"""Tails of gradient noise: how often projections exceed a size, raw and centralized, beside Gaussian noise.

Right when the curves are the shares of the stored numbers and the band holds Gaussian numbers as often as it says
(`tests/figures/test_tails.py`). Cost: about a second for a run of 1,000 gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.reading import Array, Run
from figures.style import KINDS, in_order, look, sizes
from figures.wrap import MANY, grid_shape, legend_above

TAILS = "noise/tails"
DRAWN = ("raw", "centralized")
GAUSSIAN = "Gaussian"
GRAY = "0.75"  # of the band
NAMES = {GAUSSIAN: GAUSSIAN, **{kind: KINDS[kind].label for kind in DRAWN}}  # in the order drawn
VALUE = ("value", "interval_low", "interval_high")
OF_GAUSSIAN = ("gaussian", "gaussian_low", "gaussian_high")
# Inches of a panel: under a legend that names the kinds, and under one with the exponents alone.
LEGEND_WIDTH = 3.2
SHORT_WIDTH = 1.7
DRAWS = 80  # Gaussian numbers of the size of the data; our choice: two of them lie beyond either end of the band
POINTS = 400  # of a curve, evenly on its logarithmic axis
LEAST = 0.1  # what is smaller says nothing about tails


def exceeded(projections: Array) -> Array:
    """Return |x| in standard deviations of each direction, of all directions, the largest first.

    Args:
        projections: Deviations from their mean, [..., direction, sample].

    Returns:
        [..., number]: the i-th of n, from 0, is exceeded by a share of i / n. A direction without spread gives 0.
    """
    scale = np.sqrt(np.mean(np.square(projections), axis=-1, keepdims=True))
    scaled = np.abs(projections) / np.where(scale > 0, scale, 1.0)
    return -np.sort(-scaled.reshape(*scaled.shape[:-2], -1))


def gaussian_band(projections: Array, seed: int = 0) -> tuple[Array, Array]:
    """Return between which sizes 95 % of draws of Gaussian numbers lie, number by number of `exceeded`.

    Args:
        projections: [direction, sample]; the draws have their size and their covariance between directions.
        seed: Of the draws.

    Returns:
        Lower and upper ends, [number] each.
    """
    count, n = projections.shape
    deviations = projections - projections.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(deviations @ deviations.T / n)
    root = vectors * np.sqrt(np.maximum(values, 0))
    draws = exceeded(root @ np.random.default_rng(seed).standard_normal((DRAWS, count, n)))
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    return low, high


def draw_tails(
    ax: Axes,
    curves: Sequence[tuple[str, str, Array]],
    band: tuple[Array, Array],
    gaussian: str = GAUSSIAN,
    title: str = "",
    *,
    is_short: bool = False,
) -> None:
    """Draw which share of numbers exceeds a size, both axes logarithmic.

    Args:
        ax: Where.
        curves: Kind ("raw", "centralized"), label, and numbers as from `exceeded`; only the first of a kind is named.
        band: As from `gaussian_band`.
        gaussian: Label of the band.
        title: Above the legend, which stands above the panel, where no curve can cross it.
        is_short: Whether the legend has short handles, for a narrow panel.
    """
    ranks = _thinned(len(band[0]))
    share = (ranks + 1) / len(band[0])
    ax.fill_betweenx(share, band[0][ranks], band[1][ranks], color=GRAY, linewidth=0.8, label=gaussian)
    named: set[str] = set()
    for kind, label, numbers in curves:
        ranks, style = _thinned(len(numbers)), KINDS[kind]
        ax.plot(
            numbers[ranks],
            (ranks + 1) / len(numbers),
            color=style.color,
            linestyle=style.line if kind == "raw" else "--",
            label="_" if kind in named else label,
        )
        named.add(kind)
    largest = max([band[1][0], *(numbers[0] for _, _, numbers in curves if len(numbers))])
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(LEAST, 1.5 * largest)
    ax.set_ylim(top=1.3)
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        handlelength=1.0 if is_short else 1.6,
        handletextpad=0.5 if is_short else 0.8,
        borderaxespad=0,
        borderpad=0.2 if is_short else 0.4,
        title=title,
        alignment="left",
    )


def figure_tails(runs: Sequence[Run]) -> Figure | None:
    """Return the tails of all methods, a panel each and a curve for each seed, or None if no run holds any.

    The exponent in the legend is Hill's, the slope of the curve at its end, with its interval, and for Gaussian noise
    the mean and range over draws; of several seeds the least and the largest. The band is that of the first seed. Where
    panels are narrow, one legend above them names the kinds, and that of each panel has the exponents alone.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    holding = [run for run in runs if _projections(run, "raw") is not None]
    methods = in_order([run.method for run in holding])
    if not methods:
        return None
    wide, narrow = sizes().wide, sizes().narrow
    is_short = len(methods) >= MANY or (len(methods) > 1 and wide < 2 * LEGEND_WIDTH)
    rows, columns = grid_shape(len(methods), int(wide / SHORT_WIDTH) if is_short else min(2, len(methods)))
    figure = Figure(figsize=(wide if columns > 1 else narrow, (2.3 if is_short else 3.0) * rows))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.ravel()[len(methods) :]:
        ax.remove()
    for ax, method in zip(axes.ravel(), methods, strict=False):
        chosen = [run for run in holding if run.method == method]
        exponents = {kind: _exponent(chosen, kind, is_short=is_short) for kind in DRAWN}
        exponents[GAUSSIAN] = _exponent(chosen, "raw", OF_GAUSSIAN, is_short=is_short)
        named = {kind: text if is_short else f"{NAMES[kind]}: {text}" for kind, text in exponents.items()}
        curves = [
            (kind, named[kind], exceeded(found))
            for kind in DRAWN
            for run in chosen
            if (found := _projections(run, kind)) is not None
        ]
        first = _projections(chosen[0], "raw")
        band = gaussian_band(first)  # type: ignore[arg-type]
        draw_tails(ax, curves, band, named[GAUSSIAN], look(method).label, is_short=is_short)
    for ax in axes[:, 0]:
        ax.set_ylabel("share of larger projections")
    for ax in axes.ravel()[len(methods) - columns : len(methods)]:
        ax.set_xlabel(r"$|\langle e_i, u\rangle|$" + ("\n" if is_short else " ") + "[standard deviations]")
        ax.tick_params(labelbottom=True)
    if is_short:
        handles = max((ax.get_legend_handles_labels()[0] for ax in figure.axes), key=len)
        legend_above(figure, handles, list(NAMES.values())[: len(handles)])
    return figure


def _projections(run: Run, kind: str) -> Array | None:
    """Return [direction, sample], or None where there are none or not all are finite numbers."""
    found = run.array(TAILS, f"{kind}/total/projections")
    return found if found is not None and found.size and np.isfinite(found).all() and found.any() else None


def _exponent(runs: Sequence[Run], kind: str, names: Sequence[str] = VALUE, *, is_short: bool) -> str:
    """Return the text of a legend: alpha with its interval, or its range over seeds."""
    keys = [f"{kind}/total/projection_hill/{name}" for name in names]
    found = [[float(array) for key in keys if (array := run.array(TAILS, key)) is not None] for run in runs]
    numbers = [row for row in found if len(row) == 3 and all(map(math.isfinite, row))]
    if not numbers:
        return r"no $\alpha$"
    if len(numbers) == 1:
        value, low, high = numbers[0]
        return rf"$\alpha$ = {value:.2f} [{low:.2f}, {high:.2f}]"
    values = [row[0] for row in numbers]
    return rf"$\alpha$ = {min(values):.2f} to {max(values):.2f}" + ("" if is_short else f", {len(values)} seeds")


def _thinned(count: int) -> Array:
    """Return ranks from 0 to count - 1, evenly on a logarithmic axis."""
    return np.unique(np.geomspace(1, max(count, 1), POINTS).round().astype(np.int64)) - 1 if count else np.arange(0)
