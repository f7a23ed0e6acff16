"""Norms and products of projected gradients against projecting them, in float64. Blind to how gradients are found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from analysis.noise.scalars import KINDS, Raw, Target, centered, of_gradients
from gcsam.centralize import centralize, random_directions, remove_component

SHAPE = torch.Size((4, 3, 5))
# sums of 60 products of numbers of order one, at most a hundred roundings
ROUNDING = {"rtol": 1e-12, "atol": 1e-13}


def drawn(dims: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    gradients = torch.randn(6, *SHAPE, dtype=torch.float64, generator=generator)
    along = torch.randn(SHAPE, dtype=torch.float64, generator=generator)
    return gradients, along, random_directions(SHAPE, dims, generator) if dims else None


@pytest.mark.parametrize("dims", [(1, 2), (0, 2), (2,)])
def test_every_kind_is_that_of_the_projected_gradient(dims: tuple[int, ...]) -> None:
    gradients, along, control = drawn(dims)
    found = of_gradients(gradients, Target(SHAPE, dims, KINDS, control, along))
    axes = [axis + 1 for axis in dims]
    assert control is not None
    projected = [gradients, centralize(gradients, axes), remove_component(gradients, control, axes)]
    for kind, explicit in enumerate(projected):
        torch.testing.assert_close(found[kind, 0], explicit.square().sum((1, 2, 3)), **ROUNDING)
        torch.testing.assert_close(found[kind, 1], (explicit * along).sum((1, 2, 3)), **ROUNDING)


@pytest.mark.parametrize("dims", [(), (1, 2), (0, 2)])
def test_deviations_and_their_products_with_the_sample_before(dims: tuple[int, ...]) -> None:
    gradients, along, control = drawn(dims)
    previous = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    found = of_gradients(gradients, Target(SHAPE, dims, KINDS, control, along, previous, is_centered=True))
    axes = [axis + 1 for axis in dims]
    for kind in range(3):
        explicit = torch.cat([previous[None], gradients - along])
        if kind == 1 and dims:
            explicit = centralize(explicit, axes)
        if kind == 2 and control is not None:
            explicit = remove_component(explicit, control, axes)
        torch.testing.assert_close(found[kind, 0], explicit[1:].square().sum((1, 2, 3)), **ROUNDING)
        torch.testing.assert_close(found[kind, 1], (explicit[1:] * along).sum((1, 2, 3)), **ROUNDING)
        torch.testing.assert_close(found[kind, 2], (explicit[1:] * explicit[:-1]).sum((1, 2, 3)), **ROUNDING)


def test_taking_g_off_afterwards_is_taking_it_off_before() -> None:
    gradients, along, _ = drawn(())
    previous = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    target = Target(SHAPE, (), KINDS, None, along, previous)
    asked = target._replace(is_centered=True)
    before = of_gradients(gradients, asked)[0]
    # the neighbors of gradients, but the first one's is a deviation already
    chain = torch.cat([previous[None], gradients])
    neighbors = (chain[1:] * chain[:-1]).sum((1, 2, 3))
    raw = Raw(gradients.square().sum((1, 2, 3)), (gradients * along).sum((1, 2, 3)), neighbors)
    for got, expected in zip(centered(raw, asked), before, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)  # differences of numbers up to a hundred
    assert centered(raw, target) is raw


def test_where_p_does_nothing_all_kinds_are_raw() -> None:
    gradients, along, _ = drawn(())
    found = of_gradients(gradients, Target(SHAPE, (), KINDS, None, along))
    assert torch.equal(found[0, :2], found[1, :2])
    assert torch.equal(found[0, :2], found[2, :2])
    torch.testing.assert_close(found[0, 0], gradients.square().sum((1, 2, 3)), **ROUNDING)


@pytest.mark.parametrize("dims", [(), (1, 2)])
def test_what_was_not_asked_for_is_nan(dims: tuple[int, ...]) -> None:
    gradients, _, control = drawn(dims)
    found = of_gradients(gradients, Target(SHAPE, dims, ("centralized",), control))
    assert bool(found[:2, 0].isfinite().all())
    assert bool(found[2].isnan().all())
    assert bool(found[:, 1].isnan().all())


def test_a_gradient_along_ones_leaves_nothing_and_never_less() -> None:
    """Fails without the clamp: the difference of two equal sums rounds to either side of zero."""
    found = of_gradients(torch.full((50, 3, 7), 0.1) * torch.rand(50, 1, 1), Target(torch.Size((3, 7)), (1,)))
    assert bool((found[1, 0] >= 0).all())
    assert float(found[1, 0].max()) < 1e-6 * float(found[0, 0].max())  # 21 roundings of float32
