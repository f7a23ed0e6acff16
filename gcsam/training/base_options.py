"""Further arguments of a base optimizer, written down in a configuration: checked against its class before it is built.

Right when every mistake is one line, and what passes reaches the optimizer
(`tests/gcsam/training/test_base_options.py`). Cost: builds the optimizer of one number.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from gcsam.training.functions import check_name

__all__ = ["OPTIMIZERS", "base_arguments", "check_base_options"]

# Those of torch.optim that take every network. Left out: LBFGS (its step needs a closure of its own, many times),
# SparseAdam (sparse gradients only, which P would fill), Muon (matrices only, so it leaves out biases and filters),
# Adadelta (it has a rho of its own, and one parameter group cannot hold both).
OPTIMIZERS = ("SGD", "Adam", "AdamW", "Adafactor", "Adamax", "NAdam", "RAdam", "Adagrad", "RMSprop", "ASGD", "Rprop")
# Settings of a run in their own right.
_OWN = ("lr", "momentum", "weight_decay")
# A step uphill is no training, and gradients of the step would keep every graph.
_REFUSED = {"maximize": "the loss is minimized", "differentiable": "no gradient of a step is ever taken"}


def base_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as the class takes them: a list, which is what JSON and TOML make of a pair, as a tuple.

    Args:
        options: As configured.
    """
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def check_base_options(optimizer: str, options: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse options that the class does not have, that are settings of the run, or that it does not accept.

    Args:
        optimizer: A name of `OPTIMIZERS`.
        options: Argument to value.
        given: The arguments that the run's own settings give to the class, which decide what goes with them.

    Raises:
        ValueError: The first mistake, in one line.
    """
    base = getattr(torch.optim, optimizer)
    known = [name for name in inspect.signature(base).parameters if name not in {"params", *_OWN, *_REFUSED}]
    for name, value in options.items():
        if name in _OWN:
            raise ValueError(
                f"optimizer_options must leave out {name}, got {value!r}; it is a setting of its own: give {name}"
            )
        if name in _REFUSED:
            raise ValueError(f"optimizer_options must leave out {name}, got {value!r}: {_REFUSED[name]}")
        check_name(name, known, f"optimizer_options for {optimizer}:")
        if not all(_is_plain(number) for number in (value if isinstance(value, (list, tuple)) else [value])):
            raise ValueError(
                f"optimizer_options {name} must be a finite number, true or false, or a list of numbers, got {value!r}"
            )
    try:
        base([torch.zeros(1, requires_grad=True)], **given, **base_arguments(options))
    except (ValueError, TypeError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"optimizer_options {_shown(options)} are refused by {optimizer}: {text}") from None


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, (int, float)) and math.isfinite(value))


def _shown(options: Mapping[str, Any]) -> str:
    parts: Iterable[str] = (f"{name}={value!r}" for name, value in options.items())
    return ", ".join(parts)
