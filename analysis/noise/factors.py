"""Linear layers and convolutions as factors: a sample's gradient is a sum of outer products, which need not be formed.

At each position t the layer maps an input vector u_t [K] to an output [O]; with the gradient d_t of that output a
sample's gradient is g = sum_t d_t u_t^T. Three ways lead to ||g||^2: the Gram form sum_{t,t'} (d_t . d_t')(u_t . u_t'),
a product of unfolded inputs that forms g, and a convolution with one group a sample that forms it without unfolding.
Sums over the rows of g times a given V need only the layer itself with V in the place of its weight.

Proved right by plain autograd, sample by sample (`tests/analysis/noise/test_factors.py`).
Cost: multiplications T^2 (K + O) for a sample in the Gram form, else T K O, as the gradient of the weight itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Numbers held beside the layer's input and output: gradients formed, inputs unfolded, Gram matrices. Our choice:
# 8 MiB in float32, because larger pieces leave the cache and cost up to three times the time on one core.
PIECE_NUMBERS = 2**21
# From so many positions on the grouped convolution beat the unfolded product on a CPU (ResNet-18 and -20).
GROUPED_FROM = 65


# The Gram form writes less, so that it is faster up to a quarter more multiplications, where nothing but norms is asked
# (64 channels of 8 x 8 pixels, on a CPU); each further vector costs it a pass of the layer.
GRAM_ALLOWANCE = 1.25


class Factors(Protocol):
    """A layer whose output is linear in its weight, with the input and the output gradient of one batch."""

    way: str
    piece: int
    is_gram_close: bool  # whether the Gram form takes hardly more multiplications

    def take(self, way: str) -> None:
        """Choose the way, and the samples that it works on at once."""

    def squares(self, start: int, stop: int) -> Tensor:
        """Return ||g_i||^2 of some samples, [C], by the Gram form."""

    def neighbors(self, start: int, stop: int) -> Tensor:
        """Return <g_i, g_{i-1}> of some samples from the second on, [C], by the Gram form."""

    def gradients(self, start: int, stop: int) -> Tensor:
        """Return g_i of some samples, [C, *shape]."""

    def rows(self, vector: Tensor, size: int | None = None) -> Tensor:
        """Return the sum over each row of g_i times a vector of the weight's shape, of all or the first, [B, rows]."""

    def row_sums(self) -> Tensor:
        """Return the sum over each row of g_i, [B, rows]."""


class LinearFactors:
    """A linear layer at any number of positions.

    Args:
        inputs: [B, ..., K].
        slopes: Gradient of the loss by the output, [B, ..., O].
    """

    def __init__(self, inputs: Tensor, slopes: Tensor) -> None:
        size = len(inputs)
        self._u = inputs.reshape(size, -1, inputs.shape[-1])  # [B, T, K]
        self._d = slopes.reshape(size, -1, slopes.shape[-1])  # [B, T, O]
        places, fan_in, outputs = self._u.shape[1], self._u.shape[2], self._d.shape[2]
        self._numbers = {"gram": 2 * places**2, "product": fan_in * outputs}
        self.take("gram" if _is_gram_cheaper(places, fan_in, outputs) else "product")
        self.is_gram_close = _is_gram_cheaper(places, fan_in, outputs, GRAM_ALLOWANCE)

    def take(self, way: str) -> None:
        """See `Factors`."""
        self.way, self.piece = way, _piece(self._numbers[way])

    def squares(self, start: int, stop: int) -> Tensor:
        """See `Factors`."""
        return _gram(self._u[start:stop].mT, self._d[start:stop].mT)

    def neighbors(self, start: int, stop: int) -> Tensor:
        """See `Factors`."""
        return _neighboring_gram(self._u[start - 1 : stop].mT, self._d[start - 1 : stop].mT)

    def gradients(self, start: int, stop: int) -> Tensor:
        """See `Factors`."""
        return torch.bmm(self._d[start:stop].mT, self._u[start:stop])

    def rows(self, vector: Tensor, size: int | None = None) -> Tensor:
        """See `Factors`."""
        return (self._d[:size] * (self._u[:size] @ vector.T)).sum(1)

    def row_sums(self) -> Tensor:
        """See `Factors`."""
        return torch.bmm(self._d.mT, self._u.sum(2, keepdim=True)).squeeze(2)


