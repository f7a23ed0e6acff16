"""The loss as the user gives it, in the forms that measurements need: of a batch, of each sample, and as it was given.

Right when every way to give a loss gives the mean and the gradient that plain autograd gives
(`tests/analysis/test_objective.py`, `test_losses.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from analysis.batch_loss import BatchLoss, checked, from_loss_fn, with_derivatives
from analysis.logits import normalized_logits
from analysis.losses import LossSum, per_sample, summed


@dataclass(frozen=True)
class GivenLoss:
    """A loss. Made by `given_loss`.

    Args:
        of_batch: From (model, batch) to (loss_sum, count).
        of_samples: From (output, target) to the losses of single samples; None where only batches have one.
        loss_fn: From (output, target), as it was given; None for the others.
        reduction: As it was given.
    """

    of_batch: BatchLoss
    of_samples: LossSum | None
    loss_fn: Callable[..., Tensor] | None
    reduction: str | None

    def of_normalized_logits(self) -> GivenLoss:
        """Return the loss of normalized logits.

        Raises:
            ValueError: It is none of (output, target), so that nobody knows the logits.
        """
        if self.loss_fn is None:
            raise ValueError("the loss must be loss_fn(output, target) for its logits to be known, got a batch_loss")
        return given_loss(normalized_logits(self.loss_fn), None, self.reduction)


def given_loss(loss_fn: Callable[..., Tensor] | None, batch_loss: BatchLoss | None, reduction: str | None) -> GivenLoss:
    """Return a loss from one of the two ways to give it.

    Args:
        loss_fn: As for `Objective`, like the others.
        batch_loss: In its place.
        reduction: Of `loss_fn`.

    Raises:
        ValueError: Both or neither was given.
    """
    if loss_fn is not None and batch_loss is None:
        whole = from_loss_fn(summed(loss_fn, reduction))
        return GivenLoss(with_derivatives(whole), per_sample(loss_fn, reduction), loss_fn, reduction)
    if batch_loss is not None and loss_fn is None:
        return GivenLoss(with_derivatives(checked(batch_loss)), None, None, reduction)
    raise ValueError("give either loss_fn(output, target) or batch_loss(model, batch), exactly one of them")
