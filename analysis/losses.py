"""Turn a loss function with mean or sum reduction into (loss_sum, count), so that batches weigh what they hold.

Right when the mean over 200 + 56 samples, or over 10 + 90 valid tokens, equals the mean over their union.
"""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.logits import NormalizedLogits

LossSum = Callable[[Any, Any], tuple[Tensor, "Tensor | int"]]
REDUCTIONS = ("mean", "sum")


def summed(loss_fn: Callable[..., Tensor], reduction: str | None = None) -> LossSum:
    """Return a function (output, target) -> (loss_sum, count) for a loss function that reduces over its batch.

    The count is the first dimension of the target, or, for cross-entropy and negative log-likelihood with class
    targets, what their mean divides by: the number (or the class weight) of the targets that are not `ignore_index`.

    Args:
        loss_fn: Called as `loss_fn(output, target)`, returns a scalar.
        reduction: "mean" or "sum"; None reads `loss_fn.reduction`, and without that attribute means "mean".

    Returns:
        The function.

    Raises:
        ValueError: Another reduction.
    """
    if isinstance(loss_fn, NormalizedLogits):  # what a mean divides by, the loss inside says
        return loss_fn.before(summed(loss_fn.loss_fn, reduction))
    reduction = reduction or getattr(loss_fn, "reduction", "mean")
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"reduction must be one of {REDUCTIONS}, got {reduction!r}; use nn.CrossEntropyLoss() or the like"
        )
    if _is_classification(loss_fn):
        return _classification(loss_fn)

    def by_first_dimension(output: Any, target: Any) -> tuple[Tensor, Tensor | int]:
        count = _length(target)
        loss = one_number(loss_fn(output, target))
        return (loss * count if reduction == "mean" else loss), count

    return by_first_dimension


def per_sample(loss_fn: Callable[..., Tensor], reduction: str | None = None) -> LossSum:
    """Return a function (output, target) -> (sums [B], counts [B]): what each sample adds to `summed`'s pair.

    A loss that takes or has a `reduction` is asked for its values before it; any other is called for each sample on its
    own, all at once. Whether the loss is a sum over samples at all, the caller has to see: the sums must add up.

    Args:
        loss_fn: As for `summed`.
        reduction: As for `summed`.

    Returns:
        The function. It raises whatever `torch.vmap` does where it cannot go through a user's loss.
    """
    if isinstance(loss_fn, NormalizedLogits):
        return loss_fn.before(per_sample(loss_fn.loss_fn, reduction))
    if _is_classification(loss_fn):
        return _classification(loss_fn, each=True)
    reduction = reduction or getattr(loss_fn, "reduction", "mean")
    before = _before_reduction(loss_fn)
    if before is not None:

        def at_once(output: Any, target: Any) -> tuple[Tensor, Tensor]:
            values = before(output, target)
            values = values.reshape(len(values), -1)
            sums = values.mean(1) if reduction == "mean" else values.sum(1)
            return sums, torch.ones_like(sums)

        return at_once

    def one_by_one(output: Any, target: Any) -> tuple[Tensor, Tensor]:
        with warnings.catch_warnings():  # an operation that vmap repeats in a loop is still faster than one by one
            warnings.filterwarnings("ignore", "There is a performance drop")
            sums = torch.vmap(lambda one, wanted: one_number(loss_fn(one[None], wanted[None])))(output, target)
        return sums, torch.ones_like(sums)

    return one_by_one


def _before_reduction(loss_fn: Callable[..., Tensor]) -> Callable[..., Tensor] | None:
    """Return a loss of torch, or one made like it, without its reduction; None for any other."""
    if isinstance(loss_fn, nn.Module):
        if not hasattr(loss_fn, "reduction"):
            return None
        module: Any = copy.copy(loss_fn)
        module.reduction = "none"
        return module  # type: ignore[no-any-return]
    try:
        has_reduction = "reduction" in inspect.signature(loss_fn).parameters
    except (TypeError, ValueError):  # built in C
        return None
    return functools.partial(loss_fn, reduction="none") if has_reduction else None


def _is_classification(loss_fn: Callable[..., Tensor]) -> bool:
    return isinstance(loss_fn, (nn.CrossEntropyLoss, nn.NLLLoss)) or loss_fn in (F.cross_entropy, F.nll_loss)


def _classification(loss_fn: Callable[..., Tensor], *, each: bool = False) -> LossSum:
    """Sum directly instead of undoing the mean: a batch without a valid target then adds zero, not 0/0."""
    weight = getattr(loss_fn, "weight", None)
    ignore_index = getattr(loss_fn, "ignore_index", -100)
    options: dict[str, Any] = {"reduction": "none" if each else "sum"}
    if isinstance(loss_fn, nn.CrossEntropyLoss):
        options["label_smoothing"] = loss_fn.label_smoothing
    function = F.nll_loss if isinstance(loss_fn, nn.NLLLoss) or loss_fn is F.nll_loss else F.cross_entropy

    def total(values: Tensor) -> Tensor:
        return values.reshape(len(values), -1).sum(1) if each else values.sum()

    def by_valid_target(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | int]:
        class_weight = None if weight is None else weight.to(output)
        if target.is_floating_point():  # class probabilities: the mean divides by the batch
            losses = function(output, target, weight=class_weight, **options)
            places = target.select(1, 0) if target.ndim > 1 else target[0]
            count = total(torch.ones_like(places)) if each else places.numel()
            return (total(losses) if each else losses), count
        losses = function(output, target, weight=class_weight, ignore_index=ignore_index, **options)
        valid = target != ignore_index
        counted = valid if class_weight is None else class_weight[torch.where(valid, target, 0)] * valid
        return (total(losses) if each else losses), total(counted)

    return by_valid_target


def _length(target: Any) -> int:
    if isinstance(target, Tensor):
        return target.shape[0] if target.ndim else 1
    if isinstance(target, dict):
        return _length(next(iter(target.values())))
    if isinstance(target, (list, tuple)) and target and isinstance(target[0], Tensor):
        return _length(target[0])
    return len(target)


def one_number(loss: Any) -> Tensor:
    """Return a loss as a tensor without dimensions.

    Args:
        loss: As the user's function returned it.

    Returns:
        The loss, [].

    Raises:
        ValueError: It is no tensor, has several elements, or is of integers.
    """
    if not isinstance(loss, Tensor):
        raise ValueError(
            f"the loss must be a tensor of one element, got {described(loss)}; return it without .item(), float() or "
            "numpy, which cut it off from the weights"
        )
    if loss.numel() != 1:
        raise ValueError(
            f"the loss must be one number per batch, got {described(loss)}; reduce it by mean or sum over the batch"
        )
    if not loss.is_floating_point():
        raise ValueError(f"the loss must be a real number, got {described(loss)}; is it an accuracy or a count?")
    return loss.reshape(())


def described(value: Any) -> str:
    """Return what something is, for a message: shape and type of a tensor, else its class."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype}"
    return (
        "None" if value is None else f"{type(value).__name__}{f' of {len(value)}' if isinstance(value, tuple) else ''}"
    )
