"""XTrace: a trace from products with random vectors and with the space those products span, each vector left out once.

Every random vector w_i is multiplied, Y = H W, and so is a basis Q of the products. For each i the trace is exact on
the space of the other products, Q_(i), and estimated with w_i on what is orthogonal to it. That w_i took no part in
Q_(i) keeps each of these m estimates unbiased; their mean is the value.

Proved right by: unbiasedness and error bars over 200 seeds, exact traces where the rank or D is at most the number of
probes, and every sample against a dense QR of its own Q_(i) (`tests/analysis/curvature/test_xtrace.py`).
Cost: two products per probe and about 16 m^2 D operations for m probes; memory of 2 m D numbers.

References: Epperly, Tropp, Webber, XTrace, SIAM J. Matrix Anal. Appl. 45 (2024), arXiv 2301.07825. We differ: (1) Q
grows by one vector at a time, so that probes can be added; (2) a rounding-sized multiple of w_i is added to y_i, so
that a Y of low rank still has a basis of m vectors; (3) H is taken as symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import solve_triangular
from torch import Tensor

from analysis.curvature.lanczos import Operator, gaussian
from analysis.evidence import Status

Array = np.ndarray[Any, Any]
ROUNDINGS = 100  # of y_i, in the shift by w_i: products carry some ten, so the new direction is not made of those


class Probing(NamedTuple):
    """What a number of probes gave.

    Attributes:
        value: The trace; NaN where a product was not finite.
        standard_error: Of the value.
        samples: Estimates of the trace whose mean is the value, one per probe.
        squares: ||H v||^2 of each probe, with E[v v^T] = I.
        status: How it ended.
        num_hvps: Products used.
    """

    value: float
    standard_error: float
    samples: list[float]
    squares: list[float]
    status: Status
    num_hvps: int


def standard_error(samples: list[float] | Array) -> float:
    """Return the standard error of the mean of independent samples; 0 of a single one.

    Args:
        samples: At least one.
    """
    return float(np.std(samples, ddof=1) / math.sqrt(len(samples))) if len(samples) > 1 else 0.0


def xtrace(
    operator: Operator,
    *,
    tol: float,
    min_probes: int,
    max_hvps: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Probing:
    """Estimate the trace of a symmetric operator.

    The error is looked at after min_probes probes and then each time their number has doubled, or the budget is used.
    Earlier products are kept: none is taken twice. Probes end at D, where Q is a basis of everything and the trace
    exact. The samples share most of their Q_(i), so that their own spread does not show the error they have in common.
    The standard error is therefore the jackknife: the whole estimator made again without each probe, which takes no
    further product. Its square is too large rather than too small on average (Efron and Stein 1981).

    Args:
        operator: A symmetric matrix by its products.
        tol: Wanted standard error, relative to |value|, > 0.
        min_probes: Probes before the first look, >= 2.
        max_hvps: Budget, at least 2 * min_probes; an odd last product is not used.
        seed: Of the random vectors: Gaussian directions of norm sqrt(D), that is, uniform on the sphere.
        progress: Called as progress(products done, max_hvps).

    Returns:
        The estimate.
    """
    sketch = _Sketch(operator, seed)
    limit = min(max_hvps // 2, operator.num_parameters)
    look_at = min(min_probes, limit)
    while True:
        sketch.probe()
        if progress is not None:
            progress(sketch.num_hvps, max_hvps)
        if not sketch.is_finite:
            unknown = [math.nan] * len(sketch.squares)
            return Probing(math.nan, math.nan, unknown, unknown, Status.NOT_FINITE, sketch.num_hvps)
        if sketch.size < look_at:
            continue
        samples, error = sketch.estimate()
        value = float(np.mean(samples))
        converged = error <= tol * abs(value)
        if converged or sketch.size == limit:
            status = Status.CONVERGED if converged else Status.MAX_HVPS
            return Probing(value, error, samples.tolist(), sketch.squares, status, sketch.num_hvps)
        look_at = min(2 * look_at, limit)


class _Sketch:
    """W, known by its seed; rows q_i of Q and z_i = H q_i; and the triangle R of the QR of the shifted products."""

    def __init__(self, operator: Operator, seed: int) -> None:
        self._operator, self._seed = operator, seed
        self._generator = torch.Generator().manual_seed(seed)
        self._q: list[Tensor] = []
        self._z: list[Tensor] = []
        self._triangle: list[Array] = []  # columns of R, [i + 1]
        self._forms: list[float] = []  # w_i^T y_i
        self.squares: list[float] = []  # ||y_i||^2
        self.num_hvps = 0
        self.is_finite = True  # whether all products were

    @property
    def size(self) -> int:
        """Probes so far, m."""
        return len(self._q)

    @property
    def is_complete(self) -> bool:
        """Whether Q spans the whole space."""
        return self.size == self._operator.num_parameters

    def _draw(self, generator: torch.Generator) -> Tensor:
        vector = gaussian(self._operator, generator)
        length = torch.linalg.vector_norm(vector, dtype=torch.float64)
        return vector * float(math.sqrt(len(vector)) / length)

    def _product(self, vector: Tensor) -> tuple[Tensor, float]:
        product = self._operator.hvp(vector)
        self.num_hvps += 1
        length = float(torch.linalg.vector_norm(product, dtype=torch.float64))
        self.is_finite = math.isfinite(length)
        return product, length

    def probe(self) -> None:
        """Add a random vector and a vector of the basis, with one product each. Ends early if one is not finite."""
        vector = self._draw(self._generator)
        product, length = self._product(vector)
        self.squares.append(length**2)
        if not self.is_finite:
            return
        # without the shift a y_i inside the span of the others leaves no direction. The shift keeps the leave-one-out
        # exact: column i still depends on w_i alone, so Q_(i) does not know w_i
        rounding = ROUNDINGS * torch.finfo(self._operator.dtype).eps
        shift = rounding * length / math.sqrt(len(vector)) or 1.0
        rest = product + shift * vector
        column = np.zeros(self.size)
        for _ in range(2):
            part = _along(self._q, rest)
            for row, amount in zip(self._q, part, strict=True):
                rest.sub_(row, alpha=float(amount))
            column += part
        height = float(torch.linalg.vector_norm(rest, dtype=torch.float64))
        image, _ = self._product(rest.div_(height))
        self._forms.append(float((vector * product).sum(dtype=torch.float64)))
        self._triangle.append(np.append(column, height))
        self._q.append(rest)
        self._z.append(image)

    def estimate(self) -> tuple[Array, float]:
        """Return the estimate of each probe, [m], and the jackknife standard error of their mean."""
        m, size = self.size, self._operator.num_parameters
        core = np.stack([_along(self._q, row) for row in self._z])  # Q^T H Q
        core = (core + core.T) / 2
        if self.is_complete:
            return np.full(m, np.trace(core)), 0.0
        triangle = np.zeros((m, m))
        for index, column in enumerate(self._triangle):
            triangle[: index + 1, index] = column
        inside, products = np.zeros((m, m)), np.zeros((m, m))  # Q^T W, Q^T H W
        lengths = np.zeros(m)  # ||w_i||^2
        again = torch.Generator().manual_seed(self._seed)  # drawn again, not kept: a third m D numbers
        for index in range(m):
            vector = self._draw(again)
            inside[:, index] = _along(self._q, vector)
            products[:, index] = _along(self._z, vector)
            lengths[index] = float(torch.linalg.vector_norm(vector, dtype=torch.float64)) ** 2
        # span Q_(i) is what is orthogonal to s_i in span Q, where R_(i)^T s_i = 0
        left_out = solve_triangular(triangle / np.linalg.norm(triangle, axis=0), np.eye(m), trans="T")
        left_out /= np.linalg.norm(left_out, axis=0)
        outside = products - core @ inside  # Q^T H u_i, u_i the part of w_i orthogonal to Q
        form_outside = np.array(self._forms) - (inside * (products + outside)).sum(axis=0)  # u_i^T H u_i
        rest = lengths - (inside**2).sum(axis=0)  # ||u_i||^2

        def estimates(complements: list[Array], chosen: Array) -> Array:
            """Return the estimates of the chosen probes, each with orthonormal directions [m] left out of Q."""
            free = size - m + len(complements)
            part = sum(c * (c * inside[:, chosen]).sum(axis=0) for c in complements)  # of w_i, back from Q
            gone = sum((c * (core @ c)).sum(axis=0) for c in complements)
            form = (part * (core @ part)).sum(axis=0) + 2 * (part * outside[:, chosen]).sum(axis=0)
            # what is left of w_i is scaled to the length it has on average: direction and length are independent
            scale = free / (rest[chosen] + (part**2).sum(axis=0))
            found: Array = np.trace(core) - gone + scale * (form + form_outside[chosen])
            return found

        everyone = np.arange(m)
        samples = estimates([left_out], everyone)
        without = np.zeros(m)  # the whole estimator with each probe removed
        for i in everyone:
            others = everyone[everyone != i]
            first = np.repeat(left_out[:, [i]], m - 1, axis=1)
            second = left_out[:, others] - first * (first * left_out[:, others]).sum(axis=0)
            second /= np.linalg.norm(second, axis=0)
            without[i] = estimates([first, second], others).mean()
        return samples, math.sqrt((m - 1) / m * float(((without - without.mean()) ** 2).sum()))


def _along(rows: list[Tensor], vector: Tensor) -> Array:
    """Return the inner products of rows with a vector, in float64: [rows]."""
    if not rows:
        return np.zeros(0)
    found: Array = torch.stack([torch.dot(row, vector) for row in rows]).to("cpu", torch.float64).numpy()
    return found
