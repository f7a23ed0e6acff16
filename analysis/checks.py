"""Checks of arguments that several measurements share.

Right when each message is executed by a test of the function that uses it. Cost: none.
"""

from __future__ import annotations


def check_whole(what: str, number: int, least: int, why: str) -> None:
    """Refuse what is no whole number, or too small a one.

    Args:
        what: Name of the argument.
        number: As given.
        least: Smallest allowed.
        why: Ends the message.

    Raises:
        ValueError: It is not, in one line.
    """
    if not (isinstance(number, int) and not isinstance(number, bool) and number >= least):
        raise ValueError(f"{what} must be a whole number >= {least}, got {number!r}; {why}")
