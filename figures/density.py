"""Spectral density of the Hessian by method: the share of eigenvalues per unit of eigenvalue, logarithmic upward.

The stored nodes and weights are smoothed here, with one Gaussian for all methods, so that heights can be compared; an
axis of eigenvalues stays linear, because a kernel of one width has one width nowhere else. Right when a curve is that
of `analysis.SpectralDensity.density` at the same width, and has integral 1 (`tests/figures/test_density.py`).
Cost: milliseconds.

References: Ghorbani, Krishnan, Xiao, ICML 2019, arXiv 1901.10159, who draw the same axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.reading import Array, Run
from figures.style import in_order, look, sizes

DENSITY = "curvature/density"
WIDTH = 0.01  # of the kernel, in units of the range of all nodes, as in `analysis.SpectralDensity.density`
REACH = 6  # widths that are drawn beyond the outermost nodes; our choice: the bulk of 10^7 weights has ended there
PER_WIDTH = 5  # points of a curve; our choice: lines between them miss a kernel by 0.5 % of its height
FLOOR = 0.1  # of the height of a single eigenvalue, below which nothing is drawn; our choice


@dataclass(frozen=True)
class Densities:
    """Smoothed densities on one grid.

    Attributes:
        grid: Eigenvalues, [G].
        width: Standard deviation of the Gaussian kernel, of all methods, in the unit of the eigenvalues.
        curves: Method to its densities, means over probes, [seed, G].
        negative: Method to the share of its eigenvalues below minus one width, mean over probes and seeds. Nearer to
            zero no share has a sign: a node stands for all eigenvalues around it.
        least: Method to its least node, mean over seeds.
        largest: Method to its largest node, likewise.
        num_parameters: D; of networks that differ the largest.
        num_left_out: Runs with nodes that are not all finite, or all zero.
    """

    grid: Array
    width: float
    curves: Mapping[str, Array]
    negative: Mapping[str, float]
    least: Mapping[str, float]
    largest: Mapping[str, float]
    num_parameters: int
    num_left_out: int

    @property
    def zero(self) -> Array:
        """Curve of a Hessian of zeros, [G]: whatever a curve shows inside of it is the kernel."""
        return smoothed(np.zeros((1, 1)), np.ones((1, 1)), self.grid, self.width)

    @property
    def single(self) -> float:
        """Height of one eigenvalue of D that stands alone."""
        return 1 / (self.num_parameters * self.width * math.sqrt(2 * math.pi))

    @property
    def floor(self) -> float:
        """Where the axis ends."""
        return FLOOR * self.single

    @property
    def foot(self) -> float:
        """Eigenvalue at which the curve of zeros falls to the floor."""
        return self.width * math.sqrt(2 * math.log(self.num_parameters / FLOOR))


def smoothed(nodes: Array, weights: Array, grid: Array, width: float) -> Array:
    """Return quadrature rules as densities.

    Args:
        nodes: Of each probe, [R, M].
        weights: Of the nodes, sum 1 for each probe.
        grid: Eigenvalues, [G].
        width: Standard deviation of the Gaussian kernel, > 0.

    Returns:
        Mean over probes, [G]: share of eigenvalues per unit of eigenvalue.
    """
    total = np.zeros(len(grid))
    for node, weight in zip(nodes.ravel(), weights.ravel(), strict=True):
        total += weight * np.exp(-np.square((grid - node) / width) / 2)
    return np.asarray(total / (len(nodes) * width * math.sqrt(2 * math.pi)))


def densities(runs: Sequence[Run]) -> Densities | None:
    """Return the densities of all methods, or None where no run holds one that can be drawn.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    rules: dict[str, list[tuple[Array, Array]]] = {}
    num_parameters = num_left_out = 0
    for run in runs:
        nodes, weights = run.array(DENSITY, "nodes"), run.array(DENSITY, "weights")
        count = run.array(DENSITY, "num_parameters")
        if nodes is None or weights is None or count is None:
            continue
        if not (np.isfinite(nodes).all() and np.isfinite(weights).all() and nodes.any()):
            num_left_out += 1
            continue
        rules.setdefault(run.method, []).append((nodes, weights))
        num_parameters = max(num_parameters, int(count))
    if not rules:
        return None
    rules = {name: rules[name] for name in in_order([*rules])}
    everything = np.concatenate([nodes.ravel() for found in rules.values() for nodes, _ in found])
    low, high = float(everything.min()), float(everything.max())
    width = WIDTH * max(high - low, 1e-3 * max(abs(low), abs(high)))
    points = round(PER_WIDTH * ((high - low) / width + 2 * REACH)) + 1
    grid = np.linspace(low - REACH * width, high + REACH * width, points)
    return Densities(
        grid=grid,
        width=width,
        curves={name: np.array([smoothed(*rule, grid, width) for rule in found]) for name, found in rules.items()},
        negative=_means(rules, lambda nodes, weights: float((weights * (nodes < -width)).sum(1).mean())),
        least=_means(rules, lambda nodes, _: float(nodes.min())),
        largest=_means(rules, lambda nodes, _: float(nodes.max())),
        num_parameters=num_parameters,
        num_left_out=num_left_out,
    )


def draw_density(ax: Axes, found: Densities) -> list[Line2D]:
    """Draw a curve for each method, with the range of its seeds.

    Args:
        ax: Where.
        found: As from `densities`.

    Returns:
        The lines of the methods, for a legend.
    """
    lines: list[Line2D] = []
    ax.axvline(0, color="0.75", linewidth=0.8, zorder=0)
    single = ax.axhline(found.single, color="0.5", linewidth=0.8, linestyle=":", zorder=0, label="one eigenvalue")
    below = np.full(len(found.grid), found.floor / 10)  # outside the panel, where a logarithmic axis has no zero
    zero = ax.fill_between(found.grid, below, np.maximum(found.zero, below), color="0.9", linewidth=0, zorder=0)
    zero.set_label("all eigenvalues at zero")
    for name, curves in found.curves.items():
        style, shown = look(name), np.maximum(curves, below)
        if len(curves) > 1:
            ax.fill_between(found.grid, shown.min(0), shown.max(0), color=style.color, alpha=0.2, linewidth=0)
        mean = np.maximum(curves.mean(0), below)
        lines += ax.plot(found.grid, mean, color=style.color, linestyle=style.line, label=style.label)
    ax.set_yscale("log")
    ax.set_ylim(found.floor, 3 * max(curves.max() for curves in found.curves.values()))
    ax.set_xlim(found.grid[0], found.grid[-1])
    title = f"Gaussian kernel of width {found.width:.2g}"
    is_right = found.grid[0] + found.grid[-1] > 0  # away from the bulk
    place: Literal["upper right", "upper left"] = "upper right" if is_right else "upper left"
    ax.legend(handles=[single, zero], loc=place, title=title, alignment="left")
    ax.set_xlabel("Hessian eigenvalue [loss per squared weight]")
    ax.set_ylabel("share of eigenvalues per unit")
    return lines


def figure_density(runs: Sequence[Run]) -> Figure | None:
    """Return the spectral densities of all runs, or None if no run holds any.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = densities(runs)
    if found is None:
        return None
    figure = Figure(figsize=(sizes().wide, 2.8))
    figure.legend(handles=draw_density(figure.subplots(), found), loc="outside upper center", ncols=4, handlelength=2.4)
    return figure


def _means(rules: Mapping[str, list[tuple[Array, Array]]], of: Callable[[Array, Array], float]) -> dict[str, float]:
    """Return the mean over seeds of a number of nodes and weights, by method."""
    return {name: float(np.mean([of(*rule) for rule in found])) for name, found in rules.items()}
