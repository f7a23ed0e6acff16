"""Surfaces of several files side by side on one colour scale: the same plane of different networks.

Right when every panel has the title it was given and the scale of them all (`tests/figures/test_comparison.py`). Cost:
about a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from figures.plane import Plane, stored_plane
from figures.reading import Run
from figures.style import TWO_COLUMN, context
from figures.surface import side_by_side

T = TypeVar("T")


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

    def read(run: Run, title: str) -> Plane | None:
        return stored_plane(run, f"surface/{name}", title)

    return compare(titled, read, side_by_side, f"surface {name!r}", output, preset)


def compare(
    titled: Mapping[str, str | os.PathLike[str]],
    read: Callable[[Run, str], T | None],
    join: Callable[[Sequence[T]], Figure],
    what: str,
    output: str | os.PathLike[str] | None,
    preset: str,
) -> Figure:
    """Draw one thing of each file in one figure.

    Args:
        titled: Title of each panel to its result file.
        read: Returns what is drawn of a file, given with its title, or None where there is none.
        join: Makes the figure.
        what: What is missing where `read` returns None.
        output: PNG, PDF or SVG to write; None only returns the figure.
        preset: Of the figure.

    Returns:
        The figure.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: No file, or one without what is drawn.
    """
    if not titled:
        raise ValueError("a comparison needs at least one file, got none; give {title: path}")
    found = []
    for title, path in titled.items():
        run = Run(Path(path))
        one = read(run, title)
        if one is None:
            there = ", ".join(run.measurements) or "nothing"
            raise ValueError(f"{os.fspath(path)} holds no {what} with a finite cell, but {there}; give its name")
        found.append(one)
    with context(preset):
        figure = join(found)
        if output is not None:
            figure.savefig(output)
    return figure
