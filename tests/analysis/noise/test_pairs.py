"""Means over pairs against a loop over all pairs of pairs, and their standard errors against resampled data."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from analysis.noise.pairs import pair_mean
from tests.compare import assert_close


def design(*tiles: int) -> Tensor:
    """Return is_pair for batches compared within tiles of the given sizes."""
    tile = torch.repeat_interleave(torch.arange(len(tiles)), torch.tensor(tiles))
    return (tile[:, None] == tile) & ~torch.eye(len(tile), dtype=torch.bool)


def by_loop(values: Tensor, is_pair: Tensor) -> tuple[float, float]:
    """Return mean and standard error of k [M, M], from products of the deviations of pairs without a common batch."""
    pairs = [(i, j) for i, j in itertools.combinations(range(len(values)), 2) if is_pair[i, j]]
    mean = sum(float(values[pair]) for pair in pairs) / len(pairs)
    products = [
        (float(values[one]) - mean) * (float(values[other]) - mean)
        for one, other in itertools.permutations(pairs, 2)
        if not set(one) & set(other)
    ]
    least = sum((float(values[pair]) - mean) ** 2 for pair in pairs) / len(pairs) ** 2
    if not products:
        return mean, math.nan
    return mean, math.sqrt(max(-sum(products) / len(products), least))


def cosines(gradients: Tensor) -> Tensor:
    unit = gradients / gradients.norm(dim=-1, keepdim=True)
    return unit @ unit.mT


@pytest.mark.parametrize("tiles", [(7,), (4,), (2, 2, 2), (4, 3), (3, 2, 1)], ids=str)
def test_mean_and_error_are_those_of_a_loop_over_pairs(tiles: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(sum(tiles))
    is_pair = design(*tiles)
    values = cosines(torch.randn(2, len(is_pair), 5, dtype=torch.float64, generator=generator) + 0.3)
    found = pair_mean(values[None], is_pair)
    expected = [by_loop(value, is_pair) for value in values]
    assert_close(torch.stack(found, -1), expected, relative=1e-11)


@pytest.mark.parametrize("tiles", [(2,), (3,), (2, 1)], ids=str)
def test_fewer_than_four_batches_have_no_error(tiles: tuple[int, ...]) -> None:
    found = pair_mean(torch.ones(1, sum(tiles), sum(tiles), dtype=torch.float64), design(*tiles))
    assert float(found.value) == 1.0
    assert math.isnan(float(found.standard_error))


def test_what_is_no_pair_is_not_read() -> None:
    is_pair = design(2, 2)
    values = torch.where(is_pair, 3.0, torch.nan).double()[None]
    assert pair_mean(values, is_pair) == (3.0, 0.0)


def resampled(tiles: tuple[int, ...], signal: float) -> float:
    """Return claimed over true error of a mean cosine, over 5,000 data sets: true to 1 %."""
    generator = torch.Generator().manual_seed(7)
    gradients = torch.randn(5000, 16, 12, dtype=torch.float64, generator=generator)
    gradients[..., 0] = 2 * gradients[..., 0] + signal
    found = pair_mean(cosines(gradients)[None], design(*tiles))
    return float(found.standard_error.square().mean().sqrt() / found.value.std())


DESIGNS = pytest.mark.parametrize("tiles", [(16,), (4,) * 4, (2,) * 8], ids=["all", "fours", "twos"])


@pytest.mark.parametrize("signal", [1.0, 3.0])
@DESIGNS
def test_the_error_is_the_spread_over_resampled_data(tiles: tuple[int, ...], signal: float) -> None:
    """Fails where pairs that share a batch count as independent: all pairs at signal 3 then have a third of it."""
    assert resampled(tiles, signal) == pytest.approx(1.0, abs=0.1)


@DESIGNS
def test_without_a_signal_the_error_is_at_most_a_quarter_too_large(tiles: tuple[int, ...]) -> None:
    """Fails for the jackknife, which counts what two batches owe to each other twice: sqrt(2) times too large."""
    assert 0.98 < resampled(tiles, 0.0) < 1.25


def test_the_error_of_several_cuts_is_their_spread_over_seeds() -> None:
    """The data stay as they are; 2,000 seeds of 16 cuts into four batches of three."""
    generator = torch.Generator().manual_seed(3)
    samples = torch.randn(12, 6, dtype=torch.float64, generator=generator) + 0.5
    orders = torch.rand(16, 2000, 12, generator=generator).argsort(-1)
    batches = samples[orders].unflatten(2, (4, 3)).mean(3)  # [C, seed, M, D]
    found = pair_mean(cosines(batches), design(4))
    claimed = float(found.standard_error.square().mean().sqrt())
    assert claimed / float(found.value.std()) == pytest.approx(1.0, abs=0.1)
