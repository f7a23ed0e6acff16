"""The ruler itself: it must fail where it should, or every other test is worth nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compare import assert_close


def test_passes_within_and_fails_beyond_each_tolerance() -> None:
    assert_close([1.0, 2.0], [1.0, 2.0])
    assert_close([1.0, 2.0], [1.0, 2.2], absolute=0.21)
    assert_close([1.0, 2.0], [1.0, 2.2], relative=0.1)
    with pytest.raises(AssertionError, match=r"worst at \(1,\): got 2\.0, expected 2\.2"):
        assert_close([1.0, 2.0], [1.0, 2.2], absolute=0.19)
    with pytest.raises(AssertionError):
        assert_close([1.0, 2.0], [1.0, 2.2], relative=0.09)


@pytest.mark.parametrize(
    ("got", "expected"),
    [([1.0], [1.0, 1.0]), ([np.nan], [1.0]), ([1.0], [np.nan]), ([np.inf], [1.0]), ([np.inf], [-np.inf])],
)
def test_shape_nan_and_infinity_are_never_close(got: list[float], expected: list[float]) -> None:
    with pytest.raises(AssertionError):
        assert_close(got, expected, absolute=1e9)


def test_equal_nan_and_equal_infinity_are_close() -> None:
    assert_close([np.nan, np.inf], [np.nan, np.inf])
