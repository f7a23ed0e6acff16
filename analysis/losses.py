"""Turn a loss function with mean or sum reduction into (loss_sum, count), so that batches weigh what they hold.

Right when the mean over 200 + 56 samples, or over 10 + 90 valid tokens, equals the mean over their union.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    reduction = reduction or getattr(loss_fn, "reduction", "mean")
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"reduction must be one of {REDUCTIONS}, got {reduction!r}; use nn.CrossEntropyLoss() or the like"
        )
    if isinstance(loss_fn, (nn.CrossEntropyLoss, nn.NLLLoss)) or loss_fn in (F.cross_entropy, F.nll_loss):
        return _classification(loss_fn)

    def by_first_dimension(output: Any, target: Any) -> tuple[Tensor, Tensor | int]:
        count = _length(target)
        loss = _scalar(loss_fn(output, target))
        return (loss * count if reduction == "mean" else loss), count

    return by_first_dimension


def _classification(loss_fn: Callable[..., Tensor]) -> LossSum:
    """Sum directly instead of undoing the mean: a batch without a valid target then adds zero, not 0/0."""
    weight = getattr(loss_fn, "weight", None)
    ignore_index = getattr(loss_fn, "ignore_index", -100)
    options: dict[str, Any] = {}
    if isinstance(loss_fn, nn.CrossEntropyLoss):
        options["label_smoothing"] = loss_fn.label_smoothing
    function = F.nll_loss if isinstance(loss_fn, nn.NLLLoss) or loss_fn is F.nll_loss else F.cross_entropy

    def by_valid_target(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | int]:
        class_weight = None if weight is None else weight.to(output)
        if target.is_floating_point():  # class probabilities: the mean divides by the batch
            total = function(output, target, weight=class_weight, reduction="sum", **options)
            return total, target.numel() // target.shape[1 if target.ndim > 1 else 0]
        total = function(output, target, weight=class_weight, ignore_index=ignore_index, reduction="sum", **options)
        valid = target != ignore_index
        if class_weight is None:
            return total, valid.sum()
        return total, (class_weight[torch.where(valid, target, 0)] * valid).sum()

    return by_valid_target


def _length(target: Any) -> int:
    if isinstance(target, Tensor):
        return target.shape[0] if target.ndim else 1
    if isinstance(target, dict):
        return _length(next(iter(target.values())))
    if isinstance(target, (list, tuple)) and target and isinstance(target[0], Tensor):
        return _length(target[0])
    return len(target)


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(
            f"the loss must be one number per batch, a tensor of one element, got {got}; reduce it by mean or sum"
        )
    return loss.reshape(())
