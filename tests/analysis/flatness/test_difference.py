"""Two quadratics that differ a little: the paired difference against its closed form and its spread over seeds."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import analysis
from analysis import Objective, sharpness, sharpness_curve, sharpness_difference
from tests.analysis.flatness.regression import problem
from tests.cases import CASES
from tests.compare import assert_close


def near() -> tuple[Objective, Objective, float]:
    """Return two quadratics whose Hessians differ by 2 % and by a direction, and half the difference of the traces."""
    first, hessian, _ = problem()
    x, y = (torch.cat(list(column)) for column in zip(*first.data, strict=True))
    bent = x * torch.linspace(1.0, 1.02, x.shape[1], dtype=torch.float64)
    second = first.on([(bent, y)])
    return first, second, float((hessian.trace() - (2 / len(x) * bent.T @ bent).trace()) / 2)


def test_the_difference_of_two_traces_is_found_with_a_small_error() -> None:
    """Fails if the standard error is that of independent samples, which hides the difference altogether."""
    first, second, half = near()
    curves = [sharpness_curve(each, [0.1, 0.5], kind="average", samples=40) for each in (first, second)]
    found = sharpness_difference(*curves)
    expected = half * found.rho.square()
    assert bool(((found.value - expected).abs() < 4 * found.standard_error).all())
    assert bool((found.value.abs() > 5 * found.standard_error).all())
    assert bool((found.value.abs() < found.independent_standard_error).all())
    assert_close(found.independent_standard_error, torch.hypot(*(each.standard_error for each in curves)))
    assert (found.kind, found.adaptive, found.num_samples, found.seed) == ("average", False, 40, 0)


def test_the_standard_error_is_right_over_seeds() -> None:
    """200 seeds: the variance of the values is known to 10 %, so its root to 5 %, and 4 of these are allowed."""
    first, second, half = near()
    found = [
        sharpness_difference(*(sharpness(each, kind="average", samples=20, seed=seed) for each in (first, second)))
        for seed in range(200)
    ]
    values, errors = (
        torch.tensor([float(getattr(one, name)) for one in found]) for name in ("value", "standard_error")
    )
    assert float(errors.square().mean().sqrt() / values.std()) == pytest.approx(1, abs=0.2)
    assert abs(float(values.mean()) - half * 0.05**2) < 4 * float(values.std()) / math.sqrt(200)


def test_subsets_are_paired_too() -> None:
    first, second, _ = near()
    curves = [sharpness_curve(each, [0.1, 0.5], m=6) for each in (first, second)]
    found = sharpness_difference(*curves)
    assert_close(found.value, curves[0].value - curves[1].value)
    explicit = (curves[0].samples - curves[1].samples).std(1) / 2  # 4 subsets
    assert_close(found.standard_error, explicit, relative=1e-12)
    assert bool((found.standard_error < found.independent_standard_error / 4).all())


def test_swapped_the_sign_is_the_other() -> None:
    first, second, _ = near()
    a, b = (sharpness(each, m=6) for each in (first, second))
    one, other = sharpness_difference(a, b), sharpness_difference(b, a)
    assert_close(one.value, -other.value)
    assert torch.equal(one.standard_error, other.standard_error)


def test_one_worst_case_has_a_difference_and_no_error() -> None:
    first, second, _ = near()
    a, b = (sharpness(each) for each in (first, second))
    found = sharpness_difference(a, b)
    assert_close(found.value, [a.value - b.value])
    assert_close(found.rho, [0.05])
    assert_close(found.standard_error, [math.nan])


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    objective = Objective(*CASES[1].make())
    found = sharpness_difference(*(sharpness_curve(objective, [0.1, 0.2], m=m) for m in (5, 5)))
    found.save(tmp_path / "run.h5", "difference")
    assert analysis.load(tmp_path / "run.h5", "sharpness/difference") == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 1}, "both must be measured with the same seed, got 0 and 1; measure one of them anew"),
        ({"adaptive": True}, "both must be measured with the same adaptive, got False and True"),
        ({"kind": "worst"}, "both must be measured with the same kind, got 'average' and 'worst'"),
        ({"samples": 5}, "both must have as many samples, got 4 and 5"),
        ({"rhos": [0.1, 0.3]}, r"both must be measured at the same rho, got \[0.1, 0.2\] and \[0.1, 0.3\]"),
    ],
)
def test_results_that_do_not_belong_together_are_refused(settings: dict[str, Any], message: str) -> None:
    objective, _, _ = problem()
    given: dict[str, Any] = {"rhos": [0.1, 0.2], "kind": "average", "samples": 4}
    first, second = (sharpness_curve(objective, **{**given, **changes}) for changes in ({}, settings))
    with pytest.raises(ValueError, match=message) as caught:
        sharpness_difference(first, second)
    assert "\n" not in str(caught.value)


def test_rho_that_is_nan_equals_none() -> None:
    objective, _, _ = problem()
    first = sharpness_curve(objective, [0.1], kind="average", samples=4)
    lost = dataclasses.replace(first, rho=torch.tensor([math.nan], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"the same rho, got \[0.1\] and \[nan\]"):
        sharpness_difference(first, lost)


def test_a_curve_and_a_single_measurement_are_refused() -> None:
    objective, _, _ = problem()
    curve, single = sharpness_curve(objective, [0.05]), sharpness(objective)
    with pytest.raises(ValueError, match="both must be results of one function, got SharpnessCurve and Sharpness"):
        sharpness_difference(curve, single)
