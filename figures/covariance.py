"""The gradient noise beside the curvature: both spectra, the angles between them, and how far P turns them apart.

Right when each method has its own column, bars and boxes hold the stored numbers averaged over seeds, and what is
missing leaves a gap (`tests/figures/test_covariance.py`). Cost: none beside drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from figures.reading import Array, Run
from figures.style import KINDS, SURFACE_COLORS, in_order, look, readable_log_ticks, sizes

COVARIANCE = "noise/covariance"


def draw_shares(ax: Axes, noise: Array, curvature: Array) -> None:
    """Draw two spectra as parts of their traces, which have no unit: means as lines, single seeds as dots.

    Args:
        ax: Where.
        noise: Eigenvalues of Sigma over tr(Sigma), [seed, K], the largest first.
        curvature: Eigenvalues of H over tr(H), [seed, K].
    """
    lines = ((noise, r"noise $\Sigma$", "#000000", "o", "-"), (curvature, "Hessian $H$", "#0072B2", "s", "--"))
    for shares, label, color, marker, line in lines:
        positive = np.where(shares > 0, shares, np.nan)
        index = np.arange(1, positive.shape[1] + 1)
        count = np.isfinite(positive).sum(0)
        mean = np.where(count > 0, np.nansum(positive, 0) / np.maximum(count, 1), np.nan)
        ax.plot(index, mean, line, color=color, marker=marker, markersize=3, label=label)
        if len(positive) > 1:
            for row in positive:
                ax.plot(index, row, marker, color=color, markersize=1.5, alpha=0.5)
    ax.set_yscale("log")
    readable_log_ticks(ax.yaxis)
    ax.set_xticks(range(1, noise.shape[1] + 1), [rf"$\lambda_{{{i}}}$" for i in range(1, noise.shape[1] + 1)])


def draw_cosines(ax: Axes, cosines: Array) -> AxesImage:
    """Draw |<u, v>| of every pair of eigenvectors as a box with its number; a missing one is left white.

    Args:
        ax: Where.
        cosines: [K, K]: row i is u_i of Sigma, column j is v_j of H.

    Returns:
        The boxes, for a colour bar.
    """
    rows, columns = cosines.shape
    image = ax.imshow(cosines, cmap=SURFACE_COLORS, vmin=0, vmax=1, aspect="equal")
    if max(rows, columns) <= 8:  # more boxes leave no room for a number
        for i, j in np.argwhere(np.isfinite(cosines)):
            value = cosines[i, j]
            ink = "black" if value > 0.6 else "white"
            ax.text(j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=sizes().small - 1, color=ink)
    ax.set_xticks(range(columns), [rf"$v_{{{j}}}$" for j in range(1, columns + 1)])
    ax.set_yticks(range(rows), [rf"$u_{{{i}}}$" for i in range(1, rows + 1)])
    ax.tick_params(length=0)
    ax.set_anchor("C")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def draw_alignment(ax: Axes, bars: Mapping[str, tuple[float, float]]) -> None:
    """Draw one bar for each kind of noise; what is not a number leaves a gap.

    Args:
        ax: Where.
        bars: Kind ("raw", "centralized", "control") to value and standard error.
    """
    for place, (kind, (value, error)) in enumerate(bars.items()):
        if np.isfinite(value):
            spread = error if np.isfinite(error) else 0.0
            ax.bar(
                place,
                value,
                0.8,
                yerr=spread,
                color=KINDS[kind].color,
                alpha=0.75,
                label=KINDS[kind].label,
                error_kw={"elinewidth": 0.7, "capsize": 1.5},
            )
    ax.set_xlim(-0.6, len(bars) - 0.4)
    ax.set_xticks([])


def figure_covariance(runs: Sequence[Run]) -> Figure | None:
    """Return spectra, cosines and alignment of all methods, means over seeds, or None if no run holds any.

    Error bars of the alignment are the standard errors of the single measurements, combined; not the spread over seeds.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    holding = [run for run in runs if _has_noise(run)]
    methods = in_order([run.method for run in holding])
    if not methods:
        return None
    figure = Figure(figsize=(sizes().wide if len(methods) > 1 else sizes().narrow, 5.4))
    axes = figure.subplots(3, len(methods), squeeze=False, gridspec_kw={"height_ratios": (1, 1.25, 0.8)}, sharey="row")
    image = None
    for column, method in enumerate(methods):
        chosen = [run for run in holding if run.method == method]
        top, middle, bottom = axes[:, column]
        top.set_title(look(method).label)
        draw_shares(
            top,
            _collected(chosen, "raw/values") / _collected(chosen, "raw/trace")[:, None],
            _collected(chosen, "hessian_values") / _collected(chosen, "hessian_trace")[:, None],
        )
        image = draw_cosines(middle, _collected(chosen, "raw/cosines").mean(0))
        overlap = _collected(chosen, "raw/overlap").mean()
        known = f"overlap {overlap:.2f}" if np.isfinite(overlap) else "overlap unknown"
        middle.set_xlabel(f"eigenvectors of $H$\n{known}")
        draw_alignment(bottom, {kind: _mean(chosen, f"{kind}/alignment") for kind in KINDS})
    axes[0, 0].set_ylabel("part of the trace")
    axes[1, 0].set_ylabel(r"eigenvectors of $\Sigma$")
    axes[2, 0].set_ylabel("alignment\n(1 if isotropic)")
    assert image is not None
    figure.colorbar(image, ax=list(axes[1]), shrink=0.9, panchor=False, label=r"$|\langle u_i, v_j \rangle|$")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.legend(*axes[2, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, columnspacing=1.0)
    return figure


def _has_noise(run: Run) -> bool:
    values = run.array(COVARIANCE, "raw/values")
    return values is not None and bool((values > 0).any())


def _collected(runs: Sequence[Run], name: str) -> Array:
    """Return a variable of each run, [seed, ...], cut to the least number of pairs that any of them has."""
    arrays = [np.asarray(run.array(COVARIANCE, name), dtype=float) for run in runs]
    shape = np.min([array.shape for array in arrays], axis=0).astype(int)
    return np.stack([array[tuple(slice(size) for size in shape)] for array in arrays])


def _mean(runs: Sequence[Run], name: str) -> tuple[float, float]:
    errors = _collected(runs, f"{name}_standard_error")
    return float(_collected(runs, name).mean()), float(np.sqrt(np.square(errors).sum()) / len(errors))
