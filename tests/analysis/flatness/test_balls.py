"""What the two balls answer at single points, with numbers chosen so that every answer is exact."""

from __future__ import annotations

import math

import pytest
import torch

from analysis.flatness.balls import Box, Euclidean, on_boundary


def v(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_on_the_sphere_an_outward_gradient_keeps_its_tangential_part() -> None:
    slope, is_held = Euclidean(2.0).slope(v(2, 0), v(3, 5), is_outside=True)
    assert (slope.tolist(), is_held) == ([0.0, 5.0], True)
    slope, is_held = Euclidean(2.0).slope(v(2, 0), v(0, 5), is_outside=True)  # along the sphere: still held
    assert (slope.tolist(), is_held) == ([0.0, 5.0], True)


@pytest.mark.parametrize(("gradient", "is_outside"), [(v(-3, 5), True), (v(3, 5), False)], ids=["inward", "inside"])
def test_elsewhere_the_gradient_is_followed_as_it_is(gradient: torch.Tensor, is_outside: bool) -> None:
    slope, is_held = Euclidean(2.0).slope(v(2, 0), gradient, is_outside=is_outside)
    assert torch.equal(slope, gradient)
    assert not is_held


def test_a_point_outside_or_held_is_put_on_the_sphere() -> None:
    """A held one that rounding has left inside too: else it would be taken for free."""
    ball = Euclidean(5.0)
    for point, is_held, expected, is_on_sphere in (
        (v(6, 8), False, [3.0, 4.0], True),
        (v(1.5, 2), True, [3.0, 4.0], True),
        (v(1.5, 2), False, [1.5, 2.0], False),
        (v(3, 4), False, [3.0, 4.0], False),
    ):
        found, is_outside = ball.inside(point, is_held=is_held)
        assert (found.tolist(), is_outside) == (expected, is_on_sphere)
    assert ball.reach == 5.0


def test_a_box_holds_the_coordinates_at_a_face_that_point_out_of_it() -> None:
    box = Box(2.0, 6)
    point = v(2, 2, -2, -2, 1, 2)
    slope, is_held = box.slope(point, v(1, -1, 1, -1, 7, 0), is_outside=False)
    assert (slope.tolist(), is_held) == ([0.0, -1.0, 1.0, 0.0, 7.0, 0.0], True)
    free, is_held = box.slope(point, v(-1, -1, 1, 1, 7, -1), is_outside=True)
    assert (free.tolist(), is_held) == ([-1.0, -1.0, 1.0, 1.0, 7.0, -1.0], False)


def test_a_point_outside_a_box_is_put_on_the_nearest_face() -> None:
    found, is_outside = Box(2.0, 4).inside(v(3, -3, 1, -1), is_held=True)
    assert (found.tolist(), is_outside) == ([2.0, -2.0, 1.0, -1.0], False)
    assert Box(2.0, 4).reach == 4.0  # from the center to a corner
    assert Box(2.0, 2).reach == pytest.approx(2 * math.sqrt(2))


def test_the_farthest_point_along_a_direction() -> None:
    assert on_boundary(v(3, 4, 0), 10.0, "l2").tolist() == [6.0, 8.0, 0.0]
    assert on_boundary(v(3, -4, 0), 10.0, "linf").tolist() == [10.0, -10.0, 0.0]
