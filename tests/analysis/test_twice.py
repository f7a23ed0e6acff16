"""Convolutions and batch norm differentiated twice: against numerical derivatives and torch's own formulas."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from analysis import twice
from analysis.twice import FastDoubleBackward, outputs_only
from tests.compare import assert_close


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


OPERATIONS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, padding=1), [(2, 2, 5), (3, 2, 3), (3,)]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(2, 2, 4, 4), (3, 2, 3, 3), (3,)]),
    "stride, dilation": (
        lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
        [(2, 2, 5, 5), (3, 2, 3, 3), (3,)],
    ),
    "groups": (lambda x, w, b: F.conv2d(x, w, b, groups=2), [(2, 4, 4, 4), (6, 2, 3, 3), (6,)]),
    "depthwise": (lambda x, w, b: F.conv2d(x, w, b, groups=3), [(2, 3, 4, 4), (3, 1, 3, 3), (3,)]),
    "without bias": (lambda x, w: F.conv2d(x, w), [(2, 2, 4, 4), (3, 2, 3, 3)]),
    "conv3d": (lambda x, w, b: F.conv3d(x, w, b), [(1, 2, 3, 3, 3), (2, 2, 2, 2, 2), (2,)]),
    "transposed": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=2),
        [(2, 4, 3, 3), (4, 1, 3, 3), (2,)],
    ),
    "transposed 1d": (lambda x, w, b: F.conv_transpose1d(x, w, b, dilation=2), [(2, 2, 4), (2, 3, 2), (3,)]),
    "batch norm": (
        lambda x, w, b: F.batch_norm(x, torch.ones(3).double() / 3, torch.full((3,), 2.0).double(), w, b),
        [(4, 3, 2, 2), (3,), (3,)],
    ),
    "batch norm, no bias": (
        lambda x, w: F.batch_norm(x, torch.ones(3).double() / 3, torch.full((3,), 2.0).double(), w),
        [(4, 3), (3,)],
    ),
    "batch norm, no weight": (
        lambda x: F.batch_norm(x, torch.ones(3).double() / 3, torch.full((3,), 2.0).double()),
        [(4, 3)],
    ),
}


def fast(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def inside(*args: Any) -> Tensor:
        with FastDoubleBackward():
            return function(*args)

    return inside


def names_in_graph(y: Tensor) -> set[str]:
    seen, waiting = set(), [y.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions)
    return {type(node).__name__ for node in seen}


@pytest.mark.parametrize("name", OPERATIONS)
def test_first_and_second_derivatives_equal_numerical_ones(name: str) -> None:
    """Fails if a term of the second derivative is left out, or taken at the wrong argument."""
    torch.manual_seed(0)
    function, shapes = OPERATIONS[name]
    inputs = [randn(*shape).requires_grad_() for shape in shapes]
    assert "_OnceBackward" in names_in_graph(fast(function)(*inputs))
    assert_close(fast(function)(*inputs).detach(), function(*inputs).detach(), relative=1e-14)  # sums in another order
    assert gradcheck(fast(function), inputs)
    assert gradgradcheck(fast(lambda *args: function(*args).square()), inputs)  # a loss that is not linear in y


@pytest.mark.parametrize("needed", [(True, False, False), (False, True, False), (False, False, True)])
@pytest.mark.parametrize("name", ["conv2d", "transposed", "batch norm"])
def test_one_argument_alone_that_needs_a_gradient(name: str, needed: tuple[bool, ...]) -> None:
    torch.manual_seed(1)
    function, shapes = OPERATIONS[name]
    inputs = [randn(*shape).requires_grad_(need) for shape, need in zip(shapes, needed, strict=True)]
    assert gradgradcheck(fast(lambda *args: function(*args).pow(3)), inputs)


@pytest.mark.parametrize(("dtype", "eps"), [(torch.float32, 1.2e-7), (torch.float64, 2.2e-16)])
def test_product_of_a_network_equals_that_of_torch(dtype: torch.dtype, eps: float) -> None:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.Conv2d(4, 4, 3, stride=2), nn.BatchNorm2d(4),
        nn.Softplus(), nn.ConvTranspose2d(4, 2, 2), nn.Flatten(), nn.Linear(32, 3),
    ).to(dtype).eval()  # fmt: skip
    x, y = torch.randn(5, 2, 8, 8, dtype=dtype), torch.randint(3, (5,))
    parameters = list(model.parameters())
    vectors = [torch.randn_like(parameter) for parameter in parameters]

    def product() -> Tensor:
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), parameters, create_graph=True)
        return torch.cat([p.flatten() for p in torch.autograd.grad(gradients, parameters, vectors)])

    expected = product()
    with FastDoubleBackward():
        got = product()
    assert_close(got, expected, relative=1000 * eps)  # sums of some hundred terms through nine layers


@pytest.mark.parametrize("flatten", [lambda x: x.view(len(x), -1), lambda x: x.view(size=(len(x), 18))])
def test_a_model_that_flattens_images_by_view_still_runs(flatten: Callable[[Tensor], Tensor]) -> None:
    """Images have their channels last inside, which view() alone cannot flatten; numbers keep their places."""
    torch.manual_seed(3)
    x, w = randn(2, 2, 5, 5), randn(2, 2, 3, 3).requires_grad_()
    expected = flatten(F.conv2d(x, w))
    with FastDoubleBackward():
        images = F.conv2d(x, w)
        found = flatten(images)
        with pytest.raises(RuntimeError, match="invalid for input of size 36"):
            images.view(5, 7)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not images.is_contiguous()
    assert_close(found.detach(), expected.detach(), relative=1e-14)
    weights = torch.linspace(0, 1, 36, dtype=torch.float64).view(2, 18)
    got, truth = (torch.autograd.grad((weights * y).sum(), w)[0] for y in (found, expected))
    assert_close(got, truth, relative=1e-13)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: F.conv2d(x, w, padding="same"),
        lambda x, w: F.conv2d(x[0], w),
        lambda x, w: F.conv2d(x.bfloat16(), w.bfloat16()),
        lambda x, w: F.batch_norm(x, torch.zeros(2).double(), torch.ones(2).double(), training=True),
        lambda x, w: F.conv2d(x.detach(), w.detach()) + 0 * w.sum(),
    ],
    ids=["padding as a string", "one image without a batch", "bfloat16", "batch statistics", "no gradient needed"],
)
def test_what_it_does_not_know_is_left_to_torch(function: Callable[..., Tensor]) -> None:
    x, w = randn(2, 2, 4, 4).requires_grad_(), randn(2, 2, 3, 3).requires_grad_()
    with FastDoubleBackward(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bfloat16 kernels may warn
        y = function(x, w)
        with torch.no_grad():
            assert F.conv2d(x, w).grad_fn is None
    assert "_OnceBackward" not in names_in_graph(y)
    assert torch.equal(y, function(x, w))


def test_a_third_derivative_is_refused() -> None:
    """Without its graph it would come out too small, in silence."""
    x, w = randn(2, 2, 4, 4), randn(3, 2, 3, 3).requires_grad_()
    with FastDoubleBackward():
        first = torch.autograd.grad(F.conv2d(x, w).pow(4).sum(), w, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="a third derivative was asked for"):
        torch.autograd.grad(first.sum(), w, create_graph=True)


def test_derivatives_by_the_output_alone_take_no_backward_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """U -> J^T u differentiated by u: torch would have input and weight differentiated too, and throw that away."""
    calls = []
    kernel = twice._Convolution.backward
    monkeypatch.setattr(
        twice._Convolution, "backward", lambda *args, **kwargs: calls.append(1) or kernel(*args, **kwargs)
    )
    torch.manual_seed(4)
    x, w = randn(2, 2, 5, 5).requires_grad_(), randn(3, 2, 3, 3).requires_grad_()
    with FastDoubleBackward():
        y = F.conv2d(x, w)
    u = torch.zeros_like(y, requires_grad=True)
    pulled = torch.autograd.grad(y, w, u, create_graph=True)[0]
    v = torch.randn_like(w)
    calls.clear()
    expected = torch.autograd.grad(pulled, u, v, retain_graph=True)[0]
    assert len(calls) == 1
    with outputs_only():
        found = torch.autograd.grad(pulled, u, v)[0]
    assert len(calls) == 1
    assert torch.equal(found, expected)
    assert_close(found, F.conv2d(x, v).detach(), relative=1e-13)
