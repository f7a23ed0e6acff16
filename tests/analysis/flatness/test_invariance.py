"""Which measures change when a ReLU network is rescaled without changing its function: one table.

Two ways to rescale it, since relu(a z) / a = relu(z) for any a > 0: the first of two layers times 10, its bias
included, and the second divided by 10; or each unit of the hidden layer by a factor of its own, from 0.1 to 10.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from analysis import (
    Objective,
    critical_sharpness,
    fisher_rao_norm,
    hessian_eigenvalues,
    hessian_trace,
    pac_bayes_sigma,
    relative_flatness,
    sharpness,
    weight_norm,
)

MEASURES: dict[str, Callable[[Objective], float]] = {
    "worst, L2": lambda o: sharpness(o, 0.1).value,
    "worst, L-infinity": lambda o: sharpness(o, 0.02, norm="linf").value,
    "average": lambda o: sharpness(o, 0.1, "average").value,
    "lambda_max": lambda o: float(hessian_eigenvalues(o, k=1).values[0]),
    "trace": lambda o: hessian_trace(o).value,
    "norm of w": lambda o: weight_norm(o).value,
    "critical sharpness": lambda o: critical_sharpness(o).value,
    "PAC-Bayes sigma": lambda o: pac_bayes_sigma(o, samples=10).value,
    "worst, L2, filters": lambda o: sharpness(o, 0.1, adaptive="filters").value,
    "worst, L-infinity, filters": lambda o: sharpness(o, 0.02, adaptive="filters", norm="linf").value,
    "average, filters": lambda o: sharpness(o, 0.1, "average", adaptive="filters").value,
    "PAC-Bayes sigma, filters": lambda o: pac_bayes_sigma(o, adaptive="filters", samples=10).value,
    "relative flatness": lambda o: float(relative_flatness(o).value),
    "worst, L2, weights": lambda o: sharpness(o, 0.1, adaptive=True).value,
    "worst, L-infinity, weights": lambda o: sharpness(o, 0.02, adaptive=True, norm="linf").value,
    "average, weights": lambda o: sharpness(o, 0.1, "average", adaptive=True).value,
    "PAC-Bayes sigma, weights": lambda o: pac_bayes_sigma(o, adaptive=True, samples=10).value,
    "Fisher-Rao norm": lambda o: fisher_rao_norm(o).value,
    "Fisher-Rao norm, model": lambda o: fisher_rao_norm(o, "model").value,
}
BY_UNIT = list(MEASURES)[13:]  # unchanged in both ways
BY_LAYER = list(MEASURES)[8:]

ONES = torch.ones(6, dtype=torch.float64)
WAYS = {"layers": 10 * ONES, "units": torch.logspace(-1, 1, 6, dtype=torch.float64)}


def network(factors: Tensor) -> Objective:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
        model[0].weight *= factors[:, None]
        model[0].bias *= factors
        model[2].weight /= factors
    x = torch.randn(20, 4, dtype=torch.float64, generator=generator)
    return Objective(model, nn.CrossEntropyLoss(), (x, torch.randint(3, (20,), generator=generator)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MEASURES)
def test_what_changes_when_a_relu_network_is_rescaled(name: str, way: str) -> None:
    """Invariant to 1e-6: rounding, along at most 20 steps of an ascent; the others change by a tenth at least."""
    before, after = (MEASURES[name](network(factors)) for factors in (ONES, WAYS[way]))
    if name in (BY_LAYER if way == "layers" else BY_UNIT):
        assert after == pytest.approx(before, rel=1e-6)
        assert before != 0
    else:
        assert abs(after / before - 1) > 0.1


@pytest.mark.parametrize("way", WAYS)
def test_the_function_is_the_same(way: str) -> None:
    assert network(WAYS[way]).loss() == pytest.approx(network(ONES).loss(), rel=1e-14)
