"""Surfaces of several files side by side on one colour scale: the same plane of different networks.

Right when every panel has the title it was given and the scale of them all (`tests/figures/test_comparison.py`). Cost:
about a second.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from figures.plane import Plane, stored_plane
from figures.reading import Run
from figures.style import TWO_COLUMN, context
from figures.surface import side_by_side


def compare_surfaces(
    titled: Mapping[str, str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    name: str = "plane",
    preset: str = TWO_COLUMN,
) -> Figure:
    """Draw one stored surface of each file, on one colour scale cut at a common top.

    Args:
        titled: Title of each panel to its result file, in the order drawn.
        output: PNG, PDF or SVG to write; None only returns the figure.
        name: Of the surface in the files.
        preset: "two-column" or "one-column", see `figures.style.PRESETS`.

    Returns:
        The figure.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: No file, or one that holds no such surface with a finite cell.

    Example:
        compare_surfaces({"with": "runs/resnet20/run.h5", "without": "runs/noshort/run.h5"}, "shortcuts.png")
    """
    if not titled:
        raise ValueError("compare_surfaces needs at least one file, got none; give {title: path}")
    with context(preset):
        figure = side_by_side([_plane(title, path, name) for title, path in titled.items()])
        if output is not None:
            figure.savefig(output)
    return figure


def _plane(title: str, path: str | os.PathLike[str], name: str) -> Plane:
    run = Run(Path(path))
    plane = stored_plane(run, f"surface/{name}", title)
    if plane is None:
        there = ", ".join(run.measurements) or "nothing"
        raise ValueError(f"{os.fspath(path)} holds no surface {name!r} with a finite cell, but {there}; give its name")
    return plane
