"""Checks of arguments that several measurements share.

Right when each message is executed by a test of the function that uses it. Cost: none.
"""

from __future__ import annotations

import torch
from torch import Tensor


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


def check_dtype(dtype: torch.dtype | None) -> None:
    """Refuse numbers in which nothing can be differentiated twice.

    Args:
        dtype: As given; None is that of the model.

    Raises:
        ValueError: It is neither float32 nor float64.
    """
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(
            f"dtype must be torch.float32, torch.float64 or None, got {dtype}; in half precision a Hessian product "
            "would be rounding to its second digit"
        )


def positive(count: Tensor | float) -> float:
    """Return what a sum over the data is divided by.

    Args:
        count: Samples or tokens, summed over the batches.

    Raises:
        ValueError: There are none.
    """
    value = float(count)
    if value <= 0:
        raise ValueError(
            f"the data must hold a sample that counts, got a total count of {value:g}; is every target ignored?"
        )
    return value
