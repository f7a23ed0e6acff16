"""The random projection: as many dimensions at the same places as P removes, and nothing special about them."""

from __future__ import annotations

import pytest
import torch

from analysis.noise.control import control_directions
from gcsam.centralize import remove_component

SHAPES = {"conv": (6, 2, 3, 3), "bias": (6,), "linear": (4, 5), "embedding": (7, 3)}
DIMS = {"conv": (1, 2, 3), "bias": (), "linear": (1,), "embedding": (1,)}


def test_one_unit_vector_for_each_row_that_p_acts_on() -> None:
    found = control_directions(SHAPES, DIMS, seed=0)
    assert {name: tuple(direction.shape) for name, direction in found.items()} == {
        name: shape for name, shape in SHAPES.items() if DIMS[name]
    }
    for name, direction in found.items():
        norms = direction.square().sum(DIMS[name])
        torch.testing.assert_close(norms, torch.ones_like(norms), rtol=0, atol=1e-14)  # a few float64 roundings
        assert direction.dtype == torch.float64


def test_rows_and_seeds_have_directions_of_their_own() -> None:
    first, again, other = (control_directions(SHAPES, DIMS, seed)["linear"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float((first[0] @ first[1]).abs()) < 0.999


def test_the_callers_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    control_directions(SHAPES, DIMS, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["conv", "linear"])
def test_removing_is_an_orthogonal_projection_of_the_rank_of_p(name: str) -> None:
    """As a matrix: symmetric, idempotent, and it lacks one dimension for each row."""
    direction, dims = control_directions(SHAPES, DIMS, seed=0)[name], DIMS[name]
    size = direction.numel()
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *direction.shape)
    matrix = remove_component(basis, direction, [axis + 1 for axis in dims]).reshape(size, size)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-14)
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=1e-13)
    assert round(float(matrix.trace())) == size - direction.shape[0]


def test_isotropic_noise_loses_one_part_in_n() -> None:
    """Over 20,000 samples of 4 rows of 5: the share lost is 1/5, with a standard error of about 0.001."""
    noise = torch.randn(20_000, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    kept = remove_component(noise, control_directions(SHAPES, DIMS, seed=0)["linear"], (2,))
    lost = 1 - kept.square().sum((1, 2)) / noise.square().sum((1, 2))
    error = float(lost.std()) / len(lost) ** 0.5
    assert abs(float(lost.mean()) - 0.2) < 4 * error


def test_the_gradient_is_not_written_to() -> None:
    gradient = torch.ones(2, 4, 5, dtype=torch.float64)
    remove_component(gradient, control_directions(SHAPES, DIMS, seed=0)["linear"], (2,))
    assert torch.equal(gradient, torch.ones(2, 4, 5, dtype=torch.float64))
