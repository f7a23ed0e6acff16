"""Streams of one seed are independent, and what they were."""

from __future__ import annotations

from gcsam.training.seeds import AUGMENTATION, DRIFT, INITIALIZATION, NOISE, ORDER, stream_seed


def test_streams_differ_from_each_other_and_from_those_of_other_seeds() -> None:
    keys = [(seed, *key) for seed in range(4) for key in ((1,), (2,), (1, 1), (1, 2), (2, 1))]
    assert len({stream_seed(*key) for key in keys}) == len(keys)


def test_they_are_what_runs_on_disk_were_made_with() -> None:
    """Fails if a stream is renumbered: a stopped run would go on with another order."""
    assert (INITIALIZATION, ORDER, NOISE, AUGMENTATION, DRIFT) == (0, 1, 2, 3, 4)
    # of numpy's SeedSequence([3, 2]) and ([3, 2, 1])
    assert [stream_seed(3, 2), stream_seed(3, 2, 0), stream_seed(3, 2, 1)] == [960329833, 960329833, 1760858510]
