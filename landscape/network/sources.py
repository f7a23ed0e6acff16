"""The user's own network: functions named on the command line.

Right when each mistake gives one line that names the option (`tests/landscape/network/test_sources.py`). Cost:
importing and calling the user's functions. The weights are read in `landscape.network.checkpoints`.
"""

from __future__ import annotations

import inspect
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
        ValueError: It cannot be found, wants arguments, fails, or returns something else, or weights without memory.
    """
    model = _called(text, "--model")
    if not isinstance(model, nn.Module):
        raise ValueError(f"--model {text}: must return a torch.nn.Module, but returned {type(model).__name__}")
    empty = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if empty:  # load_state_dict would leave them so, with no more than a warning
        raise ValueError(
            f"--model {text}: {len(empty)} parameters are on the device meta, which holds no numbers, first "
            f"{empty[0]!r}; build the network on the CPU"
        )
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
    given = _called(text, option)
    try:
        return as_batches(given)
    except ValueError as error:
        raise ValueError(f"{option} {text}: {error}") from None


def own_loss(text: str) -> Callable[..., Any]:
    """Return the user's loss function.

    Args:
        text: "package.module:function"; a class such as torch.nn:CrossEntropyLoss is made into an object first.

    Returns:
        The function; `takes_model` says how it is called.

    Raises:
        ValueError: It cannot be found, the class wants arguments, or the function takes others than two.
    """
    found = find_function(text, "--loss")
    if isinstance(found, type):
        return call_with_accepted(found, {}, f"--loss {text}")  # type: ignore[no-any-return]
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # some callables written in C have no signature
        return found
    try:
        signature.bind(None, None)
    except TypeError:
        raise ValueError(
            f"--loss {text}: must be called as loss(output, target), or as loss(model, batch) if its first argument is "
            f"named model, but takes {signature}"
        ) from None
    return found


def takes_model(loss: Callable[..., Any]) -> bool:
    """Return whether a loss is called as loss(model, batch) and returns (loss_sum, count), for batches of any form.

    That is what a loss says whose first argument is named `model`; every other one is called as loss(output, target).

    Args:
        loss: As `own_loss` returned it.

    Example:
        >>> takes_model(lambda model, batch: (model(batch).sum(), len(batch)))
        True
    """
    try:
        return next(iter(inspect.signature(loss).parameters), "") == "model"
    except (TypeError, ValueError):  # some callables written in C have no signature
        return False


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


def _called(text: str, option: str) -> Any:
    """Call a function of the user's without arguments."""
    found = find_function(text, option)
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have no signature
        parameters = ()  # type: ignore[assignment]
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    wanted = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in optional
    ]
    if wanted:
        raise ValueError(
            f"{option} {text}: is called without arguments, but wants {', '.join(wanted)}; give them defaults, or name "
            "a function that calls it with yours"
        )
    return call_with_accepted(found, {}, f"{option} {text}")
