"""Batches to train on are a permutation, those to measure on the same at every pass."""

from __future__ import annotations

import pytest
import torch

from gcsam.training import Batches, Split


def numbered(n: int) -> Split:
    """Images that are their own numbers, not normalized."""
    images = torch.arange(n, dtype=torch.float32)[:, None, None, None]
    return Split(images, torch.arange(n), torch.zeros(1), torch.ones(1))


@pytest.mark.parametrize(("n", "batch_size", "sizes"), [(10, 4, {3, 4}), (8, 4, {4}), (3, 10, {3}), (33, 32, {16, 17})])
def test_an_epoch_is_a_permutation_in_even_batches(n: int, batch_size: int, sizes: set[int]) -> None:
    split = numbered(n)
    batches = list(split.batches(batch_size, torch.Generator().manual_seed(0)))
    assert {len(labels) for _, labels in batches} == sizes
    assert len(batches) == split.num_batches(batch_size)
    labels = torch.cat([labels for _, labels in batches])
    assert labels.sort().values.tolist() == list(range(n))
    inputs = torch.cat([inputs for inputs, _ in batches]).flatten()
    assert torch.equal(inputs, labels.float())


def test_the_generator_decides_the_order() -> None:
    split = numbered(20)
    first, again, other = (
        torch.cat([labels for _, labels in split.batches(4, torch.Generator().manual_seed(seed))]) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_batches_to_measure_on_are_the_same_at_every_pass() -> None:
    batches = numbered(10).all_batches(4)
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(batches) == 3
    assert [labels.tolist() for _, labels in batches[1:]] == [[4, 5, 6, 7], [8, 9]]
    assert torch.equal(batches[-1][1], torch.tensor([8, 9]))
    with pytest.raises(IndexError):
        batches[3]


def test_measuring_on_a_part_takes_a_fixed_sample() -> None:
    split = numbered(100)
    first, again = (torch.cat([labels for _, labels in split.all_batches(4, limit=10)]) for _ in range(2))
    assert torch.equal(first, again)
    assert len(first.unique()) == 10
    assert first.tolist() != list(range(10))
    with pytest.raises(ValueError, match=r"limit must be at least 1, got 0; None takes all images"):
        split.all_batches(4, limit=0)
    with pytest.raises(ValueError, match=r"batch_size must be at least 1, got 0"):
        Batches(split, 0)
