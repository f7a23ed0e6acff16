"""Linear layers and convolutions of every geometry against plain autograd, one sample at a time, in float64.

Blind to the choice of the way, but for one test; every way is forced here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from analysis.noise import factors as layers
from analysis.noise.factors import ConvolutionFactors, Factors, LinearFactors
from gcsam.centralize import module_dims
from tests.compare import assert_close

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 3), (4,)),
    "linear, tokens": (lambda: nn.Linear(4, 3), (5, 4)),
    "linear, image of tokens": (lambda: nn.Linear(4, 3), (2, 3, 4)),
    "1d": (lambda: nn.Conv1d(2, 3, 3), (2, 9)),
    "1d, same, dilated": (lambda: nn.Conv1d(2, 3, 4, padding="same", dilation=2), (2, 9)),
    "2d": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 5, 6)),
    "2d, 1x1 strided": (lambda: nn.Conv2d(2, 3, 1, stride=2), (2, 5, 6)),
    "2d, strided": (lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 3), padding=(1, 0)), (2, 6, 7)),
    "2d, dilated": (lambda: nn.Conv2d(2, 3, 3, dilation=(2, 1), padding=2), (2, 7, 6)),
    "2d, grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 4)),
    "2d, depthwise": (lambda: nn.Conv2d(3, 6, 3, groups=3), (3, 5, 5)),
    "2d, circular": (lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="circular"), (2, 5, 6)),
    "2d, reflect, strided": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, padding_mode="reflect"), (2, 6, 6)),
    "3d": (lambda: nn.Conv3d(2, 3, 2, stride=(1, 2, 1), padding=1), (2, 3, 4, 3)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(2, 3, 3), (2, 5)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), (2, 3, 4)),
    "transposed, depthwise": (lambda: nn.ConvTranspose2d(3, 6, 2, groups=3, stride=2), (3, 3, 2)),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(4, 6, 2, groups=2), (4, 3, 2)),
    "transposed, dilated": (lambda: nn.ConvTranspose1d(2, 3, 3, dilation=3, output_padding=2), (2, 4)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2), (2, 2, 3, 2)),
}
# sums of up to a few hundred products of order one
RELATIVE = 1e-12


WAYS = ("product", "grouped")
LEFT_OUT = ("transposed, dilated", "grouped")  # its output is longer than a plain convolution's input could be


def drawn(name: str) -> tuple[nn.Module, Factors, Tensor]:
    """Return a layer, its factors and its per-sample gradients [5, *shape]."""
    build, shape = LAYERS[name]
    torch.manual_seed(0)
    module = build().double()
    inputs = torch.randn(5, *shape, dtype=torch.float64)
    slopes = torch.randn_like(module(inputs)).detach()
    rows = []
    for i in range(5):
        loss = (module(inputs[i : i + 1]) * slopes[i : i + 1]).sum()
        rows.append(torch.autograd.grad(loss, module.weight)[0])
    factors = LinearFactors(inputs, slopes) if name.startswith("linear") else ConvolutionFactors(module, inputs, slopes)
    return module, factors, torch.stack(rows)


@pytest.mark.parametrize("name", LAYERS)
def test_squares_and_neighbors_by_the_gram_form(name: str) -> None:
    _, factors, expected = drawn(name)
    assert_close(factors.squares(0, 5), expected.flatten(1).square().sum(1), relative=RELATIVE)
    assert_close(factors.squares(1, 3), expected[1:3].flatten(1).square().sum(1), relative=RELATIVE)
    products = (expected[1:] * expected[:-1]).flatten(1).sum(1)
    assert_close(factors.neighbors(1, 5), products, relative=RELATIVE)
    assert_close(factors.neighbors(2, 4), products[1:3], relative=RELATIVE)
    assert factors.neighbors(1, 1).shape == (0,)


@pytest.mark.parametrize(("name", "way"), [(name, way) for name in LAYERS for way in WAYS if (name, way) != LEFT_OUT])
def test_gradients_that_are_formed(name: str, way: str) -> None:
    _, factors, expected = drawn(name)
    factors.way = way
    assert_close(factors.gradients(0, 5), expected, relative=RELATIVE)
    assert_close(factors.gradients(2, 4), expected[2:4], relative=RELATIVE)


@pytest.mark.parametrize("name", LAYERS)
def test_sums_over_rows(name: str) -> None:
    module, factors, expected = drawn(name)
    dims = module_dims(module)["weight"]
    vector = torch.randn(module.weight.shape, dtype=torch.float64)
    if dims:
        axes = tuple(axis + 1 for axis in dims)
        assert_close(factors.rows(vector), (expected * vector).sum(axes).flatten(1), relative=RELATIVE)
        assert_close(factors.rows(vector, 2), (expected[:2] * vector).sum(axes).flatten(1), relative=RELATIVE)
        assert_close(factors.row_sums(), expected.sum(axes).flatten(1), relative=RELATIVE)
    else:  # the groups of a transposed convolution: no axes are rows, but the total is
        assert_close(factors.rows(vector).sum(1), (expected * vector).flatten(1).sum(1), relative=RELATIVE)


def test_where_the_grouped_convolution_has_another_shape_it_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "GROUPED_FROM", 1)
    monkeypatch.setattr(layers, "_is_gram_cheaper", lambda *sizes: False)
    assert [drawn(name)[1].way for name in (LEFT_OUT[0], "transposed")] == ["product", "grouped"]


def test_the_cheapest_way_is_chosen_by_shape() -> None:
    """Few positions and much fan-in: Gram; many positions: no unfolding; else the product."""

    def way(channels: int, size: int) -> str:
        module = nn.Conv2d(channels, channels, 3, padding=1)
        inputs = torch.zeros(1, channels, size, size)
        return ConvolutionFactors(module, inputs, inputs).way

    assert [way(512, 4), way(64, 32), way(64, 8)] == ["gram", "grouped", "product"]
    tokens = torch.zeros(1, 3, 64)
    assert LinearFactors(tokens, tokens).way == "gram"
    tokens = torch.zeros(1, 50, 64)
    assert LinearFactors(tokens, tokens).way == "product"
