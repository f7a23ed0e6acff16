"""Which measures change when a ReLU network is rescaled without changing its function: one table.

The first of two layers times 10, its bias included, the second divided by 10: relu(10 a) / 10 = relu(a).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from analysis import (
    Objective,
    critical_sharpness,
    fisher_rao_norm,
    hessian_eigenvalues,
    hessian_trace,
    pac_bayes_sigma,
    relative_flatness,
    sharpness,
)

MEASURES: dict[str, Callable[[Objective], float]] = {
    "worst, L2": lambda o: sharpness(o, 0.1).value,
    "worst, L-infinity": lambda o: sharpness(o, 0.02, norm="linf").value,
    "average": lambda o: sharpness(o, 0.1, "average").value,
    "lambda_max": lambda o: float(hessian_eigenvalues(o, k=1).values[0]),
    "trace": lambda o: hessian_trace(o).value,
    "norm of w": lambda o: float(o.weights().norm()),
    "critical sharpness": lambda o: critical_sharpness(o).value,
    "PAC-Bayes sigma": lambda o: pac_bayes_sigma(o, samples=10).value,
    "worst, L2, adaptive": lambda o: sharpness(o, 0.1, adaptive=True).value,
    "worst, L-infinity, adaptive": lambda o: sharpness(o, 0.02, adaptive=True, norm="linf").value,
    "average, adaptive": lambda o: sharpness(o, 0.1, "average", adaptive=True).value,
    "PAC-Bayes sigma, adaptive": lambda o: pac_bayes_sigma(o, adaptive=True, samples=10).value,
    "relative flatness": lambda o: float(relative_flatness(o).value),
    "Fisher-Rao norm": lambda o: fisher_rao_norm(o).value,
}
INVARIANT = list(MEASURES)[8:]


def network(factor: float) -> Objective:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
        model[0].weight *= factor
        model[0].bias *= factor
        model[2].weight /= factor
    x = torch.randn(20, 4, dtype=torch.float64, generator=generator)
    return Objective(model, nn.CrossEntropyLoss(), (x, torch.randint(3, (20,), generator=generator)))


@pytest.mark.parametrize("name", MEASURES)
def test_what_changes_when_a_relu_network_is_rescaled(name: str) -> None:
    """Invariant to 1e-6: rounding, along at most 20 steps of an ascent; the others change by a quarter at least."""
    before, after = (MEASURES[name](network(factor)) for factor in (1.0, 10.0))
    if name in INVARIANT:
        assert after == pytest.approx(before, rel=1e-6)
        assert before != 0
    else:
        assert abs(after / before - 1) > 0.25


def test_the_function_is_the_same() -> None:
    assert network(10.0).loss() == pytest.approx(network(1.0).loss(), rel=1e-14)
