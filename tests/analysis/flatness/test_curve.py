"""A curve against single measurements, closed forms of a quadratic, and the laws it keeps on networks."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import analysis
from analysis import Objective, SharpnessCurve, sharpness, sharpness_curve
from analysis.evidence import Status
from analysis.flatness import curve
from analysis.flatness.worst import Worst
from tests.analysis.flatness.regression import problem
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles.trust_region import maximum

RHOS = [0.05, 0.3, 1.0]
KINDS: list[tuple[str, dict[str, Any]]] = [("worst", {}), ("worst", {"m": 5}), ("average", {"samples": 4})]


@pytest.mark.parametrize("adaptive", [False, True])
def test_worst_case_of_a_quadratic_at_every_rho(adaptive: bool) -> None:
    objective, hessian, gradient = problem()
    scale = objective.weights().abs() if adaptive else torch.ones(len(gradient), dtype=torch.float64)
    found = sharpness_curve(objective, RHOS, adaptive=adaptive, tol=1e-6, steps=100)
    expected = [maximum(scale[:, None] * hessian * scale, scale * gradient, rho)[0] for rho in RHOS]
    assert_close(
        found.value / torch.tensor(expected, dtype=torch.float64), torch.ones(3), absolute=1e-9
    )  # a residual of 1e-6, squared
    assert found.statuses == ("CONVERGED",) * 3
    assert found.status is Status.CONVERGED


def test_average_of_a_quadratic_is_a_parabola_to_rounding() -> None:
    """Fails if each rho draws its own perturbations: then the ratio carries their sampling error."""
    objective, hessian, _ = problem()
    found = sharpness_curve(objective, RHOS, kind="average", samples=20)
    parabola = found.value / found.rho.square()
    assert_close(parabola, parabola[:1].expand(3), relative=1e-11)  # rounding of L, over a rise of 1e-2 of it
    assert abs(float(parabola[0]) - float(hessian.trace()) / 2) < 4 * float(found.standard_error[0]) / RHOS[0] ** 2


@pytest.mark.parametrize(("kind", "settings"), KINDS)
@pytest.mark.parametrize("adaptive", [False, True])
def test_a_curve_of_one_rho_is_sharpness(kind: str, settings: dict[str, Any], adaptive: bool) -> None:
    objective = Objective(*CASES[1].make())
    one = sharpness(objective, 0.3, kind, adaptive, **settings)
    found = sharpness_curve(objective, [0.3], kind, adaptive, **settings)
    assert torch.equal(found.samples[0], one.samples)
    shared = (
        "kind",
        "adaptive",
        "scale",
        "subspace",
        "base_loss",
        "num_gradients",
        "num_losses",
        "seed",
        "m",
        "status",
    )
    assert [getattr(found, name) for name in shared] == [getattr(one, name) for name in shared]
    assert found.statuses == (one.status.name,)
    for name in ("rho", "value", "standard_error", "residual"):
        assert_close(getattr(found, name), [getattr(one, name)])


@pytest.mark.parametrize("kind", ["worst", "average"])
def test_every_point_of_a_curve_is_that_of_sharpness(kind: str) -> None:
    objective = Objective(*CASES[2].make())
    found = sharpness_curve(objective, RHOS, kind, samples=5)
    values = [sharpness(objective, rho, kind, samples=5).value for rho in RHOS]
    single = torch.tensor(values, dtype=torch.float64)
    if kind == "average":
        assert torch.equal(found.value, single)
    else:
        assert bool((found.value >= single).all())


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_worst_case_never_falls_with_rho(case: Case) -> None:
    found = sharpness_curve(Objective(*case.make()), [0.01, 0.1, 0.3, 0.5, 2.0, 8.0], steps=3, restarts=0)
    assert bool((found.value.diff() >= 0).all())
    assert float(found.value[0]) > 0


def test_the_worst_point_of_a_smaller_ball_counts_in_a_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if rises are not carried on, or are carried over what is not finite."""
    rises = iter([1.0, 0.5, 2.0, math.nan, 1.5, math.inf, 1.2, -math.inf, 3.0, 3.0])

    def one(*_: Any) -> Worst:
        return Worst(next(rises), torch.zeros(6), 0.0, 3.0, 1, 1)

    monkeypatch.setattr(curve, "worst_rise", one)
    found = sharpness_curve(problem()[0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    assert_close(found.value, [1.0, 1.0, 2.0, math.nan, 1.5, math.inf, 1.2, -math.inf, 3.0, 3.0])
    assert_close(found.residual, [0.0, math.nan, *[0.0] * 8])  # as high as before is no fall
    assert found.statuses[:5] == ("CONVERGED", "MAX_STEPS", "CONVERGED", "NOT_FINITE", "CONVERGED")
    assert found.statuses[5:8] == ("NOT_FINITE", "CONVERGED", "NOT_FINITE")
    assert found.status is Status.NOT_FINITE
    assert (found.num_gradients, found.num_losses) == (10, 10)


def test_all_rhos_see_the_same_subsets_and_perturbations() -> None:
    objective, _, _ = problem()
    for kind, settings in KINDS[1:]:
        few, many = (sharpness_curve(objective, rhos, kind, **settings) for rhos in (RHOS[2:], RHOS))
        assert_close(many.samples[2], few.samples[0], relative=1e-12)
        assert_close(many.standard_error[2], few.standard_error[0], relative=1e-10)


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_the_seed_decides(kind: str, settings: dict[str, Any]) -> None:
    objective = Objective(*CASES[1].make())
    first, again = (sharpness_curve(objective, RHOS, kind, seed=0, **settings) for _ in range(2))
    assert first == again
    if kind == "average" or "m" in settings:
        assert not torch.equal(first.samples, sharpness_curve(objective, RHOS, kind, seed=1, **settings).samples)


def test_few_steps_are_told_at_each_rho() -> None:
    found = sharpness_curve(Objective(*CASES[1].make()), [1e-6, 3.0], steps=1, restarts=0)
    assert found.statuses == ("CONVERGED", "MAX_STEPS")  # the ball of 1e-6 sees a linear function
    assert found.status is Status.MAX_STEPS


@pytest.mark.parametrize("kind", ["worst", "average"])
def test_a_loss_that_is_not_finite_is_told_at_its_rho(kind: str) -> None:
    x = torch.ones(4, 2)
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    objective = Objective(model, lambda output, _: -output.log().mean(), [(x, x)])
    found = sharpness_curve(objective, [1e-3, 10.0], kind, samples=20)
    assert found.statuses[0] in {"CONVERGED", "COMPLETE"}
    assert found.statuses[1] == "NOT_FINITE"
    assert found.status is Status.NOT_FINITE
    assert found.value.isfinite().tolist() == [True, False]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
@pytest.mark.parametrize("does_raise", [False, True])
def test_everything_is_left_as_found(kind: str, settings: dict[str, Any], does_raise: bool) -> None:
    model, loss_fn, batches = CASES[2].make()
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()

    def stop(done: int, total: int) -> None:
        if does_raise:
            raise KeyboardInterrupt

    objective = Objective(model, loss_fn, batches)
    if does_raise:
        with pytest.raises(KeyboardInterrupt):
            sharpness_curve(objective, RHOS, kind, progress=stop, **settings)
    else:
        with torch.inference_mode():
            sharpness_curve(objective, RHOS, kind, progress=stop, **settings)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("kind", "settings", "total"),
    [("worst", {"restarts": 2}, 9), ("worst", {"m": 4, "restarts": 0}, 9), ("average", {"samples": 4}, 4)],
)
def test_progress_runs_to_its_end(kind: str, settings: dict[str, Any], total: int) -> None:
    seen: list[tuple[int, int]] = []
    objective = Objective(*CASES[1].make())
    sharpness_curve(objective, RHOS, kind, progress=lambda *pair: seen.append(pair), **settings)
    assert seen == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_saved_and_loaded_equal(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    found = sharpness_curve(Objective(*CASES[1].make(torch.float32)), RHOS, kind, **settings)
    found.save(tmp_path / "run.h5", "curve")
    again = analysis.load(tmp_path / "run.h5", "sharpness/curve")
    assert isinstance(again, SharpnessCurve)
    assert again == found
    assert again != dataclasses.replace(found, value=found.value + 1)
    assert {found.value.dtype, found.samples.dtype} == {torch.float64}


@pytest.mark.parametrize(
    ("rhos", "settings", "message"),
    [
        ([], {}, r"rhos must be one or more finite numbers > 0 in rising order, got \[\]"),
        ([0.0, 1.0], {}, r"rising order, got \[0.0, 1.0\]"),
        ([-1.0], {}, r"rising order, got \[-1.0\]"),
        ([0.2, 0.1], {}, r"rising order, got \[0.2, 0.1\]"),
        ([0.1, 0.1], {}, r"rising order, got \[0.1, 0.1\]"),
        ([0.1, math.nan], {}, r"rising order, got \[0.1, nan\]"),
        ([0.1, math.inf], {}, r"rising order, got \[0.1, inf\]"),
        ([0.1], {"kind": "wurst"}, "kind must be one of worst, average, got 'wurst'"),
        ([0.1], {"kind": "average", "m": 2}, "m is for kind='worst', got m=2"),
        ([0.1], {"kind": "average", "samples": 1}, "samples must be a whole number >= 2, got 1"),
        ([0.1], {"tol": math.nan}, "tol must be a finite number > 0, got nan"),
    ],
)
def test_arguments_out_of_range_are_refused(rhos: list[float], settings: dict[str, Any], message: str) -> None:
    objective, _, _ = problem()
    with pytest.raises(ValueError, match=message) as caught:
        sharpness_curve(objective, rhos, **settings)
    assert "\n" not in str(caught.value)
