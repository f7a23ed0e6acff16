"""The user's own network: functions named on the command line.

Right when each mistake gives one line that names the option (`tests/landscape/test_sources.py`). Cost: importing and
calling the user's functions. The weights are read in `landscape.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from analysis.batches import as_batches
from analysis.surface.quantities import METRICS
from gcsam.training.functions import call_with_accepted, find_function


def own_model(text: str) -> nn.Module:
    """Call the user's function without arguments and return the network it builds.

    Args:
        text: "package.module:function".

    Returns:
        The network.

    Raises:
        ValueError: It cannot be found, fails, or returns something else.
    """
    model = call_with_accepted(find_function(text, "--model"), {}, f"--model {text}")
    if not isinstance(model, nn.Module):
        raise ValueError(f"--model {text}: must return a torch.nn.Module, but returned {type(model).__name__}")
    return model


def own_data(text: str, option: str = "--data") -> Any:
    """Call the user's function without arguments and return the batches it gives.

    Args:
        text: "package.module:function".
        option: It was given by.

    Returns:
        The batches.

    Raises:
        ValueError: It cannot be found, fails, or returns no batches.
    """
    given = call_with_accepted(find_function(text, option), {}, f"{option} {text}")
    try:
        return as_batches(given)
    except ValueError as error:
        raise ValueError(f"{option} {text}: {error}") from None


def own_loss(text: str) -> Callable[..., Tensor]:
    """Return the user's loss function, called as loss(output, target).

    Args:
        text: "package.module:function"; a class such as torch.nn:CrossEntropyLoss is made into an object first.

    Raises:
        ValueError: It cannot be found, or the class wants arguments.
    """
    found = find_function(text, "--loss")
    return call_with_accepted(found, {}, f"--loss {text}") if isinstance(found, type) else found


def named_metric(text: str) -> tuple[str, Callable[..., Tensor]]:
    """Return a metric and its name.

    Args:
        text: "accuracy", or "package.module:function", which is called as function(output, target).

    Returns:
        The name, for a function that of the function, and the metric.

    Raises:
        ValueError: It cannot be found.
    """
    if text in METRICS:
        return text, METRICS[text]
    if ":" not in text:
        raise ValueError(f"--metric must be {', '.join(METRICS)} or package.module:function, got {text!r}")
    return text.rpartition(":")[2], find_function(text, "--metric")
