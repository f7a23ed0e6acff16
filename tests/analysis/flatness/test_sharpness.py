"""The public call: evidence beside the value, what it leaves behind, what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import analysis
from analysis import Objective, sharpness
from analysis.evidence import Status
from tests.analysis.flatness.regression import problem
from tests.cases import CASES
from tests.oracles.trust_region import maximum

KINDS = [("worst", {}), ("worst", {"m": 5}), ("average", {"samples": 4})]


def test_worst_case_has_its_evidence() -> None:
    objective, hessian, gradient = problem()
    found = sharpness(objective, rho=0.3)
    assert found.value == pytest.approx(maximum(hessian, gradient, 0.3)[0], rel=1e-3)  # tol 1e-2, squared, and room
    assert found.status is Status.CONVERGED
    assert found.residual <= 1e-2
    assert math.isnan(found.standard_error)
    assert found.base_loss == objective.loss()
    assert (found.rho, found.kind, found.adaptive, found.seed, found.m) == (0.3, "worst", False, 0, 24)
    assert found.samples.tolist() == [found.value]


def test_average_case_has_its_evidence() -> None:
    objective, _, _ = problem()
    found = sharpness(objective, kind="average", samples=5)
    assert found.status is Status.COMPLETE
    assert math.isnan(found.residual)
    assert (found.num_gradients, found.num_losses, len(found.samples)) == (0, 11, 5)


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

    if does_raise:
        with pytest.raises(KeyboardInterrupt):
            sharpness(Objective(model, loss_fn, batches), kind=kind, progress=stop, **settings)
    else:
        sharpness(Objective(model, loss_fn, batches), kind=kind, progress=stop, **settings)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_the_callers_modes_do_not_matter(kind: str, settings: dict[str, Any]) -> None:
    objective = Objective(*CASES[1].make())
    plain = sharpness(objective, kind=kind, **settings).value
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert sharpness(objective, kind=kind, **settings).value == plain


@pytest.mark.parametrize(
    ("kind", "settings", "total"),
    [("worst", {"restarts": 2}, 3), ("worst", {"m": 4, "restarts": 0}, 3), ("average", {"samples": 4}, 4)],
)
def test_progress_runs_to_its_end(kind: str, settings: dict[str, Any], total: int) -> None:
    seen: list[tuple[int, int]] = []
    objective = Objective(*CASES[1].make())
    sharpness(objective, kind=kind, progress=lambda *pair: seen.append(pair), **settings)
    assert seen == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_saved_and_loaded_equal(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    found = sharpness(Objective(*CASES[1].make()), kind=kind, **settings)
    found.save(tmp_path / "run.h5", kind)
    assert analysis.load(tmp_path / "run.h5", f"sharpness/{kind}") == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": 0.0}, "rho must be a finite number > 0, got 0.0"),
        ({"rho": -1.0}, "rho must be a finite number > 0, got -1.0"),
        ({"rho": math.nan}, "rho must be a finite number > 0, got nan"),
        ({"rho": math.inf}, "rho must be a finite number > 0, got inf"),
        ({"kind": "wurst"}, "kind must be one of worst, average, got 'wurst'"),
        ({"kind": "average", "m": 2}, "m is for kind='worst', got m=2"),
        ({"kind": "average", "samples": 1}, "samples must be a whole number >= 2, got 1"),
        ({"steps": -1}, "steps must be a whole number >= 0, got -1"),
        ({"steps": math.nan}, "steps must be a whole number >= 0, got nan"),
        ({"restarts": -1}, "restarts must be a whole number >= 0, got -1"),
        ({"restarts": 1.5}, "restarts must be a whole number >= 0, got 1.5"),
        ({"tol": 0.0}, "tol must be a finite number > 0, got 0.0"),
        ({"tol": math.nan}, "tol must be a finite number > 0, got nan"),
    ],
)
def test_arguments_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    objective, _, _ = problem()
    with pytest.raises(ValueError, match=message) as caught:
        sharpness(objective, **settings)
    assert "\n" not in str(caught.value)
