"""Which layers have a form of their own, and the answer about one of their weights from one recorded call.

| layer | weight |
| --- | --- |
| linear, at any number of positions | factors (`analysis.noise.factored`) |
| convolution and transposed convolution, 1 to 3 axes | factors |
| embedding | output gradients added up by (sample, word) |
| layer, group, batch (running statistics) and RMS norm | output gradient times normalized input, summed |

A bias is the output gradient summed over positions. A layer must be of torch's own forward function: what a subclass or
a parametrization computes otherwise is unknown. Attention is covered by the linear layers it calls; those of
`nn.MultiheadAttention` are not called but read, and have no form.

Proved right by plain autograd, sample by sample, on every layer (`tests/analysis/noise/test_layer_forms.py`).
Cost: for embeddings and norms one or two passes over the output gradient; else see `analysis.noise.factored`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.noise.factored import of_factors
from analysis.noise.factors import ConvolutionFactors, LinearFactors
from analysis.noise.scalars import Raw, Target, assembled, centered, deviations, of_gradients

_CONVOLUTIONS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_OTHERS = (nn.Linear, nn.Embedding, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Call(NamedTuple):
    """One call of a layer during a pass over a batch.

    Attributes:
        module: The layer.
        inputs: Its only argument, the samples along the first axis.
        statistics: (running mean, running variance) that a batch norm used; () for other layers.
        slopes: Gradient of the batch's loss_sum by the output.
    """

    module: nn.Module
    inputs: Tensor
    statistics: tuple[Tensor, ...]
    slopes: Tensor


def has_form(module: nn.Module, own_name: str, dims: tuple[int, ...]) -> bool:
    """Return whether a weight can be answered for from calls of the module that holds it.

    Args:
        module: Holds the weight.
        own_name: Of the weight in the module.
        dims: Axes that make up one row for P.
    """
    kind = _kind(module)
    if kind is None or "forward" in vars(module) or own_name not in {"weight", "bias"}:
        return False
    if own_name == "bias":
        return not dims
    if isinstance(module, nn.Embedding):
        return module.max_norm is None and not (dims or module.scale_grad_by_freq or module.sparse)
    return True


def answer(call: Call, own_name: str, target: Target) -> tuple[Tensor, str]:
    """Return what is asked about one weight of a called layer.

    Args:
        call: Of a layer for which `has_form` holds.
        own_name: "weight" or "bias".
        target: What is asked.

    Returns:
        [kind, (square, product, neighbor), B] in float64, and the way it was found: "gram", "product", "grouped" or
        "sum".
    """
    if own_name == "weight" and isinstance(call.module, (nn.Linear, nn.modules.conv._ConvNd)):
        factors = _factors(call)
        return of_factors(factors, len(call.inputs), target), factors.way
    if isinstance(call.module, nn.Embedding):
        return _embedding(call, target), "sum"
    return of_gradients(_summed(call, own_name, target), target), "sum"


def last_gradient(call: Call, own_name: str, target: Target) -> Tensor:
    """Return the gradient, or deviation, of the last sample of a call: the `Target.previous` of the next one.

    Args:
        call: As for `answer`.
        own_name: "weight" or "bias".
        target: What is asked.

    Returns:
        [*shape].
    """
    one = call._replace(inputs=call.inputs[-1:], slopes=call.slopes[-1:])
    if own_name == "weight" and isinstance(call.module, (nn.Linear, nn.modules.conv._ConvNd)):
        factors = _factors(one)
        if factors.way == "gram":
            factors.take("product")
        found = factors.gradients(0, 1)
    elif isinstance(call.module, nn.Embedding):
        pairs, sums = _by_word(one, target)
        found = sums.new_zeros(1, *target.shape).index_copy_(1, pairs, sums[None])
    else:
        found = _summed(one, own_name, target)
    return deviations(found, target)[0]


def positions(module: nn.Module) -> tuple[int, int]:
    """Return the first and the last axis of the input, from the end if negative, that single units span.

    Args:
        module: With a form.
    """
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return -len(module.normalized_shape), -1
    return (-1, -1) if isinstance(module, (nn.Linear, nn.Embedding)) else (1, 1)


def is_batched(module: nn.Module, inputs: Tensor) -> bool:
    """Return whether an input has an axis for samples before those that the layer needs.

    Args:
        module: With a form.
        inputs: Its argument.
    """
    if isinstance(module, nn.modules.conv._ConvNd):
        return inputs.ndim == len(module.kernel_size) + 2
    if isinstance(module, nn.Embedding):
        return inputs.ndim >= 1
    return inputs.ndim >= 1 - positions(module)[0] if positions(module)[0] < 0 else inputs.ndim >= 2


def _kind(module: nn.Module) -> type[nn.Module] | None:
    """Return the layer of torch whose forward function this module has."""
    kinds = (kind for kind in (*_OTHERS, *_CONVOLUTIONS, *_BATCH_NORMS) if isinstance(module, kind))
    return next((kind for kind in kinds if type(module).forward is kind.forward), None)


def _factors(call: Call) -> LinearFactors | ConvolutionFactors:
    if isinstance(call.module, nn.Linear):
        return LinearFactors(call.inputs, call.slopes)
    return ConvolutionFactors(call.module, call.inputs, call.slopes)  # type: ignore[arg-type]


def _summed(call: Call, own_name: str, target: Target) -> Tensor:
    """Return the gradients of a bias or of a norm layer's weight, sums over positions: [B, *shape]."""
    values = call.slopes * _normalized(call) if own_name == "weight" else call.slopes
    if positions(call.module)[0] < 0:  # the units come last
        return values.reshape(len(values), -1, *target.shape).sum(1)
    return values.flatten(2).sum(2) if values.ndim > 2 else values


