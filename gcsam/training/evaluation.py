"""Loss and accuracy of a network on a split.

Right when both equal a float64 computation by hand, whatever the batch size, and train mode is put back
(`tests/gcsam/training/test_evaluation.py`). Cost: one forward pass over the split, in float32.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EVALUATION_BATCH", "evaluate"]

EVALUATION_BATCH = 512
"""Images at a time; one number, so that two evaluations of the same weights round alike."""


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Return mean cross entropy in nats and accuracy as a fraction; in eval mode, and the mode is put back.

    Args:
        model: The network.
        batches: (inputs, labels) on its device.
    """
    was_training = [module.training for module in model.modules()]
    model.eval()
    loss, correct, count = 0.0, 0, 0
    try:
        for inputs, labels in batches:
            output = model(inputs)
            loss += F.cross_entropy(output, labels, reduction="sum").item()
            correct += int((output.argmax(1) == labels).sum())
            count += len(labels)
    finally:
        for module, mode in zip(model.modules(), was_training, strict=True):
            module.training = mode
    return loss / count, correct / count
