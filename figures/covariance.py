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
from figures.wrap import broken, grid_shape, hide_empty, parts_of, share_rows

COVARIANCE = "noise/covariance"
MOST_NUMBERS = 8  # boxes side by side; more leave no room for a number in each
# Inches: height of a block, one of several; width that panels leave to the bar and the labels at the left.
BLOCK_HEIGHT = 4.4
BESIDE = 1.4


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


def draw_cosines(ax: Axes, cosines: Array, most: int = MOST_NUMBERS) -> AxesImage:
    """Draw |<u, v>| of every pair of eigenvectors as a box with its number; a missing one is left white.

    Args:
        ax: Where.
        cosines: [K, K]: row i is u_i of Sigma, column j is v_j of H.
        most: Boxes side by side that have room for their numbers.

    Returns:
        The boxes, for a colour bar.
    """
    rows, columns = cosines.shape
    image = ax.imshow(cosines, cmap=SURFACE_COLORS, vmin=0, vmax=1, aspect="equal")
    if max(rows, columns) <= most:
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
    down, across = grid_shape(len(methods))
    width = sizes().wide if len(methods) > 1 else sizes().narrow
    figure = Figure(figsize=(width, 5.4 if down == 1 else BLOCK_HEIGHT * down))
    parts = parts_of(figure, down)
    blocks = [part.subplots(3, across, squeeze=False, height_ratios=(1, 1.25, 0.8)) for part in parts]
    share_rows(blocks)
    room = (width - BESIDE) / across
    # a number is 1.6 times as wide as its text is high; between panels there is a tenth of the room
    most = min(MOST_NUMBERS, int(0.9 * room / (1.1 * 1.6 * (sizes().small - 1) / 72)))
    for (top, middle, bottom), method in zip((column for axes in blocks for column in axes.T), methods, strict=False):
        chosen = [run for run in holding if run.method == method]
        top.set_title(broken(look(method).label, room - 0.1))
        draw_shares(
            top,
            _collected(chosen, "raw/values") / _collected(chosen, "raw/trace")[:, None],
            _collected(chosen, "hessian_values") / _collected(chosen, "hessian_trace")[:, None],
        )
        image = draw_cosines(middle, _collected(chosen, "raw/cosines").mean(0), most)
        overlap = _collected(chosen, "raw/overlap").mean()
        known = f"overlap {overlap:.2f}" if np.isfinite(overlap) else "overlap unknown"
        middle.set_xlabel(
            f"{broken('eigenvectors of $H$', room - 0.1)}\n{known}" if down == 1 else broken(known, room - 0.1)
        )
        draw_alignment(bottom, {kind: _mean(chosen, f"{kind}/alignment") for kind in KINDS})
    hide_empty(blocks)
    for part, axes in zip(parts, blocks, strict=True):
        axes[0, 0].set_ylabel("part of the trace")
        axes[1, 0].set_ylabel(r"eigenvectors of $\Sigma$" + (",\nacross: of $H$" if down > 1 else ""))
        axes[2, 0].set_ylabel("alignment\n(1 if isotropic)")
        part.colorbar(image, ax=list(axes[1]), shrink=0.9, panchor=False, label=r"$|\langle u_i, v_j \rangle|$")
    first = blocks[0]
    parts[0].legend(*first[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    parts[-1].legend(*first[2, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, columnspacing=1.0)
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
