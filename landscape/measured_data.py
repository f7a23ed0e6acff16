"""What a result file says about the data its measurements were made on, and whether two files are on the same ones.

Without torch. Right when the same samples in another order are the same data, and other samples are not
(`tests/landscape/test_measuring.py`, `test_comparing.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Mapping

from analysis.store import Variable

DATA_NAME = "measured_data"
DATA_KEY = f"training/{DATA_NAME}"
# Two passes over the same data in another order differ by the rounding of a sum in float64.
SAME_DATA = 1e-6


def is_same_data(stored: Mapping[str, Variable], total: float, squares: float) -> bool:
    """Return whether data have the sums that a file says.

    Args:
        stored: Variables of `DATA_KEY`.
        total: Sum of all numbers in the data.
        squares: Sum of their squares.
    """
    before, squares_before = (float(stored[name].data) for name in ("sum", "sum_of_squares"))
    scale = max(squares_before, 1.0)
    same_sum = abs(before - total) <= SAME_DATA * scale**0.5
    return same_sum and abs(squares_before - squares) <= SAME_DATA * scale
