"""The Lanczos process with full double reorthogonalization, on anything that has `hvp`, one product per step.

After m steps H Q^T = Q^T T + r e_m^T, where the rows of Q [m, D] are orthonormal and T is tridiagonal. Algorithms see
only the contract `Operator` and cannot reach the model.

Proved right by: that relation at every depth, m steps reproducing v^T H^j v for j < 2m and missing at j = 2m, and the
orthogonality of Q (`tests/analysis/curvature/test_lanczos.py`).
Cost of step m: one product, 8 m D operations of orthogonalization; memory m D numbers.

References: Parlett, The Symmetric Eigenvalue Problem (1998), ch. 13; Giraud et al. (2005): twice is enough.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

BLOCK_ROWS = 16  # the basis grows by this many rows at once: no copying of what is there, little waste


class Operator(Protocol):
    """A symmetric matrix known by its products with vectors."""

    @property
    def num_parameters(self) -> int:
        """D."""

    @property
    def device(self) -> torch.device:
        """Where vectors live."""

    @property
    def dtype(self) -> torch.dtype:
        """Of vectors."""

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector [D]."""


def gaussian(operator: Operator, generator: torch.Generator) -> Tensor:
    """Draw a standard Gaussian vector [D], on the CPU, so that a seed means the same on every device.

    Args:
        operator: Says how long, where and in which dtype.
        generator: A CPU generator.

    Returns:
        The vector.
    """
    return torch.randn(operator.num_parameters, generator=generator).to(operator.device, operator.dtype)


class Basis:
    """Orthonormal rows, appended one by one."""

    def __init__(self, operator: Operator) -> None:
        self._size = operator.num_parameters
        self._device, self._dtype = operator.device, operator.dtype
        self._blocks: list[Tensor] = []
        self.rows = 0

    def append(self, vector: Tensor) -> None:
        """Copy a unit vector in as the last row.

        Args:
            vector: [D].
        """
        row = self.rows % BLOCK_ROWS
        if row == 0:
            height = min(BLOCK_ROWS, self._size - self.rows)
            self._blocks.append(torch.zeros(height, self._size, device=self._device, dtype=self._dtype))
        self._blocks[-1][row] = vector
        self.rows += 1

    def last(self) -> Tensor:
        """Return the last row, [D]."""
        row: Tensor = self._blocks[-1][(self.rows - 1) % BLOCK_ROWS]
        return row

    def orthogonalize(self, vector: Tensor) -> Tensor:
        """Return a vector without its part in the span of the rows. Called twice it is orthogonal to rounding.

        Args:
            vector: [D]; not changed.
        """
        for block in self._blocks:
            vector = vector - block.T @ (block @ vector)
        return vector

    def combine(self, coefficients: np.ndarray[Any, Any]) -> Tensor:
        """Return linear combinations of the rows, [K, D].

        Args:
            coefficients: [K, rows].
        """
        weights = torch.from_numpy(np.ascontiguousarray(coefficients)).to(self._device, self._dtype)
        total = torch.zeros(len(weights), self._size, device=self._device, dtype=self._dtype)
        for index, block in enumerate(self._blocks):
            part = weights[:, index * BLOCK_ROWS : index * BLOCK_ROWS + len(block)]
            total += part @ block[: part.shape[1]]
        return total


class Lanczos:
    """The process: call `start`, then `step` as often as wanted; `start` again after the space has closed.

    Attributes:
        basis: Q.
        alphas, betas: Diagonal of T and what follows each entry: the off-diagonal, 0 where a new start was made.
        starts: Index of the first row of each start.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.basis = Basis(operator)
        self.alphas: list[float] = []
        self.betas: list[float] = []
        self.starts: list[int] = []
        self._next: Tensor | None = None

    @property
    def num_hvps(self) -> int:
        """Products so far, and rows of Q."""
        return len(self.alphas)

    @property
    def scale(self) -> float:
        """A lower bound of the norm of H, from T: what rounding is relative to."""
        return max((math.hypot(a, b) for a, b in zip(self.alphas, self.betas, strict=True)), default=0.0)

    @property
    def rounding(self) -> float:
        """What a norm may be and still mean zero: products carry relative errors of some ten units of rounding."""
        return 100 * torch.finfo(self.operator.dtype).eps * self.scale

    @property
    def is_closed(self) -> bool:
        """Whether the rows since the last start span an invariant space, so that a step would lead nowhere new."""
        return self.betas[-1] <= self.rounding

    @property
    def is_complete(self) -> bool:
        """Whether Q spans the whole space."""
        return self.num_hvps == self.operator.num_parameters

    @property
    def is_finite(self) -> bool:
        """Whether the last product was finite."""
        return math.isfinite(self.alphas[-1]) and math.isfinite(self.betas[-1])

    def start(self, vector: Tensor) -> None:
        """Begin, or go on after the space has closed, with the part of a vector that is orthogonal to the rows so far.

        Args:
            vector: [D], not in their span.
        """
        for _ in range(2):
            vector = self.basis.orthogonalize(vector)
            vector = vector / torch.linalg.vector_norm(vector)
        if self.betas:
            self.betas[-1] = 0.0
        self.starts.append(self.num_hvps)
        self._next = vector

    def step(self) -> None:
        """Append one row and take one product."""
        assert self._next is not None, "start() comes first"
        self.basis.append(self._next)
        row = self.basis.last()
        product = self.operator.hvp(row)
        self.alphas.append(float((product * row).sum(dtype=torch.float64)))
        rest = self.basis.orthogonalize(self.basis.orthogonalize(product))
        self.betas.append(float(torch.linalg.vector_norm(rest, dtype=torch.float64)))
        self._next = rest / self.betas[-1] if self.betas[-1] > 0 else rest

    def ritz(self, first: int = 0, last: int | None = None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return eigenvalues of T [m] in ascending order, with eigenvectors as columns [m, m], in float64.

        Args:
            first: Take T from this row on; a start, so that the part stands alone.
            last: Up to before this row; None for all.
        """
        alphas, betas = np.array(self.alphas[first:last]), np.array(self.betas[first:last])
        values, vectors = eigh_tridiagonal(alphas, betas[:-1])
        return values, vectors
