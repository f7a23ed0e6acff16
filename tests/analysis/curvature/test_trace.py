"""Hutchinson's trace against known matrices, the known variance of its samples, and the honesty of its interval.

The Frobenius norm is tried here for both methods; XTrace's own tests are in `test_xtrace.py`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from analysis import Objective, Status, hessian_trace, load
from analysis.evidence import from_measurement
from tests.analysis.curvature.operators import Dense, trained_mlp, with_spectrum
from tests.compare import assert_close
from tests.oracles import dense


def test_interval_covers_the_truth_and_the_variance_is_the_known_one() -> None:
    """Fails if the standard error is off by more than a few percent in either direction."""
    operator = with_spectrum(torch.linspace(-1, 4, 60))
    matrix = operator.matrix
    truth = float(matrix.trace())
    runs = [hessian_trace(operator, tol=1e-9, min_probes=50, max_hvps=50, seed=seed) for seed in range(200)]
    covered = np.mean([abs(run.value - truth) <= 1.96 * run.standard_error for run in runs])
    assert 0.90 <= covered <= 0.99
    variance = 2 * float(matrix.square().sum() - matrix.diagonal().square().sum())
    samples = torch.cat([run.samples for run in runs])
    # 10,000 samples: the relative error of their variance is about sqrt(2 / 10,000) = 1.4 %, times z = 4
    assert_close(samples.var(), variance, relative=0.06)
    assert_close(samples.mean(), truth, absolute=4 * math.sqrt(variance / len(samples)))


def test_stops_on_its_standard_error_and_not_before_the_minimum() -> None:
    operator = with_spectrum(torch.linspace(0, 4, 60))
    found = hessian_trace(operator, tol=0.02, max_hvps=500)
    assert found.status is Status.CONVERGED
    assert found.standard_error <= 0.02 * found.value
    assert 10 < found.num_hvps == operator.calls == len(found.samples) < 500
    assert hessian_trace(operator, tol=10.0, min_probes=7).num_hvps == 7
    assert hessian_trace(operator, tol=1e-6).status is Status.MAX_HVPS


def test_a_negated_hessian_is_treated_alike() -> None:
    operator = with_spectrum(torch.linspace(1, 4, 60))
    plus, minus = hessian_trace(operator, tol=0.02), hessian_trace(Dense(-operator.matrix), tol=0.02)
    assert minus.value == -plus.value
    assert (minus.standard_error, minus.num_hvps, minus.status) == (plus.standard_error, plus.num_hvps, plus.status)


def test_network_within_its_error_of_the_dense_hessian(tmp_path: Any) -> None:
    model, loss_fn, batches = trained_mlp()
    truth = float(dense.hessian(model, loss_fn, batches).trace())
    state, seen = torch.get_rng_state(), []
    objective = Objective(model, loss_fn, batches)
    found = hessian_trace(objective, seed=1, progress=lambda done, total: seen.append((done, total)))
    assert_close(found.value, truth, absolute=4 * found.standard_error)
    assert torch.equal(state, torch.get_rng_state())
    assert seen[-1] == (found.num_hvps, 100)
    assert found == hessian_trace(objective, seed=1)
    assert found.value != hessian_trace(objective, seed=2).value
    for result in (found, hessian_trace(objective, method="xtrace")):
        result.save(tmp_path / "r.h5", "trace")
        assert load(tmp_path / "r.h5") == result


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_frobenius_norm_within_its_error_which_is_honest_and_shrinks(method: str) -> None:
    """Fails if the norm is that of other vectors than E[v v^T] = I, or its error is off by a third."""
    operator = with_spectrum(torch.cat([torch.linspace(-3, 4, 60), torch.zeros(60)]))
    truth = float(operator.matrix.norm())
    sizes: dict[int, float] = {}
    for products in (20, 80):
        runs = [
            hessian_trace(operator, method=method, tol=1e-300, min_probes=products, max_hvps=products, seed=seed)
            for seed in range(100)
        ]
        z = np.array([(run.frobenius - truth) / run.frobenius_standard_error for run in runs])
        # 10 to 80 samples: Student's t has standard deviation at most 1.13; 100 seeds know it within 7 %, times z = 4
        assert 0.7 <= z.std() <= 1.45
        # a mean of 100 within 4 / sqrt(100); the root's own bias is frobenius_standard_error / truth / 2 < 0.05 of one
        assert abs(z.mean()) <= 4 * z.std() / math.sqrt(100) + 0.05
        assert all(abs(z) < 4 * 1.13)
        sizes[products] = float(np.mean([run.frobenius_standard_error for run in runs]))
    assert_close(sizes[20] / sizes[80], 2.0, absolute=0.2)


def test_the_frobenius_norm_of_random_signs_in_closed_form() -> None:
    """Each product of a matrix with one row is the same size: (+-1 +-2 ...)^2 on diag is sum h^2 exactly."""
    found = hessian_trace(Dense(torch.diag(torch.tensor([3.0, -4.0, 12.0]))))
    assert (found.frobenius, found.frobenius_standard_error, found.method) == (13.0, 0.0, "hutchinson")


def test_files_of_earlier_versions_load() -> None:
    found = hessian_trace(with_spectrum([1.0, 2.0]), method="xtrace")
    stored = found.to_measurement()
    added = ("method", "frobenius", "frobenius_standard_error")
    older = dataclasses.replace(stored, variables={k: v for k, v in stored.variables.items() if k not in added})
    loaded = from_measurement(older)
    expected = {"method": "hutchinson", "frobenius": math.nan, "frobenius_standard_error": math.nan}
    assert loaded == dataclasses.replace(found, **expected)
    assert from_measurement(stored) == found


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_products_that_are_not_finite(method: str) -> None:
    found = hessian_trace(Dense(torch.full((5, 5), math.inf)), method=method)
    assert (found.status, found.num_hvps) == (Status.NOT_FINITE, 1)
    assert math.isnan(found.value)
    assert math.isnan(found.frobenius)
    assert math.isnan(found.frobenius_standard_error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tol": 0.0}, "tol must be a finite number > 0"),
        ({"tol": math.nan}, "tol must be a finite number > 0.* got nan"),
        ({"min_probes": 1}, "2 <= min_probes <= max_hvps must hold, got min_probes=1"),
        ({"max_hvps": 5}, "got min_probes=10, max_hvps=5"),
        ({"method": "hutch++"}, r"method must be one of hutchinson, xtrace, got 'hutch\+\+'"),
        ({"method": math.nan}, "method must be one of hutchinson, xtrace, got nan"),
        ({"method": "xtrace", "min_probes": 2, "max_hvps": 3}, "max_hvps >= 4, got 3"),
    ],
)
def test_misuse_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hessian_trace(with_spectrum([1.0, 2.0]), **options)
