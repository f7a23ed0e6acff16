"""Thresholds from 1e-12 to 1e12, found by tries alone."""

from __future__ import annotations

import math

import pytest

from analysis.flatness.bracket import crossing


@pytest.mark.parametrize("threshold", [1e-12, 0.3, 1.0, 7.0, 1e12])
@pytest.mark.parametrize("tol", [0.1, 1e-6])
def test_the_threshold_lies_in_a_narrow_bracket(threshold: float, tol: float) -> None:
    tried: list[float] = []

    def is_above(at: float) -> bool:
        tried.append(at)
        return at >= threshold

    low, high, tries = crossing(is_above, 1.0, tol, 200)
    assert low < threshold <= high
    assert high - low <= tol * high
    assert tries == len(tried) <= abs(math.log2(threshold)) + math.log2(1 / tol) + 4


def test_the_first_of_two_crossings_is_taken_where_doubling_sees_it() -> None:
    low, high, _ = crossing(lambda at: 3 <= at <= 5 or at > 100, 1.0, 1e-3, 100)
    assert low < 3 <= high


@pytest.mark.parametrize(("answer", "expected"), [(True, (0.0, 2.0**-60)), (False, (2.0**60, math.inf))])
def test_no_bracket_is_told_by_its_bounds(answer: bool, expected: tuple[float, float]) -> None:
    assert crossing(lambda at: answer, 1.0, 0.1, 1000) == (*expected, 61)


def test_the_budget_is_kept() -> None:
    assert crossing(lambda at: at > 3, 1.0, 1e-9, 4) == (3.0, 4.0, 4)


def test_the_budget_is_kept_while_doubling_too() -> None:
    assert crossing(lambda at: at > 1e6, 1.0, 0.1, 4) == (8.0, math.inf, 4)
    assert crossing(lambda at: at > 1e-6, 1.0, 0.1, 4) == (0.0, 0.125, 4)


def test_nothing_below_the_least_number_is_tried_and_that_number_is() -> None:
    assert crossing(lambda at: True, 1.0, 0.1, 100, least=0.25) == (0.0, 0.25, 3)
    assert crossing(lambda at: True, 1.0, 0.1, 100, least=0.26) == (0.0, 0.5, 2)


def test_a_bracket_of_exactly_the_tolerance_is_narrow_enough() -> None:
    assert crossing(lambda at: at > 1, 1.0, 0.5, 100) == (1.0, 2.0, 2)
