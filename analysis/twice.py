"""Convolution and batch norm that can be differentiated twice at the cost of differentiating them once, twice.

Both are bilinear in input and weight: y = B(x, w). Let K(g; x, w) be the backward kernel, with one output for x and one
for w. Its derivative in the directions (u, v) of those outputs is again made of B and K: B(u, w) + B(x, v) for g, and
K(g; v, u) for x and w. torch's own formulas go another way: they transpose input and gradient into a convolution whose
kernel is as large as the image, and spell batch norm out in a dozen passes over memory. On a CPU images are laid out
with their channels last besides, whatever the layout of the model: both kernels are faster so.

Proved right by: `gradgradcheck` in float64 for every option of a convolution, and products equal to torch's
(`tests/analysis/test_twice.py`). Cost of a second derivative: one forward and one backward kernel, beside those of the
first. Measured by `benchmarks/curvature.py --only product`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.overrides import TorchFunctionMode

Mask = list[bool]
Three = tuple["Tensor | None", "Tensor | None", "Tensor | None"]


class ThirdDerivative(RuntimeError):
    """What was recorded in the form above was to be differentiated once more than that form allows."""


class _Bilinear(Protocol):
    """An operation y = B(x, w) + b with fast kernels for itself and its first derivative."""

    def forward(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, *, is_tangent: bool) -> Tensor:
        """Return y; for a tangent, without what does not depend on x."""

    def backward(self, grad: Tensor, x: Tensor, weight: Tensor | None, mask: Mask, *, is_tangent: bool) -> Three:
        """Return the derivatives by x, weight and bias, those the mask asks for."""


class _Convolution(NamedTuple):
    """Any convolution, transposed or not; `rest` is stride, padding, dilation, transposed, output_padding, groups."""

    rest: tuple[Any, ...]

    def forward(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, *, is_tangent: bool) -> Tensor:  # noqa: ARG002
        y: Tensor = torch.ops.aten.convolution(x, weight, bias, *self.rest)
        return y

    def backward(self, grad: Tensor, x: Tensor, weight: Tensor | None, mask: Mask, *, is_tangent: bool) -> Three:  # noqa: ARG002
        sizes = [grad.shape[1]] if mask[2] else None
        three: Three = torch.ops.aten.convolution_backward(grad, x, weight, sizes, *self.rest, mask)
        return three


class _FixedBatchNorm(NamedTuple):
    """Batch norm by given statistics: (x - mean) / sqrt(variance + eps) * weight + bias."""

    mean: Tensor
    zero: Tensor
    variance: Tensor
    eps: float

    def forward(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, *, is_tangent: bool) -> Tensor:
        mean = self.zero if is_tangent else self.mean
        y: Tensor = torch.ops.aten.native_batch_norm(x, weight, bias, mean, self.variance, False, 0.0, self.eps)[0]
        return y

    def backward(self, grad: Tensor, x: Tensor, weight: Tensor | None, mask: Mask, *, is_tangent: bool) -> Three:
        mean = self.zero if is_tangent else self.mean
        three: Three = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, self.variance, None, None, False, self.eps, mask
        )
        return three


_is_outputs_only = False  # not a context variable: the backward of a GPU runs in threads of its own


@contextmanager
def outputs_only() -> Iterator[None]:
    """Within this context second derivatives are taken by the incoming gradient alone, not by input and weight.

    For u -> J^T u, which is differentiated by u: torch does not tell a function which of its inputs are asked for.

    Yields:
        Nothing.
    """
    global _is_outputs_only
    before, _is_outputs_only = _is_outputs_only, True
    try:
        yield
    finally:
        _is_outputs_only = before


class _Once(Function):
    """y = B(x, w) + b, whose backward is `_Twice`."""

    @staticmethod
    def forward(ctx: Any, op: _Bilinear, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.op = op
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return op.forward(x, weight, bias, is_tangent=False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad = grads[0]
        if grad is None:
            return None, None, None, None
        x, weight = ctx.saved_tensors
        return (None, *_Twice.apply(ctx.op, list(ctx.needs_input_grad[1:]), grad, x, weight))  # type: ignore[no-untyped-call]


class _Twice(Function):
    """K(g; x, w), whose backward is made of B and K."""

    @staticmethod
    def forward(ctx: Any, op: _Bilinear, mask: Mask, grad: Tensor, x: Tensor, weight: Tensor) -> Three:
        ctx.op = op
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad, x, weight)
        return op.backward(grad, x, weight, mask, is_tangent=False)

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, c: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # once_differentiable sees u, v, c only, and would let the saved ones pass
            raise ThirdDerivative(
                "a third derivative was asked for, but this form has only two; leave the context for it"
            )
        grad, x, weight = ctx.saved_tensors
        by_grad = by_x = by_weight = None
        if ctx.needs_input_grad[2]:
            by_grad = _sum_of_parts(ctx.op, x, weight, u, v, c)
        mask = [v is not None and ctx.needs_input_grad[3], u is not None and ctx.needs_input_grad[4], False]
        if any(mask) and not _is_outputs_only:
            # what the mask leaves out may be any tensor of the right shape
            by_x, by_weight, _ = ctx.op.backward(
                grad, x if u is None else u, weight if v is None else v, mask, is_tangent=True
            )
        return None, None, by_grad, by_x if mask[0] else None, by_weight if mask[1] else None


def _sum_of_parts(
    op: _Bilinear, x: Tensor, weight: Tensor, u: Tensor | None, v: Tensor | None, c: Tensor | None
) -> Tensor | None:
    parts = []
    if u is not None:
        parts.append(op.forward(u, weight, None, is_tangent=True))
    if v is not None:
        parts.append(op.forward(x, v, c, is_tangent=False))
    elif c is not None:
        template = parts[0] if parts else op.forward(x, weight, None, is_tangent=False)
        parts.append(c.view(-1, *[1] * (template.ndim - 2)).expand_as(template))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else parts[0].add_(parts[1])


class FastDoubleBackward(TorchFunctionMode):
    """Within this context convolutions and evaluation-mode batch norms are recorded in the form above.

    What it does not know (strings as padding, mixed dtypes, batch statistics) is left to torch, and so is everything
    that needs no gradient.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace what can be replaced, and call the rest as it is.

        Args:
            func: What torch was asked to do.
            types: Unused.
            args: Its arguments.
            kwargs: Its named arguments.

        Returns:
            Its result.
        """
        kwargs = kwargs or {}
        reader = _READERS.get(func)
        if reader is not None and torch.is_grad_enabled():
            read = reader(*args, **kwargs)
            if read is not None:
                return _Once.apply(*read)  # type: ignore[no-untyped-call]
        if func is torch.Tensor.view and torch.is_grad_enabled():
            return _viewed(*args, **kwargs)
        return func(*args, **kwargs)


def _viewed(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    try:
        return tensor.view(*args, **kwargs)
    except RuntimeError:
        # a model that flattens images by view() counts on a layout that is not kept here
        return tensor.contiguous().view(*args, **kwargs)


_Read = tuple[_Bilinear, Tensor, Tensor, "Tensor | None"]


def _uniform(x: Tensor, *others: Tensor | None) -> bool:
    """Whether all are plain tensors of one floating-point type that the kernels know, and any needs a gradient."""
    given = [x, *(tensor for tensor in others if tensor is not None)]
    same = all(tensor.dtype == x.dtype and tensor.layout == torch.strided for tensor in given)
    return same and x.dtype in (torch.float32, torch.float64) and any(tensor.requires_grad for tensor in given)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> _Read | None:
    dims = weight.ndim - 2
    if isinstance(padding, str) or x.ndim != weight.ndim or not _uniform(x, weight, bias):
        return None
    rest = (_each(stride, dims), _each(padding, dims), _each(dilation, dims), False, [0] * dims, groups)
    return _Convolution(rest), _channels_last(x), _channels_last(weight), bias


def _transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> _Read | None:
    dims = weight.ndim - 2
    if x.ndim != weight.ndim or not _uniform(x, weight, bias):
        return None
    rest = (_each(stride, dims), _each(padding, dims), _each(dilation, dims), True, _each(output_padding, dims), groups)
    return _Convolution(rest), x, weight, bias


def _batch_norm(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> _Read | None:
    if training or mean is None or variance is None or not _uniform(x, weight, bias, mean, variance):
        return None
    weight = torch.ones_like(mean) if weight is None else weight
    return _FixedBatchNorm(mean, torch.zeros_like(mean), variance, eps), x, weight, bias


def _channels_last(tensor: Tensor) -> Tensor:
    """Return images with their channels side by side in memory: faster on a CPU, and kept by all that follows."""
    is_image = tensor.ndim == 4 and tensor.device.type == "cpu"
    return tensor.contiguous(memory_format=torch.channels_last) if is_image else tensor


def _each(value: Any, dims: int) -> list[int]:
    values = [value] * dims if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


_READERS: Mapping[Callable[..., Any], Callable[..., _Read | None]] = {
    torch.conv1d: _convolution,
    torch.conv2d: _convolution,
    torch.conv3d: _convolution,
    torch.conv_transpose1d: _transposed,
    torch.conv_transpose2d: _transposed,
    torch.conv_transpose3d: _transposed,
    torch.nn.functional.batch_norm: _batch_norm,
}
