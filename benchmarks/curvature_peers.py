"""Hessian products by this package and by other libraries, all on the same network, data and dtype.

Every contestant is built on a copy of the network in eval mode and takes flat vectors in the order of
`model.parameters()`. Settings are those under which each library does best: no check of determinism in curvlinops,
reorthogonalization in hessian-eigenthings, attention on the kernel that can be differentiated twice. Products are
counted by a wrapper that adds one to a number. PyHessian wants eigenvalues of largest magnitude; the others the most
positive.
Right when all of them find the eigenvalues of a dense Hessian (`tests/peers/test_curvature_peers.py`).
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis import Objective

__all__ = [
    "LIBRARIES",
    "Counted",
    "Found",
    "GaveUp",
    "Problem",
    "curvlinops_operator",
    "eigenthings_operator",
    "library",
    "math_attention",
    "products",
    "versions",
]

LIBRARIES = {
    "curvlinops": "curvlinops-for-pytorch",
    "hessian_eigenthings": "hessian-eigenthings",
    "pyhessian": "PyHessian",
}
"""Name to import, and name of the distribution."""


class Problem(NamedTuple):
    """What is differentiated: a network in eval mode, a mean loss, and batches, all of the same size."""

    model: nn.Module
    loss_fn: nn.Module
    batches: list[tuple[Tensor, Tensor]]

    def copied(self) -> nn.Module:
        """Return the network for one contestant."""
        return copy.deepcopy(self.model).eval()

    def objective(self, **options: Any) -> Objective:
        """Return our objective."""
        return Objective(self.copied(), self.loss_fn, self.batches, **options)


class Found(NamedTuple):
    """Eigenvalues [k] and vectors [k, D] as a library returned them."""

    values: Tensor
    vectors: Tensor


class GaveUp(Exception):
    """More products than we wait for."""


class Counted:
    """A function that knows how often it was called, and refuses after `limit` times.

    Args:
        function: What to call.
        limit: None for no limit.
    """

    def __init__(self, function: Callable[..., Any], limit: int | None = None) -> None:
        self.function, self.limit, self.calls = function, limit, 0

    def __call__(self, *arguments: Any) -> Any:
        """Call it.

        Returns:
            What it returns.

        Raises:
            GaveUp: Beyond the limit.
        """
        if self.limit is not None and self.calls >= self.limit:
            raise GaveUp(f"stopped after {self.limit} products")
        self.calls += 1
        return self.function(*arguments)


def versions() -> dict[str, str | None]:
    """Return the version of every library, None where it is not installed."""
    return {
        name: importlib.metadata.version(distribution) if importlib.util.find_spec(name) is not None else None
        for name, distribution in LIBRARIES.items()
    }


def products(problem: Problem) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return name to a Hessian product; without libraries not installed.

    Args:
        problem: Of what.
    """
    found: dict[str, Callable[[Tensor], Tensor]] = {
        "ours, graphs kept": problem.objective().hvp,
        "ours, recomputed": problem.objective(memory_budget=0).hvp,
        "torch, graphs kept": _by_torch(problem),
    }
    present = versions()
    if present["curvlinops"]:
        operator = curvlinops_operator("HessianLinearOperator", problem)

        def by_curvlinops(vector: Tensor) -> Tensor:
            with math_attention():
                product: Tensor = operator @ vector
            return product

        found["curvlinops"] = by_curvlinops
    if present["hessian_eigenthings"]:
        other = eigenthings_operator(problem)

        def by_eigenthings(vector: Tensor) -> Tensor:
            with math_attention():
                product: Tensor = other.matvec(vector)
            return product

        found["hessian_eigenthings"] = by_eigenthings
    return found


def _by_torch(problem: Problem) -> Callable[[Tensor], Tensor]:
    """Return what anyone would write to reuse a graph: a gradient with `create_graph`, differentiated each time."""
    model = problem.copied()
    parameters = list(model.parameters())
    gradients: list[Tensor] = []

    def product(vector: Tensor) -> Tensor:
        if not gradients:
            with math_attention():
                losses = [problem.loss_fn(model(x), y) for x, y in problem.batches]
                gradients.extend(torch.autograd.grad(sum(losses) / len(losses), parameters, create_graph=True))
        pieces = torch.split(vector, [parameter.numel() for parameter in parameters])
        shaped = [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]
        found = torch.autograd.grad(gradients, parameters, shaped, retain_graph=True)
        return torch.cat([piece.flatten() for piece in found])

    return product


def curvlinops_operator(name: str, problem: Problem, **options: Any) -> Any:
    """Return a linear operator of curvlinops over the mean loss, for example "GGNLinearOperator".

    Args:
        name: Of its class.
        problem: Of what; batches of equal size are needed by none, but keep the means comparable everywhere.
        **options: For the class.
    """
    model = problem.copied()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    options = {"check_deterministic": False, **options}  # that check is a pass over the data
    return getattr(library("curvlinops"), name)(model, problem.loss_fn, parameters, problem.batches, **options)


def eigenthings_operator(problem: Problem) -> Any:
    """Return the operator of hessian-eigenthings over the mean loss."""
    module = library("hessian_eigenthings")
    loss_fn = library("hessian_eigenthings.loss_fns.standard").supervised_loss(problem.loss_fn)
    return module.HessianOperator(problem.copied(), problem.batches, loss_fn)


def library(name: str) -> Any:
    """Import another library, without the warnings of its own imports."""
    with warnings.catch_warnings():
        # torch.jit.script is deprecated. linear_operator, which curvlinops imports, uses it as it is loaded, and torch
        # itself at the first use of forward mode, which is how curvlinops differentiates.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
        return importlib.import_module(name)


def math_attention() -> Any:
    """Hold attention on the kernel that can be differentiated twice."""
    return sdpa_kernel(SDPBackend.MATH)  # the fused kernels have neither forward mode nor a double backward
