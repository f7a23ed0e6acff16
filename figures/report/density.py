"""The spectral density of the Hessian as a picture of the report: what `figures.density` draws, to be looked into.

Right when the curves are those of the figure and the sentence has the numbers of the files
(`tests/figures/report/test_density.py`). Cost: milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from figures.density import FLOOR, WIDTH, Densities, densities
from figures.reading import Array, Run
from figures.report.content import Panel, Picture, Series
from figures.report.wording import counted, listed, method, number


def spectral_density(runs: Sequence[Run]) -> Picture | None:
    """Return the spectral density by method, means over seeds with their range, or None where no run holds any.

    Args:
        runs: As from `figures.reading.load_runs`.
    """
    found = densities(runs)
    if found is None:
        return None
    grid = _short(found.grid)
    panel = Panel(
        "lines",
        "Density of all eigenvalues",
        "eigenvalue",
        "share per unit of eigenvalue",
        tuple(_series(name, grid, curves) for name, curves in found.curves.items()),
        is_log=True,
        origin=0.0,
        floor=found.floor,
    )
    words = (
        f"Share of eigenvalues below {number(-found.width, 2)}, minus one width: "
        f"{_by_method(found.negative, percent=True)}. Least node, mean over seeds: {_by_method(found.least)}. "
        f"Largest node: {_by_method(found.largest)}."
    )
    return Picture(
        "density", "The whole spectrum", _caption(found), words, (panel,), "density", legend=tuple(found.curves)
    )


def _caption(found: Densities) -> str:
    band = "; the band is from the lowest to the highest seed" if max(map(len, found.curves.values())) > 1 else ""
    lost = counted(found.num_left_out, "run")
    left_out = f" Left out: {lost} with nodes that are not finite, or all zero." if found.num_left_out else ""
    return (
        "Density of the eigenvalues of the Hessian of the training loss, in loss per squared weight, by stochastic "
        f"Lanczos quadrature: mean over probes and seeds{band}. It is smoothed by a Gaussian of width "
        f"{number(found.width, 2)} for all methods, {100 * WIDTH:.0f} % of the range of all nodes; eigenvalues of zero "
        f"alone would seem to reach to ±{number(found.foot, 2)}. One of the {found.num_parameters} eigenvalues is "
        f"{number(found.single, 2)} high; the axis ends at {FLOOR:g} of that.{left_out}"
    )


def _series(name: str, grid: Sequence[float], curves: Array) -> Series:
    ends = [_short(curves.min(0)), _short(curves.max(0))] if len(curves) > 1 else []
    return Series(name, grid, _short(curves.mean(0)), *ends)


def _by_method(values: Mapping[str, float], *, percent: bool = False) -> str:
    return listed([f"{method(n)} {f'{number(100 * v, 2)} %' if percent else number(v)}" for n, v in values.items()])


def _short(values: Array) -> list[float]:
    """Return numbers with six digits, which no picture shows more of."""
    return [float(f"{value:.6g}") for value in values.tolist()]
