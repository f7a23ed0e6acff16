"""The first number > 0 at which a condition holds: doubling or halving until it is bracketed, then bisection.

Right when thresholds over 40 orders of magnitude are found within the tolerance
(`tests/analysis/flatness/test_bracket.py`). Cost: about |log2(threshold / start)| + log2(1 / tol) tries.
"""

from __future__ import annotations

from collections.abc import Callable

DOUBLINGS = 60  # 18 orders of magnitude to either side of the start: beyond that nothing has been left in float32


def crossing(
    is_above: Callable[[float], bool], start: float, tol: float, max_tries: int, least: float = 0.0
) -> tuple[float, float, int]:
    """Bracket where a condition begins to hold.

    Args:
        is_above: The condition, False for small numbers.
        start: First try, > 0.
        tol: Stop where high - low <= tol * high.
        max_tries: Calls of `is_above`, at most.
        least: No number below it is tried.

    Returns:
        low, the largest number below high where it was seen not to hold, 0 for none; high, the smallest where it was
        seen to hold, inf for none; the number of tries.
    """
    low, high, tries = 0.0, float("inf"), 0
    at = start
    while tries < max_tries and tries <= DOUBLINGS and at >= least and (low == 0 or high == float("inf")):
        tries += 1
        if is_above(at):
            high, at = at, at / 2
        else:
            low, at = at, 2 * at
    while tries < max_tries and low > 0 and high < float("inf") and high - low > tol * high:
        tries += 1
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return low, high, tries
