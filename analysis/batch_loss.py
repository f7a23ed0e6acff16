"""The loss of one batch as a function of weights: what an `Objective` sums, for either way of giving a loss.

Right when mappings, tuples and lists reach the model as its arguments, and what is no batch (input, target) is one line
(`tests/analysis/test_batch_loss.py`). Cost: none beside the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from analysis.losses import described, one_number
from analysis.slots import Slots

BatchLoss = Callable[[Any, Any], tuple[Tensor, "Tensor | int"]]
"""Called as batch_loss(model, batch); returns (loss_sum, count), where count is what the mean is over."""


def on_tensors(model: nn.Module, state: Mapping[str, Tensor], function: Callable[..., Any], *args: Any) -> Any:
    """Return function(model, *args) while the model's parameters and buffers are others.

    All the function does with the model sees them: calling it, its methods, `model.weight`.

    Args:
        model: As found again afterwards.
        state: Every parameter and buffer, by name.
        function: Of the model.
        *args: Its further arguments.
    """
    with Slots(model).holding(state):
        return function(model, *args)


class ModelAt:
    """The model called on other tensors, for who has to see its calls; its attributes are the model's own.

    Args:
        model: Is not changed.
        state: Every parameter and buffer, by name.
    """

    def __init__(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        self._model, self._state = model, dict(state)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model on those tensors."""
        with Slots(self._model).holding(self._state):
            return self._model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def checked(batch_loss: BatchLoss) -> BatchLoss:
    """Return a user's `batch_loss` that says what is wrong with what it returns.

    Args:
        batch_loss: Called as batch_loss(model, batch).

    Returns:
        The same function; it raises ValueError where that does not return a sum of one number and a count.
    """

    def same(model: Any, batch: Any) -> tuple[Tensor, Tensor | int]:
        found = batch_loss(model, batch)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise ValueError(
                f"a loss of (model, batch) must return (loss_sum, count), got {described(found)}; for a mean over the "
                "batch return (mean * count, count)"
            )
        loss_sum, count = found
        is_number = count.numel() == 1 if isinstance(count, Tensor) else isinstance(count, SupportsFloat)
        if not is_number:
            raise ValueError(
                f"the count beside a loss must be one number, of samples or tokens, got {described(count)}; sum it up"
            )
        return one_number(loss_sum), count

    return same


def with_derivatives(batch_loss: BatchLoss) -> BatchLoss:
    """Return a loss that may take derivatives itself, by its inputs, also where nothing is recorded.

    The residual of a differential equation is such a loss. Where a loss fails for want of a graph it is called again
    with one, from then on always, and what it returns is cut off; every other loss is called as it was.

    Args:
        batch_loss: Called as batch_loss(model, batch).

    Returns:
        The same function.
    """
    needs_graph = False

    def same(model: Any, batch: Any) -> tuple[Tensor, Tensor | int]:
        nonlocal needs_graph
        if torch.is_grad_enabled():
            return batch_loss(model, batch)
        if not needs_graph:
            try:
                return batch_loss(model, batch)
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
        with torch.enable_grad():
            loss_sum, count = batch_loss(model, batch)
        needs_graph = True
        return loss_sum.detach(), count

    return same


def from_loss_fn(loss_sum: Callable[[Any, Any], tuple[Tensor, Tensor | int]]) -> BatchLoss:
    """Return the loss of batches (input, target).

    Args:
        loss_sum: From (output, target) to (loss_sum, count).

    Returns:
        A `batch_loss`. Inputs that are mappings are passed as keywords, tuples and lists, but no packed sequence, as
        positions; it raises ValueError for other batches.
    """

    def batch_loss(model: Any, batch: Any) -> tuple[Tensor, Tensor | int]:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            got = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
            raise ValueError(
                f"with loss_fn each batch must be (input, target), got {got}; for others give batch_loss(model, batch)"
                ", as --loss a function whose first argument is named model"
            )
        inputs, target = batch
        if isinstance(inputs, Mapping):
            return loss_sum(model(**inputs), target)
        are_several = isinstance(inputs, (tuple, list)) and not isinstance(inputs, PackedSequence)
        return loss_sum(model(*inputs) if are_several else model(inputs), target)

    return batch_loss


def refuse_batch_statistics(model: nn.Module) -> None:
    """Refuse batch norm without running statistics: its loss is not a mean over samples.

    Args:
        model: Any network.

    Raises:
        ValueError: It has such layers; the message names them.
    """
    layers = [
        f"{name!r} ({type(module).__name__})"
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
    ]
    if layers:
        raise ValueError(
            f"batch norm without running statistics makes the loss depend on how the data are cut: "
            f"{', '.join(layers)}; build the model with track_running_stats=True"
        )