def _normalized(call: Call) -> Tensor:
    """Return the input as the norm layer scales it."""
    module, inputs = call.module, call.inputs
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(inputs, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.RMSNorm):
        return F.rms_norm(inputs, module.normalized_shape, eps=module.eps)
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(inputs, module.num_groups, eps=module.eps)
    mean, variance = call.statistics
    return F.batch_norm(inputs, mean, variance, eps=module.eps)  # type: ignore[arg-type]


def _embedding(call: Call, target: Target) -> Tensor:
    """Answer for the words that occur; P does nothing to embeddings."""
    pairs, sums = _by_word(call, target)
    sample, word = pairs // target.shape[0], pairs % target.shape[0]

    def by_sample(products: Tensor) -> Tensor:
        return sums.new_zeros(len(call.inputs)).index_add_(0, sample, products.sum(1))

    along = None if target.along is None else by_sample(sums * target.along[word])
    neighbor = None
    if target.previous is not None:
        before = torch.searchsorted(pairs, pairs - target.shape[0])  # the same word in the sample before
        is_there = pairs[before] == pairs - target.shape[0]
        others = torch.where(
            is_there.unsqueeze(1), sums[before], torch.where(sample.unsqueeze(1) == 0, target.previous[word], 0.0)
        )
        neighbor = by_sample(sums * others)
    return assembled(centered(Raw(by_sample(sums.square()), along, neighbor), target), (), target)


def _by_word(call: Call, target: Target) -> tuple[Tensor, Tensor]:
    """Add up the output gradients of equal words of a sample: (sample * words + word [n], sorted; sums [n, width])."""
    size, width = len(call.inputs), target.shape[1]
    words = call.inputs.reshape(size, -1)  # [B, T]
    slopes = call.slopes.reshape(size, -1, width)
    padding = call.module.padding_idx
    if isinstance(padding, int):
        slopes = slopes * words.ne(padding).unsqueeze(2)
    sample = torch.arange(size, device=words.device).unsqueeze(1).expand_as(words)
    pairs, place = torch.unique(sample * target.shape[0] + words, return_inverse=True)
    return pairs, slopes.new_zeros(len(pairs), width).index_add_(0, place.flatten(), slopes.flatten(0, 1))
