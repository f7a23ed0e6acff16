"""What is kept between steps, and the directions of the random projection.

Buffers in use are in `test_perturbation.py` (memory, models that are cast) and in `test_shards.py` (parts of weights).
"""

from __future__ import annotations

import copy

import pytest
import torch

from gcsam import GCSAM
from gcsam.centralize import module_dims, random_directions
from tests.gcsam.small import backward_of, epsilon, network

SGD = torch.optim.SGD


def directions(model, **options):
    """Return the unit vectors an optimizer uses, where it uses some."""
    optimizer = GCSAM.from_model(model, SGD, lr=0.1, projection="random", **options)
    rows = next(optimizer._workspace.rows(optimizer.param_groups))
    return [None if row is None else row.directions for row in rows]


def test_the_seed_and_the_place_of_a_parameter_decide():
    """The rule is public, so that an analysis can use the same directions."""
    model = network()
    axes = list(module_dims(model).values())
    for place, (parameter, found) in enumerate(
        zip(model.parameters(), directions(model, projection_seed=5), strict=True)
    ):
        if not axes[place]:
            assert found is None
            continue
        generator = torch.Generator().manual_seed(5 * 1_000_003 + place)
        assert torch.equal(found, random_directions(parameter.shape, axes[place], generator))
    other = directions(model, projection_seed=6)
    assert not torch.equal(other[0], directions(model, projection_seed=5)[0])


def test_directions_stay_the_same_from_step_to_step_and_after_loading():
    model, other = network(), network()
    optimizer = GCSAM.from_model(model, SGD, lr=0.1, projection="random", projection_seed=5)
    fresh = GCSAM.from_model(other, SGD, lr=0.1, projection="random")
    first = epsilon(optimizer, model)
    assert all(torch.equal(a, b) for a, b in zip(first, epsilon(optimizer, model), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, epsilon(fresh, other), strict=True))
    fresh.load_state_dict(optimizer.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(first, epsilon(fresh, other), strict=True))
    twin, copied = copy.deepcopy((model, optimizer))
    assert all(torch.equal(a, b) for a, b in zip(first, epsilon(copied, twin), strict=True))


def test_half_precision_weights_have_directions_in_float32():
    """A unit vector rounded to bfloat16 has a length off by up to 4e-3, and removing along it is no projection."""
    model = network(torch.bfloat16)
    assert {found.dtype for found in directions(model) if found is not None} == {torch.float32}


def test_the_callers_random_state_is_left_alone():
    before = torch.get_rng_state()
    model = network()
    optimizer = GCSAM.from_model(model, SGD, lr=0.1, projection="random")
    optimizer.step(backward_of(model))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None])
def test_a_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=r"projection_seed must be a whole number from 0 to 2\*\*32 - 1, got "):
        GCSAM(network().parameters(), SGD, lr=0.1, projection_seed=seed)


def test_an_unknown_projection():
    with pytest.raises(ValueError, match=r"projection must be 'mean' .* or 'random' \(its control\), got 'median'"):
        GCSAM(network().parameters(), SGD, lr=0.1, projection="median")
