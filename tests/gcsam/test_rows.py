"""P on one tensor: whole rows here; rows that are cut over processes are in `test_shards.py`.

The oracle multiplies each row by its matrix, I - uu^T (`tests/oracles/gcsam_twin.py`).
"""

from __future__ import annotations

import pytest
import torch

from gcsam.centralize import random_directions
from gcsam.rows import Rows, project
from tests.oracles.gcsam_twin import project as by_matrix

CASES = [((3, 4), (1,)), ((2, 3, 2, 2), (1, 2, 3)), ((4, 2, 3, 3), (0, 2, 3)), ((5, 7, 3), (2,))]


@pytest.mark.parametrize("is_random", [False, True])
@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_each_row_loses_its_component_and_the_norm_of_it_is_told(shape, axes, is_random):
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(shape, dtype=torch.float64, generator=generator)
    units = random_directions(shape, axes, generator) if is_random else None
    length = 1
    for axis in axes:
        length *= shape[axis]
    out = torch.empty_like(gradient)
    removed = project(gradient, Rows(axes, length, (), units), out)
    expected = by_matrix(gradient, axes, units)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-14)  # a row sums at most 36 numbers below 4
    share = removed.factor * float(removed.tensor.norm())
    assert share == pytest.approx(float((gradient - expected).norm()), rel=1e-12)


@pytest.mark.parametrize("is_random", [False, True])
def test_the_result_may_take_the_place_of_the_source(is_random):
    gradient = torch.arange(6.0).reshape(2, 3)
    units = random_directions((2, 3), (1,), torch.Generator().manual_seed(0)).float() if is_random else None
    apart, within = torch.empty_like(gradient), gradient.clone()
    project(gradient, Rows((1,), 3, (), units), apart)
    project(within, Rows((1,), 3, (), units), within)
    assert torch.equal(apart, within)
    assert torch.equal(gradient, torch.arange(6.0).reshape(2, 3))
