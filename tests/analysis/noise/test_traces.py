"""Estimates of tr(M Sigma) and tr(Sigma^2) over many seeds on small dense matrices, with heavy tails."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from analysis.noise.traces import Uncertain, draw, quotient, root, squared_trace, traces_with
from tests.compare import assert_close

N, D, SEEDS = 40, 6, 4000


class Matrix:
    """A dense symmetric matrix as an operator."""

    device, dtype = torch.device("cpu"), torch.float64

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.num_parameters, self.products = matrix, len(matrix), 0

    def hvp(self, vector: Tensor) -> Tensor:
        self.products += 1
        return self.matrix @ vector


@pytest.fixture(scope="module")
def deviations() -> Tensor:
    """Norms over two decades, as in a trained network, and a mean of zero."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-1, 1, N, dtype=torch.float64)[torch.randperm(N, generator=generator), None]
    e = scale * torch.randn(N, D, dtype=torch.float64, generator=generator)
    return e - e.mean(0)


@pytest.fixture(scope="module")
def matrices() -> list[Matrix]:
    """One that is positive, one with both signs."""
    a, b = torch.randn(2, D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return [Matrix(a @ a.T), Matrix(b + b.T)]


def nothing(*_: object) -> None:
    return None


def over_seeds(one: Callable[[int], list[Uncertain]]) -> tuple[Tensor, Tensor]:
    """Return values and standard errors, [seed, quantity]."""
    table = torch.tensor([one(seed) for seed in range(SEEDS)], dtype=torch.float64)
    return table[..., 0], table[..., 1]


def assert_honest(values: Tensor, errors: Tensor, truth: Tensor) -> None:
    """Unbiased within 4 standard errors; claimed variances right within 10 %, where chance allows about 4 % for SEEDS.

    A standard deviation of the variance of 4000 values is 2 to 3 % for tails like these.
    """
    spread = values.std(0)
    assert bool(((values.mean(0) - truth).abs() < 4 * spread / math.sqrt(SEEDS)).all())
    assert_close(errors.square().mean(0).sqrt() / spread, torch.ones(len(truth)), absolute=0.1)


@pytest.mark.parametrize("draws", [2, 12])
def test_draws_in_proportion_are_unbiased_and_know_their_error(
    deviations: Tensor, matrices: list[Matrix], draws: int
) -> None:
    """Fails with equal chances or weights, with the variance of one draw, and with a correction for N."""
    squares = deviations.square().sum(1)
    sigma = torch.cov(deviations.T)

    def one(seed: int) -> list[Uncertain]:
        times = draw(squares, draws, seed)
        chosen = [(i, deviations[i]) for i in times.nonzero().flatten().tolist()]
        return traces_with(matrices, chosen, times, squares, nothing)

    truth = torch.stack([(m.matrix @ sigma).trace() for m in matrices])
    assert_honest(*over_seeds(one), truth)


def test_with_as_many_draws_as_samples_the_trace_is_exact(deviations: Tensor, matrices: list[Matrix]) -> None:
    squares = deviations.square().sum(1)
    times = draw(squares, N, 0)
    assert times.tolist() == [1] * N
    found = traces_with(matrices, enumerate(deviations), times, squares, nothing)
    sigma = torch.cov(deviations.T)
    for estimate, m in zip(found, matrices, strict=True):
        assert estimate.value == pytest.approx(float((m.matrix @ sigma).trace()), rel=1e-12)
        assert estimate.standard_error == 0.0


def test_a_sample_drawn_twice_is_computed_once(deviations: Tensor) -> None:
    squares = torch.zeros(N, dtype=torch.float64)
    squares[[3, 7]] = torch.tensor([1e6, 1.0], dtype=torch.float64)
    times = draw(squares, 10, 0)
    assert times.sum() == 10
    assert times.nonzero().flatten().tolist() == [3]  # the chance of the other is 1e-5; no chance, no draw
    seen: list[int] = []

    def chosen() -> Iterator[tuple[int, Tensor]]:
        seen.append(3)
        yield 3, deviations[3]

    matrix = Matrix(torch.eye(D, dtype=torch.float64))
    traces_with([matrix], chosen(), times, squares, nothing)
    assert (seen, matrix.products) == ([3], 1)


def test_seeds_draw_alike_and_apart() -> None:
    squares = torch.arange(1.0, 41.0, dtype=torch.float64)
    assert torch.equal(draw(squares, 9, 4), draw(squares, 9, 4))
    assert not torch.equal(draw(squares, 9, 4), draw(squares, 9, 5))


@pytest.mark.parametrize("known", [0, 2, 6])
def test_the_squared_trace_is_unbiased_and_knows_its_error(deviations: Tensor, known: int) -> None:
    """Fails if what the known vectors hold is counted twice or not at all. They need not be eigenvectors."""
    sigma = torch.cov(deviations.T)
    rows = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))[0][
        :known
    ]
    lengths = (rows @ sigma).square().sum(1)
    truth = (sigma @ sigma).trace()[None]
    if known == D:
        found = squared_trace(Matrix(sigma), rows, lengths, 2, 0, nothing)
        assert found.value == pytest.approx(float(truth), rel=1e-12)
        assert found.standard_error <= 1e-12 * found.value
        return
    values, errors = over_seeds(lambda seed: [squared_trace(Matrix(sigma), rows, lengths, 6, seed, nothing)])
    assert_honest(values, errors, truth)


def test_errors_of_quotients_and_roots_are_those_of_resampled_ones() -> None:
    """20,000 Gaussian draws of small relative error: the first order is right to 1 %, the spread to 2 %."""
    generator = torch.Generator().manual_seed(0)
    numbers = (Uncertain(3.0, 0.06), Uncertain(2.0, 0.02), Uncertain(5.0, 0.05))
    top, *bottoms = (n.value + n.standard_error * torch.randn(20_000, generator=generator) for n in numbers)
    found = quotient(*numbers, factor=7.0)
    assert found.value == pytest.approx(2.1)
    assert found.standard_error == pytest.approx(float((7 * top / bottoms[0] / bottoms[1]).std()), rel=0.03)
    assert root(numbers[2]) == pytest.approx((math.sqrt(5), float(bottoms[1].sqrt().std())), rel=0.03)
    assert quotient(Uncertain(-3.0, 0.06), *numbers[1:]).standard_error > 0


def test_over_nothing_there_is_no_quotient() -> None:
    for bottom in (0.0, -1.0, math.nan):
        found = quotient(Uncertain(1.0, 0.1), Uncertain(bottom, 0.1))
        assert math.isnan(found.value)
        assert math.isnan(found.standard_error)
    assert root(Uncertain(0.0, 0.0)) == (0.0, 0.0)
