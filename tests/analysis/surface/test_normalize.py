"""Norms of filters against slices taken by hand for each layer type; the axis rules themselves are tested elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from analysis import Objective
from analysis.surface.normalize import NORMALIZATIONS, blocks, cosine, orthogonalized, scaled, single_share
from tests.compare import assert_close

LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[Tensor], Iterable[Tensor]]]] = {
    "linear": (lambda: nn.Linear(4, 3), lambda w: [w[i] for i in range(3)]),
    "conv1d": (lambda: nn.Conv1d(2, 3, 4), lambda w: [w[i] for i in range(3)]),
    "conv2d": (lambda: nn.Conv2d(2, 3, 4), lambda w: [w[i] for i in range(3)]),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), lambda w: [w[i] for i in range(3)]),
    "transposed 2d": (lambda: nn.ConvTranspose2d(4, 3, 2), lambda w: [w[:, i] for i in range(3)]),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 3, 2), lambda w: [w[:, i] for i in range(3)]),
    "embedding": (lambda: nn.Embedding(5, 4), lambda w: [w[i] for i in range(5)]),
}


def objective_of(model: nn.Module) -> Objective:
    return Objective(model, nn.MSELoss(), (torch.zeros(1), torch.zeros(1)))  # never evaluated here


def drawn(objective: Objective, count: int = 2) -> Tensor:
    shape = (count, objective.num_parameters)
    return torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("name", LAYERS)
def test_each_filter_gets_the_norm_of_the_same_filter_of_the_weights(name: str) -> None:
    """Fails if tensors are scaled whole, or a transposed convolution along its input axis."""
    build, filters = LAYERS[name]
    model = build()
    weight = next(model.parameters())
    first = next(iter(filters(weight.data)))
    first.zero_()  # a filter of zeros: its direction must be zero and not NaN
    objective = objective_of(model)
    by = blocks(objective.layout, objective.row_dims, "filter")
    given = drawn(objective)
    found = scaled(given, objective.weights().double(), by)
    for direction, original in zip(found, given, strict=True):
        part, before = (objective.layout.split(vector)[objective.names[0]] for vector in (direction, original))
        for scaled_filter, of_weights, drawn_filter in zip(
            filters(part), filters(weight), filters(before), strict=True
        ):
            assert_close(scaled_filter.norm(), of_weights.detach().double().norm(), relative=1e-14)
            if of_weights.any():  # only the length changed
                assert_close(cosine(scaled_filter.flatten(), drawn_filter.flatten()), 1.0, absolute=1e-14)


def test_a_bias_is_one_block_and_keeps_its_direction() -> None:
    """Fails if each entry of a bias is a filter: the direction would be +-|b|."""
    objective = objective_of(nn.Linear(2, 5))
    found = scaled(
        drawn(objective), objective.weights().double(), blocks(objective.layout, objective.row_dims, "filter")
    )
    bias, given = found[0, -5:], drawn(objective)[0, -5:]
    assert_close(bias.norm(), objective.weights()[-5:].double().norm(), relative=1e-14)
    assert_close(cosine(bias, given), 1.0, absolute=1e-14)


@pytest.mark.parametrize("normalize", ["layer", "model"])
def test_layer_and_model(normalize: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    objective = objective_of(model)
    weights = objective.weights().double()
    found = scaled(drawn(objective), weights, blocks(objective.layout, objective.row_dims, normalize))
    for direction, given in zip(found, drawn(objective), strict=True):
        assert_close(direction.norm(), weights.norm(), relative=1e-14)
        tensors = [objective.layout.split(vector) for vector in (direction, weights, given)]
        ratios = [tensors[0][name].norm() / tensors[1][name].norm() for name in objective.names]
        assert (max(ratios) - min(ratios) < 1e-14) == (normalize == "layer")
        assert (cosine(direction, given) > 1 - 1e-14) == (normalize == "model")


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_orthogonal_vectors_stay_so_under_the_scaling(normalize: str) -> None:
    """Fails if whole vectors are made orthogonal before filters are scaled (cosines of 1e-2 here)."""
    model = nn.Sequential(nn.Linear(9, 7), nn.Conv2d(3, 4, 2), nn.ConvTranspose2d(3, 4, 2))
    for parameter in model.parameters():
        parameter.data *= torch.linspace(0.1, 3, parameter.numel()).view(parameter.shape)
    objective = objective_of(model)
    by = blocks(objective.layout, objective.row_dims, normalize)
    given = drawn(objective, 3)
    found = orthogonalized(given, by)
    assert torch.equal(found[0], given[0])  # a line has the direction of the plane with the same seed
    final = scaled(found, objective.weights().double(), by)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(cosine(final[i], final[j])) < 1e-15 * 10  # a few roundings of a sum of terms that cancel
        assert abs(cosine(given[i], given[j])) > 1e-3  # they were not orthogonal before
    assert single_share(final[0], final[1], by) == 0


def test_a_nearly_parallel_filter_is_made_orthogonal_too() -> None:
    """Fails if the subtraction is done once: its rounding error is then large beside what is left."""
    objective = objective_of(nn.Linear(8, 1, bias=False))
    first, noise = drawn(objective)
    by = blocks(objective.layout, objective.row_dims, "filter")
    found = orthogonalized(torch.stack([first, first + 1e-9 * noise]), by)
    assert abs(cosine(found[0], found[1])) < 1e-14


def test_filters_of_one_element_are_left_alone_and_their_share_bounds_the_cosine() -> None:
    objective = objective_of(nn.Sequential(nn.Linear(1, 6, bias=False), nn.Linear(4, 5, bias=False)))
    by = blocks(objective.layout, objective.row_dims, "filter")
    given = drawn(objective)
    found = orthogonalized(given, by)
    assert torch.equal(found[:, :6], given[:, :6])
    final = scaled(found, objective.weights().double(), by)
    weights = objective.weights().double()
    share = single_share(final[0], final[1], by)
    assert_close(share, weights[:6].square().sum() / weights.square().sum(), relative=1e-14)
    assert 0 < abs(cosine(final[0], final[1])) <= share


def test_a_direction_that_is_zero_in_a_filter_stays_zero_there() -> None:
    objective = objective_of(nn.Linear(3, 2, bias=False))
    given = torch.tensor([[1.0, 2, 3, 0, 0, 0]], dtype=torch.float64)
    found = scaled(given, objective.weights().double(), blocks(objective.layout, objective.row_dims, "filter"))
    assert torch.equal(found[0, 3:], torch.zeros(3, dtype=torch.float64))
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("normalize", ["filters", "", None])
def test_an_unknown_normalization_is_refused(normalize: str) -> None:
    objective = objective_of(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"normalize must be one of filter, layer, model, none, got"):
        blocks(objective.layout, objective.row_dims, normalize)
