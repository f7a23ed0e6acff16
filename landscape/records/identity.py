"""What a result file is of: the weights and the data its measurements were made on, and whether two are the same.

Without torch. Right when the same samples in another order are the same data, and other samples or weights are not
(`tests/landscape/measuring/test_measure.py`, `tests/landscape/comparing/test_comparison.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from analysis.store import Variable, list_measurements, read, read_attributes

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


def samples_before(path: Path) -> int:
    """Return on how many of a run's training images a file's measurements were made; 0 where there are none yet.

    Args:
        path: The result file; it need not exist.
    """
    if not path.is_file() or DATA_KEY not in list_measurements(path):
        return 0
    return int(read(path, DATA_KEY).variables["num_samples"].data)


def check_checkpoint(path: Path, sha256: str) -> None:
    """Refuse a result file that belongs to other weights.

    Args:
        path: The result file.
        sha256: Of the checkpoint at hand.

    Raises:
        ValueError: It does; the message gives both.
    """
    stored = read_attributes(path)["checkpoint_sha256"]
    if stored != sha256:
        raise ValueError(
            f"{path} belongs to the checkpoint with SHA-256 {stored[:12]}..., given is {sha256[:12]}...; "
            "give the checkpoint it was made with, or another file by --output"
        )
