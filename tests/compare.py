"""One comparison for all tests, with a report that says where and by how much two arrays differ."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_close(got: Any, expected: Any, *, absolute: float = 0.0, relative: float = 0.0) -> None:
    """Fail with the worst entry unless |got - expected| <= absolute + relative * max|expected|, NaN equal to NaN.

    The relative tolerance is of the largest entry, not of each: an entry near zero carries the rounding of the whole.
    """
    a, b = (np.asarray(value, dtype=np.float64) for value in (got, expected))
    assert a.shape == b.shape, f"shapes differ: {a.shape} and {b.shape}"
    assert np.array_equal(np.isnan(a), np.isnan(b)), "NaN in different places"
    if a.size == 0:
        return
    finite = np.abs(b[np.isfinite(b)])
    allowed = absolute + relative * float(finite.max(initial=0.0))
    with np.errstate(invalid="ignore"):
        difference = np.where(a == b, 0.0, np.abs(a - b))
    difference = np.nan_to_num(difference, nan=0.0, posinf=np.inf)
    worst = np.unravel_index(int(difference.argmax()), difference.shape)
    assert difference[worst] <= allowed, (
        f"worst at {tuple(int(i) for i in worst)}: got {float(a[worst])!r}, expected {float(b[worst])!r}, "
        f"difference {difference[worst]:.3e} > allowed {allowed:.3e}"
    )
