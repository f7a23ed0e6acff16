"""A limit to the time that measuring takes, as a share of the time that training takes.

The expected cost of a measurement is what each of its quantities took the last time. It is made if all time spent on
measuring so far and the expected cost are together at most share * (time spent on training so far). What was never
measured has no known cost, so it is made whatever the share: the first measurement is always allowed, and until
training has gone on for long enough the time spent may be more than the share.

Right when the time allowed by a clock that the test moves is this rule's (`tests/analysis/probe/test_budget.py`).
Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager


class Budget:
    """Clock of a training that is measured.

    Args:
        share: Of the time of training, > 0; math.inf sets no limit.
        clock: Returns seconds.
        trained: Seconds of training before, where it goes on.
        spent: Seconds of measuring before, likewise.
        expected: Seconds that each quantity took the last time, likewise.

    Raises:
        ValueError: The share is not above 0.
    """

    def __init__(
        self,
        share: float,
        clock: Callable[[], float],
        *,
        trained: float = 0.0,
        spent: float = 0.0,
        expected: Mapping[str, float] | None = None,
    ) -> None:
        self.share = check_share(share)
        self.spent = spent
        self._clock = clock
        self._begin = clock() - trained - spent
        self._expected = dict(expected or {})

    def elapsed(self) -> float:
        """Return seconds since training began, of training and measuring, pauses between processes left out."""
        return self._clock() - self._begin

    def trained(self) -> float:
        """Return seconds since training began, without those of measuring."""
        return self.elapsed() - self.spent

    def allows(self, quantities: Iterable[str]) -> bool:
        """Return whether a measurement of these quantities, together, is within the share.

        Args:
            quantities: Names.
        """
        costs = [self._expected.get(name, math.nan) for name in quantities]
        if any(math.isnan(cost) for cost in costs):
            return True
        return self.spent + sum(costs) <= self.share * self.trained()

    @contextmanager
    def spending(self, quantity: str) -> Iterator[None]:
        """Count the time of the block as spent on measuring a quantity.

        Args:
            quantity: Its name.

        Yields:
            Nothing.
        """
        begin = self._clock()
        try:
            yield
        finally:
            self._expected[quantity] = self._clock() - begin
            self.spent += self._expected[quantity]

    def last(self, quantity: str) -> float:
        """Return the seconds a quantity took the last time; NaN if it never was measured.

        Args:
            quantity: Its name.
        """
        return self._expected.get(quantity, math.nan)


def check_share(share: float) -> float:
    """Return a share of the training time.

    Args:
        share: As given by the user.

    Raises:
        ValueError: It is not above 0.
    """
    if isinstance(share, bool) or not (isinstance(share, (int, float)) and share > 0):
        raise ValueError(
            f"budget must be a share of the training time, a number > 0, got {share!r}; 0.05 is 5 %, inf sets no limit"
        )
    return float(share)
