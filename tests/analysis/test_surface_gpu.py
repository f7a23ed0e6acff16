"""Surfaces, paths and maps on a CUDA device: the numbers of the CPU, under every plan."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import analysis
from analysis import Objective, Plan, curvature_map, gradient_field, linear_path, loss_surface
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


def on(device: str, case: Case) -> Objective:
    model, loss_fn, batches = case.make()
    return Objective(model, loss_fn, batches, device=device)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_surface_is_that_of_the_cpu(case: Case, tmp_path: Path) -> None:
    here = loss_surface(on("cpu", case), points=(3, 4))
    there = loss_surface(on("cuda", case), points=(3, 4), path=tmp_path / "run.h5")
    assert torch.equal(there.directions, here.directions)  # drawn on the CPU
    for name in ("loss", "standard_error", "rise_error"):
        # float64 through a few layers, sums of twelve losses of order 1
        assert_close(getattr(there, name), getattr(here, name), relative=1e-11)
    assert analysis.load(tmp_path / "run.h5") == there


@pytest.mark.parametrize("plan", [Plan(batch_size=5), Plan(channels_last=True), Plan(stacked=4)], ids=str)
def test_a_plan_changes_nothing_beyond_rounding(plan: Plan) -> None:
    for case in (CASES[1], CASES[2]):
        given = loss_surface(on("cuda", case), points=3, plan="given")
        assert_close(loss_surface(on("cuda", case), points=3, plan=plan).loss, given.loss, relative=1e-11)


def test_bfloat16_is_near_and_not_equal() -> None:
    model, loss_fn, batches = CASES[1].make(torch.float32)
    objective = Objective(model, loss_fn, batches, device="cuda")
    full, half = (loss_surface(objective, points=3, precision=name) for name in ("full", "bfloat16"))
    # seven bits of mantissa for each product, sums of up to six of order 1
    assert 0 < float((half.loss - full.loss).abs().max()) < 6 * 2**-8


def test_maps_and_paths_are_those_of_the_cpu() -> None:
    case = CASES[2]
    here, there = on("cpu", case), on("cuda", case)
    for scan, names in ((curvature_map, ("lambda_max", "lambda_min")), (gradient_field, ("slope", "gradient_norm"))):
        a, b = (scan(objective, points=2) for objective in (here, there))
        for name in names:
            # a tolerance of 1e-2 bounds the error of an eigenvalue by its square
            assert_close(getattr(b, name), getattr(a, name), relative=1e-3 if scan is curvature_map else 1e-10)
    end = {name: tensor * 1.5 for name, tensor in here.model.state_dict().items()}
    start = {name: tensor.clone() for name, tensor in here.model.state_dict().items()}
    a, b = (linear_path(objective, start, end, points=5) for objective in (here, there))
    assert_close(b.loss, a.loss, relative=1e-11)
    assert_close(b.excess_error, a.excess_error, relative=1e-9)
