"""Estimates from inner products, on Gaussian gradients of known moments: unbiased, and with the right errors.

No network here: what leads from a batch to its inner products is met in `test_minibatch.py`.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from analysis.noise.agreement import estimates
from analysis.noise.batch_products import Products
from analysis.noise.control import projected
from tests.compare import assert_close

SHAPE = (4, 6)
DIRECTIONS = torch.nn.functional.normalize(torch.arange(24.0, dtype=torch.float64).sin().view(SHAPE), dim=1)
MEAN = torch.linspace(-1, 2, 24, dtype=torch.float64).view(SHAPE)
SIZE = 8


def products_of(gradients: Tensor, descent: Tensor | None = None) -> Products:
    """Return the products of gradients [M, 4, 6], in two layers of two rows; descents are the gradients themselves."""
    kinds = projected(gradients, (1,), DIRECTIONS)
    layers = [torch.stack([kept[:, :2], kept[:, 2:]]).flatten(2) for kept in kinds]  # [L, M, n]
    flat = torch.stack([kept.flatten(1) for kept in kinds])
    signs = torch.stack([flat.sign() @ flat.sign().mT, flat.sign().abs() @ flat.sign().abs().mT])
    m = len(gradients)
    return Products(
        torch.stack([layer @ layer.mT for layer in layers]),
        signs,
        flat @ flat.mT if descent is None else descent,
        ~torch.eye(m, dtype=torch.bool),
    )


def test_estimates_are_unbiased_and_their_errors_right() -> None:
    """800 data sets of 16 batches; z = 4 for the mean, 10 % for the error, which is known to 3 %."""
    generator = torch.Generator().manual_seed(1)
    scale = torch.linspace(0.5, 2, 24, dtype=torch.float64).view(SHAPE)
    draws = MEAN + scale / math.sqrt(SIZE) * torch.randn(800, 16, *SHAPE, dtype=torch.float64, generator=generator)
    found = [estimates([products_of(gradients)], SIZE) for gradients in draws]

    centered, random = (torch.eye(24, dtype=torch.float64).view(24, *SHAPE) for _ in range(2))
    _, centered, random = projected(centered, (1,), DIRECTIONS)
    matrices = [torch.eye(24, dtype=torch.float64), centered.flatten(1), random.flatten(1)]
    covariance = scale.square().flatten().diag()
    traces = torch.stack([(p @ covariance @ p).trace() for p in matrices])
    signals = torch.stack([(p @ MEAN.flatten()).square().sum() for p in matrices])
    truth = {"variance": traces / SIZE, "signal": signals}

    for name in found[0]:
        values = torch.stack([one[name].value for one in found])
        errors = torch.stack([one[name].standard_error for one in found])
        spread = values.std(0)
        assert_close(errors.square().mean(0).sqrt() / spread, torch.ones_like(spread), absolute=0.1)
        if name in truth:
            assert_close((values.mean(0) - truth[name]) / (spread / math.sqrt(len(draws))), [0.0] * 3, absolute=4.0)


def test_the_noise_scale_is_a_ratio_of_means() -> None:
    """Fails if the ratio is taken pair by pair."""
    generator = torch.Generator().manual_seed(4)
    found = estimates([products_of(MEAN + torch.randn(9, *SHAPE, dtype=torch.float64, generator=generator))], SIZE)
    assert_close(found["noise_scale"].value, SIZE * found["variance"].value / found["signal"].value, relative=1e-14)


def test_the_error_of_a_difference_knows_that_the_batches_are_the_same() -> None:
    """Fails if the two errors are added as if the kinds had batches of their own."""
    generator = torch.Generator().manual_seed(2)
    gradients = 0.5 + torch.randn(16, *SHAPE, dtype=torch.float64, generator=generator)
    found = estimates([products_of(gradients)], SIZE)
    values, errors = found["cosine"]
    gains, gain_errors = found["cosine_gain"]
    differences = [values[1] - values[0], values[2] - values[0], values[1] - values[2]]
    assert_close(gains, torch.stack(differences), absolute=1e-14)
    assert float(gain_errors[1]) < 0.7 * float(errors[0].hypot(errors[2]))


def test_batches_without_a_gradient_agree_with_none() -> None:
    gradients = torch.ones(4, *SHAPE, dtype=torch.float64)
    gradients[0] = 0
    gradients[:, 2:] = 0  # the second layer never has one
    gradients[:, :2, ::2] = 2
    gradients[0] = 0
    found = estimates([products_of(gradients)], SIZE)
    assert_close(found["cosine"].value, [0.5] * 3, absolute=1e-14)  # of six pairs three have batch 0
    assert_close(found["layer_cosine"].value[0], [0.5, math.nan], absolute=1e-14)
    assert float(found["sign_agreement"].value[0]) == pytest.approx(0.75)  # 1 where compared, else 1/2


def test_equal_signs_are_counted_where_both_have_one() -> None:
    gradients = torch.zeros(2, *SHAPE, dtype=torch.float64)
    gradients[0, 0] = torch.tensor([1.0, 1.0, -1.0, 1.0, 0.0, 0.0])
    gradients[1, 0] = torch.tensor([2.0, 3.0, -4.0, -1.0, 1.0, 0.0])
    assert float(estimates([products_of(gradients)], SIZE)["sign_agreement"].value[0]) == 0.75


def test_an_open_noise_scale_has_no_error() -> None:
    row = torch.arange(24, dtype=torch.float64).view(1, *SHAPE)
    gradients = torch.cat([row, -row, row, -row])
    value, error = estimates([products_of(gradients)], SIZE)["noise_scale"]
    assert value.tolist() == [math.inf] * 3
    assert bool(error.isnan().all())
