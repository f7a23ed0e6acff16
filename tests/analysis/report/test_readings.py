"""Intervals: t intervals cover the truth as often as they say, bounds are bounds, and nothing is made up."""

from __future__ import annotations

import math

import pytest
import torch

from analysis.report.readings import at_least, exact, half_width, ratio, sampled, within


@pytest.mark.parametrize("num", [3, 20])
def test_a_t_interval_covers_the_truth_in_95_of_100_draws(num: int) -> None:
    """4 standard errors of a share of 0.95 in 4,000 draws are 0.0138. A normal interval of 3 would cover 0.82."""
    draws = torch.randn(4000, num, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 5
    errors = draws.std(1) / math.sqrt(num)
    found = [
        sampled(float(mean), float(error), num, "draws") for mean, error in zip(draws.mean(1), errors, strict=True)
    ]
    share = sum(each.low <= 5 <= each.high for each in found) / len(found)
    assert abs(share - 0.95) < 0.0138
    assert found[0].meaning == f"t, {num} draws"


def test_one_draw_or_no_standard_error_has_no_interval() -> None:
    for error, num in ((0.1, 1), (math.nan, 9)):
        assert math.isnan(half_width(error, num))
        found = sampled(2.0, error, num, "draws")
        assert found.value == 2.0
        assert math.isnan(found.low) and math.isnan(found.high)  # noqa: PT018


def test_a_lower_bound_has_no_upper_end_and_an_exact_number_no_interval() -> None:
    found = at_least(0.5)
    assert (found.value, found.low, found.meaning) == (0.5, 0.5, "lower bound")
    assert math.isnan(found.high)
    assert math.isnan(exact(0.5).low)
    assert exact(0.5).meaning == "exact"


def test_a_ratio_holds_every_quotient_of_its_ends() -> None:
    found = ratio(within(10.0, 1.0), within(2.0, 0.5))
    assert (found.value, found.low, found.high) == (5.0, 9 / 2.5, 11 / 1.5)
    assert found.meaning == "residual bound"


@pytest.mark.parametrize(
    ("first", "second", "value", "meaning"),
    [
        ((10.0, 1.0), (0.1, 0.2), 100.0, "residuals too large"),
        ((1.0, 2.0), (1.0, 0.1), 1.0, "residuals too large"),
        ((10.0, 1.0), (0.0, 0.1), math.nan, "denominator <= 0"),
        ((10.0, 1.0), (-3.0, 0.1), math.nan, "denominator <= 0"),
        ((10.0, 1.0), (math.nan, math.nan), math.nan, "denominator <= 0"),
    ],
)
def test_a_ratio_that_is_open_says_so(
    first: tuple[float, float], second: tuple[float, float], value: float, meaning: str
) -> None:
    found = ratio(within(*first), within(*second))
    assert found.value == pytest.approx(value, nan_ok=True)
    assert math.isnan(found.low) and math.isnan(found.high)  # noqa: PT018
    assert found.meaning == meaning
