"""Hold the running statistics of batch norm while a network runs at weights that are not its own.

The second pass of GCSAM runs at perturbed weights. Its batch statistics belong to those weights, so they must not
enter the running averages used for prediction; and an average advanced twice a step has another momentum than asked.
Proved right by bitwise comparison of all buffers with a run of one pass (`tests/gcsam/test_batchnorm.py`).
Cost: a copy of the statistics, three small vectors per layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["hold_statistics"]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@contextmanager
def hold_statistics(model: nn.Module) -> Iterator[None]:
    """Let batch norm normalize as ever inside the block, and give back its statistics as they were before it.

    Covers every module with buffers named `running_mean`, `running_var` and `num_batches_tracked`: batch norm of any
    dimension, with a momentum or with momentum=None, its synchronized form, instance norm that tracks, and layers of
    other libraries that use the same names. Blocks nest, and an exception leaves through them. The backward pass may
    come after the block. Other state that a forward pass moves, such as the vectors of a spectral norm, is not held.

    Args:
        model: The network; neither its modes nor its momenta are touched.

    Yields:
        Nothing.

    Example:
        >>> import torch
        >>> model = torch.nn.BatchNorm1d(1)
        >>> with hold_statistics(model):
        ...     _ = model(torch.tensor([[1.0], [3.0]]))
        >>> model.running_mean, model.num_batches_tracked
        (tensor([0.]), tensor(0))
    """
    buffers = [
        buffer
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name in _STATISTICS
    ]
    saved = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        if buffers:
            # .data has a version counter of its own: a backward pass after the block still accepts the buffers
            torch._foreach_copy_([buffer.data for buffer in buffers], saved)
