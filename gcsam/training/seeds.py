"""Many independent seeds from one: a stream of random numbers for each purpose, so that none disturbs another.

Right when the seeds of different keys differ and those of one key do not (`tests/gcsam/training/test_seeds.py`).
Cost: none.
"""

from __future__ import annotations

import numpy as np

__all__ = ["AUGMENTATION", "DRIFT", "INITIALIZATION", "NOISE", "ORDER", "stream_seed"]

# Streams drawn from the seed of a run, so that more dropout in one method cannot change the order of the data.
INITIALIZATION, ORDER, NOISE, AUGMENTATION, DRIFT = range(5)


def stream_seed(seed: int, *key: int) -> int:
    """Return the seed of a stream.

    Args:
        seed: Of the run, >= 0.
        *key: Whole numbers >= 0 that name the stream; zeros at their end count for nothing.

    Example:
        >>> stream_seed(0, ORDER) == stream_seed(0, ORDER), stream_seed(0, ORDER) == stream_seed(0, NOISE)
        (True, False)
    """
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])
