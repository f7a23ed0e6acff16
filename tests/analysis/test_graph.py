"""Bytes of graphs against tensors of known size, and graphs that cannot be differentiated again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from analysis.graph import check_differentiable, graph_bytes
from analysis.twice import FastDoubleBackward


def test_a_graph_is_what_its_operations_save() -> None:
    """The exponential saves its result, the product both factors; the leaf itself is left out by name."""
    x = torch.randn(1000, dtype=torch.float64, requires_grad=True)
    y = x.exp()
    z = y * y.detach().clone()
    expected = 3 * 8000  # y, its clone, and z itself
    assert graph_bytes([z], without=[x]) == expected
    assert graph_bytes([z]) == expected  # x is saved by nothing
    assert graph_bytes([z, y], without=[x, y]) == expected - 8000
    assert graph_bytes([torch.ones(3)]) == 12


def test_functions_written_in_python_are_counted() -> None:
    x, w = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)
    with FastDoubleBackward():
        y = torch.nn.functional.conv2d(x, w)
    assert graph_bytes([y]) == x.nbytes + w.nbytes + y.nbytes


def test_twice_the_samples_twice_the_graph() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    one, two = (graph_bytes([model(torch.randn(n, 64)).sum()], without=model.parameters()) for n in (500, 1000))
    assert two == pytest.approx(2 * one, rel=1e-3)


def test_a_function_with_one_derivative_is_found() -> None:
    from tests.analysis.test_difference import OnceOnly

    x = torch.ones(3, requires_grad=True)
    first = torch.autograd.grad(OnceOnly.apply(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot differentiate twice"):
        check_differentiable(first)
    check_differentiable(torch.autograd.grad(x.sin().square().sum(), x, create_graph=True))