class Geometry(NamedTuple):
    """How a convolution walks over its input."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class ConvolutionFactors:
    """A convolution over 1 to 3 axes, or a transposed one.

    The gradient of a transposed convolution is that of a plain one from its output to its input: for g the two change
    places, while rows belong to the output in both.

    Args:
        module: Whose weight.
        inputs: [B, C, ...].
        slopes: Gradient of the loss by the output, [B, O, ...].
    """

    def __init__(self, module: nn.modules.conv._ConvNd, inputs: Tensor, slopes: Tensor) -> None:
        padding, self._input = _padded(module, inputs)
        self._slopes = slopes
        walk = Geometry(module.kernel_size, module.stride, padding, module.dilation, module.groups)
        self._walk, self._is_transposed = walk, module.transposed
        self._x, self._y = (slopes, self._input) if module.transposed else (self._input, slopes)
        places = math.prod(self._y.shape[2:])
        fan_in = self._x.shape[1] // walk.groups * math.prod(walk.kernel)
        outputs = self._y.shape[1] // walk.groups
        self._shape = (self._y.shape[1], self._x.shape[1] // walk.groups, *walk.kernel)
        unfolded, formed = walk.groups * places * fan_in, walk.groups * outputs * fan_in
        grams = unfolded + 2 * walk.groups * places**2
        self._numbers = {"gram": grams, "grouped": formed, "product": unfolded + formed}
        if _is_gram_cheaper(places, fan_in, outputs):
            self.take("gram")
        else:
            self.take("grouped" if places >= GROUPED_FROM and self._is_filled() else "product")
        self.is_gram_close = _is_gram_cheaper(places, fan_in, outputs, GRAM_ALLOWANCE)

    def take(self, way: str) -> None:
        """See `Factors`."""
        self.way, self.piece = way, _piece(self._numbers[way])

    def squares(self, start: int, stop: int) -> Tensor:
        """See `Factors`."""
        u, d = self._unfolded(start, stop), self._grouped_slopes(start, stop)
        return _gram(u.flatten(0, 1), d.flatten(0, 1)).view(stop - start, -1).sum(1)

    def neighbors(self, start: int, stop: int) -> Tensor:
        """See `Factors`."""
        return _neighboring_gram(self._unfolded(start - 1, stop), self._grouped_slopes(start - 1, stop))

    def gradients(self, start: int, stop: int) -> Tensor:
        """See `Factors`."""
        if self.way == "grouped":
            return self._by_one_group_each(start, stop)
        u, d = self._unfolded(start, stop), self._grouped_slopes(start, stop)
        return (d @ u.mT).reshape(stop - start, *self._shape)

    def rows(self, vector: Tensor, size: int | None = None) -> Tensor:
        """See `Factors`."""
        return (self._slopes[:size] * self._applied(self._input[:size], vector)).flatten(2).sum(2)

    def row_sums(self) -> Tensor:
        """See `Factors`."""
        groups = self._walk.groups
        together = _split(self._input, groups).sum(2)
        box = together.new_ones(groups, 1, *self._walk.kernel)
        sums = self._applied(together, box).flatten(2)  # [B, groups, T]
        slopes = _split(self._slopes.flatten(2), groups)  # [B, groups, O / groups, T]
        return (slopes @ sums.unsqueeze(3)).flatten(1)

    def _applied(self, inputs: Tensor, weight: Tensor) -> Tensor:
        walk = self._walk
        extra = [0] * len(walk.kernel)
        if self._is_transposed:
            spans = _spans(walk, inputs.shape[2:])
            pairs = zip(self._slopes.shape[2:], spans, walk.padding, strict=True)
            extra = [size - span + 2 * pad for size, span, pad in pairs]
        found: Tensor = torch.convolution(
            inputs, weight, None, walk.stride, walk.padding, walk.dilation, self._is_transposed, extra, walk.groups
        )
        return found

    def _unfolded(self, start: int, stop: int) -> Tensor:
        """Return [C, groups, K, T]."""
        walk = self._walk
        x = F.pad(self._x[start:stop], [pad for pad in reversed(walk.padding) for _ in range(2)])
        places, strides = self._y.shape[2:], x.stride()[2:]
        inner = [stride * step for stride, step in zip(strides, walk.dilation, strict=True)]
        outer = [stride * step for stride, step in zip(strides, walk.stride, strict=True)]
        view = x.as_strided((*x.shape[:2], *walk.kernel, *places), (*x.stride()[:2], *inner, *outer))
        return view.reshape(len(x), walk.groups, -1, math.prod(places))

    def _grouped_slopes(self, start: int, stop: int) -> Tensor:
        """Return [C, groups, O / groups, T]."""
        return _split(self._y[start:stop].flatten(2), self._walk.groups)

    def _by_one_group_each(self, start: int, stop: int) -> Tensor:
        x, y, walk = self._x[start:stop], self._y[start:stop], self._walk
        shape = (len(x) * self._shape[0], *self._shape[1:])
        found: Tensor = torch.ops.aten.convolution_backward(
            y.reshape(1, -1, *y.shape[2:]),
            x.reshape(1, -1, *x.shape[2:]),
            x.new_empty(1).expand(shape),  # only its shape is read
            None,
            walk.stride,
            walk.padding,
            walk.dilation,
            False,
            [0] * len(walk.kernel),
            len(x) * walk.groups,
            [False, True, False],
        )[1]
        return found.view(len(x), *self._shape)

    def _is_filled(self) -> bool:
        """Whether y is as large as a plain convolution of x; a transposed one with much output_padding is not."""
        spans = _spans(self._walk, self._y.shape[2:])
        sizes = zip(self._x.shape[2:], self._walk.padding, spans, self._walk.stride, strict=True)
        return all(size + 2 * pad - span < stride for size, pad, span, stride in sizes)


def _spans(walk: Geometry, places: torch.Size) -> Iterator[int]:
    """Yield how much of the padded long side of each axis is touched."""
    for size, stride, kernel, dilation in zip(places, walk.stride, walk.kernel, walk.dilation, strict=True):
        yield (size - 1) * stride + dilation * (kernel - 1) + 1


def _padded(module: nn.modules.conv._ConvNd, inputs: Tensor) -> tuple[tuple[int, ...], Tensor]:
    """Return what is left to pad with zeros, and the input padded otherwise."""
    if module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return module.padding, inputs
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return (0,) * len(module.kernel_size), F.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)


def _split(channels: Tensor, groups: int) -> Tensor:
    """Return [B, C, ...] as [B, groups, C / groups, ...]."""
    return channels.reshape(len(channels), groups, -1, *channels.shape[2:])


def _is_gram_cheaper(places: int, fan_in: int, outputs: int, allowance: float = 1.0) -> bool:
    return places * (fan_in + outputs) < allowance * fan_in * outputs


def _gram(u: Tensor, d: Tensor) -> Tensor:
    """Return the sum of (u^T u) * (d^T d) for u [C, K, T] and d [C, O, T]: [C]."""
    found: Tensor = torch.linalg.vecdot(torch.bmm(u.mT, u).flatten(1), torch.bmm(d.mT, d).flatten(1))
    return found


def _neighboring_gram(u: Tensor, d: Tensor) -> Tensor:
    """Return the sum of (u_i^T u_{i-1}) * (d_i^T d_{i-1}) over all but the sample axis, [C - 1]."""
    products = (u[1:].mT @ u[:-1]) * (d[1:].mT @ d[:-1])
    return products.flatten(1).sum(1)


def _piece(numbers: int) -> int:
    return max(1, PIECE_NUMBERS // max(1, numbers))
