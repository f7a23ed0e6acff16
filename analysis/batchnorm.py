"""Which statistics batch norm uses while a network is measured: those it has, or those of the data at hand.

Proved right by: on one batch, recalibrated statistics are that batch's own; on several they do not depend on equal
lengths; the model's own are untouched (`tests/analysis/test_batchnorm.py`). Cost of "recalibrate": one forward pass
over the data for every new set of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from analysis.batches import tensors_of

BATCHNORM = ("eval", "recalibrate")


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Let batch norm normalize by each batch inside, as in training; nothing else of the model trains.

    Args:
        model: Its flags are put back afterwards.

    Yields:
        Nothing.
    """
    layers = _layers(model)
    modes = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode


def recalibrate(model: nn.Module, batches: Iterable[Any], evaluate: Callable[[Any], Any]) -> None:
    """Replace running statistics by those of the data: the mean over batches, weighted by their length.

    Within a batch each layer sees inputs normalized by that batch's statistics, as in training (and in the update after
    weight averaging, Izmailov et al. 2018). Derivatives treat the result as constants.

    Args:
        model: Whose flags and momenta are changed and put back; without batch norm nothing happens.
        batches: The data, read once.
        evaluate: Runs the model on a batch; it writes the statistics where its own tensors are.
    """
    layers = _layers(model)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    seen = 0
    try:
        with batch_statistics(model), torch.no_grad():
            for batch in batches:
                first = next(tensors_of(batch))
                length = len(first) if first.ndim else 1
                seen += length
                for layer in layers:
                    layer.momentum = length / seen  # 1 at first: nothing is left of the old ones
                evaluate(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _layers(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
