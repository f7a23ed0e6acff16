"""Wrong labels, on purpose: a fixed share of the training labels is replaced by other classes.

Symmetric noise as in Zhang et al. (arXiv 1611.03530) and its successors: each label is replaced with the same
probability, and every other class is as likely as any. The draw is fixed, like the cut into splits: runs with other
seeds, and measurements of a run, see the same wrong labels. Right when the share and the classes are those of the
definition (`tests/gcsam/training/test_label_noise.py`). Cost: one pass over the labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gcsam.training.splits import SPLIT_SEED

__all__ = ["with_label_noise"]


def with_label_noise(labels: Tensor, fraction: float, num_classes: int) -> Tensor:
    """Return labels of which each is, with a given probability, one of the other classes.

    Args:
        labels: [N], int64, from 0; not written to.
        fraction: Probability, in [0, 1). 0 returns the labels as they are.
        num_classes: > 1 if fraction > 0.

    Returns:
        Labels [N]. A smaller fraction changes a part of what a larger one changes, and to the same classes.

    Raises:
        ValueError: A fraction above 0 where there is one class only.
    """
    if fraction == 0:
        return labels
    if num_classes < 2:
        raise ValueError(f"label_noise must be 0 where there is one class only, got {fraction}")
    generator = torch.Generator().manual_seed(SPLIT_SEED + 2)
    is_changed = torch.rand(len(labels), generator=generator, dtype=torch.float64) < fraction
    shift = torch.randint(1, num_classes, (len(labels),), generator=generator)
    changed = (labels + shift.to(labels.device)) % num_classes
    return torch.where(is_changed.to(labels.device), changed, labels)
