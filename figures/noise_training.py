"""What centralization does to the noise as training goes on: how much it keeps, relative noise, and by layer.

Read from the measurements at kept checkpoints (`landscape noise RUN --over-training`). Right when every point and cell
is that of its checkpoint and layer, and cells whose interval is open are grey
(`tests/figures/test_noise_training.py`). Cost: about a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from figures.reading import Array, Run
from figures.style import KINDS, look, sizes

PREFIX = "noise/gradient_noise_"
COLORS = "RdBu_r"  # white where P changes nothing, red where relative noise is higher
OPEN, UNKNOWN = "signal not told from 0", "#CCCCCC"
# A ratio beyond this has the colour of it: beside a signal that P takes away whole, all others would be white.
MOST = 4.0
TO_RAW = "centralized_to_raw"


@dataclass(frozen=True)
class Course:
    """Noise over training.

    Attributes:
        unit: "epoch" or "step".
        time: Of each checkpoint, [C].
        layers: Names of those that P touches, [L].
        noise_kept: By P, of all weights, [C].
        signal_kept: NaN where the signal is not two standard errors above 0, [C].
        relative: Relative noise of P g in units of that of g, all weights: ratio, low, high, [3, C]; NaN where open.
        control: Ratio of the random projection, [C]; NaN where the signal is not clear.
        by_layer: The ratio of each layer, [C, L]; NaN where open.
    """

    unit: str
    time: Array
    layers: tuple[str, ...]
    noise_kept: Array
    signal_kept: Array
    relative: Array
    control: Array
    by_layer: Array


def stored_course(run: Run) -> Course | None:
    """Return the noise over a run's training, or None where fewer than two checkpoints were measured.

    Args:
        run: The result file.
    """
    keys = sorted(key for key in run.measurements if key.startswith(PREFIX))
    if len(keys) < 2:
        return None
    unit = keys[0].removeprefix(PREFIX).partition("-")[0]

    def column(name: str) -> Array:
        return np.array([run.array(key, name) for key in keys], dtype=float)

    raw, signal = column("raw/trace"), column("raw/total/signal")
    kept = column("centralized/trace") / np.where(raw > 0, raw, np.nan)
    is_touched = np.nanmin(kept, axis=0) < 1 - 1e-6
    is_clear = signal > 2 * column("raw/total/signal_standard_error")
    relative = np.stack([column(f"{TO_RAW}/total/{name}") for name in ("ratio", "low", "high")])
    by_layer = np.where(np.isfinite(column(f"{TO_RAW}/high")), column(f"{TO_RAW}/ratio"), np.nan)
    names = [str(name) for name in run.array(keys[0], "layers")]  # type: ignore[union-attr]
    return Course(
        unit,
        np.array([int(key.rpartition("-")[2]) for key in keys]),
        tuple(np.array(names)[is_touched]),
        column("centralized/total/trace") / column("raw/total/trace"),
        np.where(is_clear, column("centralized/total/signal") / signal, np.nan),
        np.where(np.isfinite(relative[2]), relative, np.nan),
        np.where(is_clear, column("control_to_raw/total/ratio"), np.nan),
        by_layer[:, is_touched],
    )


def draw_kept(ax: Axes, course: Course) -> None:
    """Draw the shares of noise and signal that P keeps.

    Args:
        ax: Where.
        course: What.
    """
    ax.plot(course.time, course.noise_kept, color=KINDS["raw"].color, marker="o", label="of the noise")
    ax.plot(course.time, course.signal_kept, color=KINDS["centralized"].color, marker="D", label="of the signal")
    ax.set_ylim(0, 1)
    ax.set_ylabel("share that P keeps")
    ax.legend()


def draw_relative(ax: Axes, course: Course) -> None:
    """Draw relative noise after a projection in units of that before, P with its interval beside the random one.

    Args:
        ax: Where.
        course: What.
    """
    ratio, low, high = course.relative
    ax.axhline(1, color="0.6", linewidth=0.8)
    for kind, values in (("centralized", ratio), ("control", course.control)):
        style = KINDS[kind]
        ax.plot(course.time, values, color=style.color, marker=style.marker, linestyle=style.line, label=style.label)
    ax.fill_between(course.time, low, high, color=KINDS["centralized"].color, alpha=0.2, linewidth=0)
    ax.margins(y=0.3)  # room for the legend
    ax.set_ylabel("relative noise,\nprojected / raw")
    ax.legend()


def draw_by_layer(ax: Axes, course: Course) -> QuadMesh:
    """Draw relative noise of P g in units of that of g for each checkpoint and layer; open cells are grey.

    Args:
        ax: Where.
        course: What.

    Returns:
        The artist, for a colour bar.
    """
    times, places = np.arange(len(course.time)), np.arange(len(course.layers))
    edges = [np.arange(len(axis) + 1) - 0.5 for axis in (times, places)]
    colors = mpl.colormaps[COLORS].with_extremes(bad=UNKNOWN)
    mesh = ax.pcolormesh(*edges, course.by_layer.T, norm=LogNorm(1 / MOST, MOST), cmap=colors, rasterized=True)
    ax.set_xticks(times, [str(time) for time in course.time])
    if len(times) > 8:
        ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    ax.set_yticks(places, course.layers)
    ax.invert_yaxis()
    return mesh


def figure_noise_training(runs: Sequence[Run]) -> Figure | None:
    """Return the noise over the training of the first run that holds it, or None.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    for run in runs:
        course = stored_course(run)
        if course is not None:
            return _figure(run, course)
    return None


def _figure(run: Run, course: Course) -> Figure:
    height = max(3.2, 0.13 * len(course.layers) + 1.2)
    figure = Figure(figsize=(sizes().wide, height))
    axes = figure.subplot_mosaic([["kept", "layer"], ["relative", "layer"]], width_ratios=[1, 1.25])
    draw_kept(axes["kept"], course)
    draw_relative(axes["relative"], course)
    axes["kept"].sharex(axes["relative"])
    axes["kept"].tick_params(labelbottom=False)
    mesh = draw_by_layer(axes["layer"], course)
    axes["relative"].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for name in ("relative", "layer"):
        axes[name].set_xlabel(course.unit)
    bar = figure.colorbar(mesh, ax=axes["layer"], extend="both", label="relative noise, P / raw")
    bar.ax.yaxis.set_minor_locator(NullLocator())
    ticks = (0.25, 0.5, 1, 2, 4)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    if not np.isfinite(course.by_layer).all():
        axes["layer"].legend(handles=[Patch(color=UNKNOWN, label=OPEN)], loc="lower left", bbox_to_anchor=(0, 1))
    axes["kept"].set_title(look(run.method).label)
    return figure
