"""Coordinates, their forms and errors, and the order of the cells. The cells' numbers are tested in test_scan.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from analysis.surface.grid import axes, coarse_to_fine


@pytest.mark.parametrize("extent", [0.1, 0.3, 1 / 3, 1.0, 7e-9, 2**0.5])
@pytest.mark.parametrize("points", [2, 3, 5, 8, 51, 52, 101])
def test_a_symmetric_axis_is_symmetric_to_the_bit(extent: float, points: int) -> None:
    """Fails if coordinates come from linspace: its middle is 1e-17 for some of these."""
    (axis,) = axes(extent, points, 1)
    assert len(axis) == points
    assert (axis[0], axis[-1]) == (-extent, extent)
    assert axis == [-t for t in reversed(axis)]
    assert axis == sorted(set(axis))
    assert (0.0 in axis) == (points % 2 == 1)  # an even count has no origin


def test_spacing_is_even() -> None:
    (axis,) = axes((-0.7, 1.9), 27, 1)
    assert np.allclose(np.diff(axis), 0.1, rtol=1e-14)


def test_an_uneven_axis_through_zero_holds_zero() -> None:
    assert axes((-0.1, 0.3), 5, 1) == [[-0.1, 0.0, 0.1, 0.2, 0.3]]


@pytest.mark.parametrize(
    ("extent", "points", "ends", "counts"),
    [
        (2, 3, [(-2, 2), (-2, 2)], [3, 3]),
        ((0, 1), (4, 5), [(0, 1), (0, 1)], [4, 5]),
        ([(-1, 0.5), (0, 3)], [5, 2], [(-1, 0.5), (0, 3)], [5, 2]),
        (np.float32(0.5), np.int64(3), [(-0.5, 0.5), (-0.5, 0.5)], [3, 3]),
    ],
)
def test_every_form_is_understood(extent: Any, points: Any, ends: list, counts: list) -> None:
    found = axes(extent, points, 2)
    assert [(axis[0], axis[-1]) for axis in found] == ends
    assert [len(axis) for axis in found] == counts


@pytest.mark.parametrize(
    "extent",
    [
        *(0, 0.0, -1.0, math.nan, math.inf, True, "1", None),
        *((), (1, 1), (1, 0), (0, math.nan), (0, math.inf), (0, 1, 2)),
        *(((0, 1),), ((0, 1), (1, 0)), ((0, 1), (0, math.nan)), ((0, 1), 1), ((0, 1), (0, 1), (0, 1))),
    ],
)
def test_a_wrong_extent_is_refused(extent: Any) -> None:
    with pytest.raises(ValueError, match=r"extent must be a finite number > 0 .* got .*; 1\.0 is the usual start"):
        axes(extent, 3, 2)


def test_a_line_takes_no_extent_for_two() -> None:
    with pytest.raises(ValueError, match=r"low < high, got"):
        axes(((0, 1), (0, 1)), 3, 1)


@pytest.mark.parametrize("points", [1, 0, -3, 2.5, 3.0, math.nan, True, "3", None, (3,), (3, 1), (3, 3, 3), (3, 2.5)])
def test_wrong_points_are_refused(points: Any) -> None:
    with pytest.raises(ValueError, match=r"points must be a whole number >= 2 or a pair of them, got .*; an odd"):
        axes(1.0, points, 2)


@pytest.mark.parametrize("shape", [(2,), (9,), (5, 8), (17, 17)])
def test_the_order_visits_every_cell_once(shape: tuple[int, ...]) -> None:
    order = coarse_to_fine(shape)
    assert sorted(order) == list(np.ndindex(*shape))


def test_a_part_of_the_order_is_a_coarser_grid() -> None:
    """Fails if cells are taken row by row: a stopped scan would show a strip."""
    order = coarse_to_fine((17, 17))
    for stride in (8, 4, 2):
        coarse = [index for index in np.ndindex(17, 17) if index[0] % stride == 0 and index[1] % stride == 0]
        assert sorted(order[: len(coarse)]) == coarse
