"""Answers about linear layers and convolutions against the gradients that plain autograd forms, in float64.

Blind to wrong gradients of the layers (`test_factors.py`); every way is forced here.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis.noise import factors as layers
from analysis.noise.factored import of_factors
from analysis.noise.factors import LinearFactors
from analysis.noise.scalars import KINDS, Target, of_gradients
from gcsam.centralize import module_dims, random_directions
from tests.analysis.noise.test_factors import LAYERS, RELATIVE, drawn
from tests.compare import assert_close


def asked(module: nn.Module) -> Target:
    shape, dims = module.weight.shape, module_dims(module)["weight"]
    control = random_directions(shape, dims, torch.Generator().manual_seed(3)) if dims else None
    return Target(shape, dims, KINDS, control, torch.randn(shape, dtype=torch.float64))


@pytest.mark.parametrize("way", ["gram", "product"])
@pytest.mark.parametrize("name", LAYERS)
def test_answers_are_those_of_the_gradients(name: str, way: str) -> None:
    module, factors, expected = drawn(name)
    target = asked(module)
    factors.is_gram_close = False  # or it would be taken
    factors.way, factors.piece = way, 2  # 2 + 2 + 1 samples
    assert_close(of_factors(factors, 5, target), of_gradients(expected, target), relative=RELATIVE)
    chained = target._replace(previous=torch.randn_like(module.weight).detach())
    assert_close(of_factors(factors, 5, chained), of_gradients(expected, chained), relative=RELATIVE)
    deviating = chained._replace(is_centered=True)
    # differences of numbers of the size of the raw ones
    size = float(expected.square().sum()) + float(target.along.square().sum())
    assert_close(of_factors(factors, 5, deviating), of_gradients(expected, deviating), absolute=10 * RELATIVE * size)
    assert factors.way == way


def test_noise_that_the_gram_form_would_lose_in_rounding_is_formed() -> None:
    """Samples that differ by a millionth: ||g||^2 - 2 <g, G> + ||G||^2 has no digit left in float32."""
    torch.manual_seed(0)
    inputs = torch.ones(4, 1, 64) + 1e-6 * torch.randn(4, 1, 64)
    slopes = torch.ones(4, 1, 64)
    factors, exact = LinearFactors(inputs, slopes), LinearFactors(inputs.double(), slopes.double())
    assert factors.way == "gram"
    mean = exact.gradients(0, 4).mean(0)
    target = Target(mean.shape, (1,), ("raw",), None, mean.float(), torch.zeros_like(mean).float(), is_centered=True)
    found = of_factors(factors, 4, target)
    assert factors.way == "product"
    deviations = exact.gradients(0, 4) - mean
    # the inputs are rounded to 6e-8 of themselves, a twentieth of their differences
    assert_close(found[0, 0], deviations.square().sum((1, 2)), relative=0.2)


def test_clear_noise_stays_with_the_gram_form() -> None:
    inputs, slopes = torch.randn(4, 1, 64), torch.ones(4, 1, 64)
    factors = LinearFactors(inputs, slopes)
    mean = factors.gradients(0, 4).mean(0)
    of_factors(factors, 4, Target(mean.shape, (1,), KINDS, None, mean, torch.zeros_like(mean), is_centered=True))
    assert factors.way == "gram"


@pytest.mark.parametrize("way", ["gram", "product", "grouped"])
def test_no_more_is_held_at_once_than_the_limit(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a whole batch is unfolded or formed: 120 numbers are a piece of one or two of the 5 samples."""
    monkeypatch.setattr(layers, "PIECE_NUMBERS", 120)
    if way == "grouped":
        monkeypatch.setattr(layers, "GROUPED_FROM", 1)
    monkeypatch.setattr(layers, "_is_gram_cheaper", lambda *sizes: way == "gram")
    module, factors, _ = drawn("2d")
    assert factors.way == way
    held: list[int] = []
    for name in ("squares", "gradients"):
        true = getattr(factors, name)
        monkeypatch.setattr(factors, name, lambda i, j, true=true: (held.append(j - i), true(i, j))[1])
    of_factors(factors, 5, Target(module.weight.shape, (1, 2, 3)))
    assert sum(held) == 5
    assert max(held) == (2 if way == "grouped" else 1)  # 54 weights; 540 numbers unfolded


def test_the_gram_form_is_taken_for_norms_alone_where_it_is_close() -> None:
    """64 positions, 64 channels of 3 x 3: a ninth more multiplications, and it writes less."""
    module = nn.Conv2d(64, 64, 3, padding=1)
    inputs, slopes = torch.randn(2, 64, 8, 8), torch.randn(2, 64, 8, 8)
    norms = Target(module.weight.shape, (1, 2, 3), ("centralized",))
    further = norms._replace(along=torch.randn(module.weight.shape))
    ways, found = [], []
    for target in (norms, further):
        factors = layers.ConvolutionFactors(module, inputs, slopes)
        found.append(of_factors(factors, 2, target)[:2, 0])
        ways.append(factors.way)
    assert ways == ["gram", "product"]
    assert_close(found[0], found[1], relative=1e-4)  # a thousand roundings of float32
