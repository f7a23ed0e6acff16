"""The Lanczos process with full double reorthogonalization and thick restart, on anything that has `hvp`.

After m steps H Q^T = Q^T T + r e_m^T, where the rows of Q [m, D] are orthonormal. T is tridiagonal until a restart;
then it begins with the kept Ritz values, each coupled to the row that followed. Algorithms see only the contract
`Operator` and cannot reach the model.

Proved right by: that relation at every depth and after restarts, m steps reproducing v^T H^j v for j < 2m and missing
at j = 2m, and the orthogonality of Q (`tests/analysis/curvature/test_lanczos.py`).
Cost of a step with m rows: one product, 8 m D operations of orthogonalization; memory m D numbers.

References: Parlett, The Symmetric Eigenvalue Problem (1998), ch. 13; Giraud et al. (2005): twice is enough; Wu and
Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems (2000).
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from analysis.curvature.basis import Basis

Array = np.ndarray[Any, Any]


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


class Lanczos:
    """The process: give it a start, then call `step`, or `direction` and `absorb`, as often as wanted.

    Args:
        operator: H, or any part of it that `size` vectors live in.
        start: [D], not zero.
        locked: Orthonormal rows [L, D] that the process stays orthogonal to.
        storage: Where the basis is kept; None is the operator's device.
        scale: A lower bound of the norm of H that is known before: beside locked vectors little may be left of it.

    Attributes:
        basis: Q.
        alphas, betas: Diagonal of T below the kept Ritz values, and what follows each entry: the off-diagonal.
        leaks: For each row of Q, H q's coefficients along the locked rows, [L].
        num_hvps: Products so far.
        scale: A lower bound of the norm of H, from T: what rounding is relative to.
    """

    def __init__(
        self,
        operator: Operator,
        start: Tensor,
        *,
        locked: Tensor | None = None,
        storage: torch.device | None = None,
        scale: float = 0.0,
    ) -> None:
        self.operator = operator
        size = len(start)
        self.basis = Basis(size, operator.device, operator.dtype, storage)
        self._locked = Basis(size, operator.device, operator.dtype, storage)
        for row in () if locked is None else locked.to(operator.device):
            self._locked.append(row)
        self.alphas: list[float] = []
        self.betas: list[float] = []
        self.leaks: list[Array] = []
        self.num_hvps = 0
        self._kept, self._couplings = np.zeros(0), np.zeros(0)
        self.scale = scale
        for _ in range(2):
            start = self._locked.orthogonalize(start)[0]
            start = start / torch.linalg.vector_norm(start)
        self.direction = start

    @property
    def rows(self) -> int:
        """Rows of Q, the size of T."""
        return self.basis.rows

    @property
    def rounding(self) -> float:
        """What a norm may be and still mean zero: products carry relative errors of some ten units of rounding."""
        return 100 * torch.finfo(self.operator.dtype).eps * self.scale

    @property
    def is_closed(self) -> bool:
        """Whether the rows span an invariant space, so that a step would lead nowhere new."""
        return self.betas[-1] <= self.rounding

    @property
    def is_complete(self) -> bool:
        """Whether Q and the locked rows span the whole space."""
        return self.rows + self._locked.rows == len(self.direction)

    @property
    def is_finite(self) -> bool:
        """Whether the last product was finite."""
        return math.isfinite(self.alphas[-1]) and math.isfinite(self.betas[-1])

    def step(self) -> None:
        """Append one row and take one product."""
        self.absorb(self.operator.hvp(self.direction))

    def absorb(self, product: Tensor) -> None:
        """Append `direction` to Q and go on to the next one.

        Args:
            product: H times `direction`, [D].
        """
        row = self.direction
        self.basis.append(row)
        self.num_hvps += 1
        self.alphas.append(float((product * row).sum(dtype=torch.float64)))
        rest, leak = self._locked.orthogonalize(product)
        self.leaks.append(leak.numpy())
        for _ in range(2):
            rest = self.basis.orthogonalize(rest)[0]
        if self._locked.rows:
            rest = self._locked.orthogonalize(rest)[0]
        self.betas.append(float(torch.linalg.vector_norm(rest, dtype=torch.float64)))
        self.scale = max(self.scale, math.hypot(self.alphas[-1], self.betas[-1]))
        self.direction = rest / self.betas[-1] if self.betas[-1] > 0 else rest

    def ritz(self) -> tuple[Array, Array]:
        """Return eigenvalues of T [m] in ascending order, with eigenvectors as columns [m, m], in float64."""
        alphas, betas = np.array(self.alphas), np.array(self.betas)
        kept = len(self._kept)
        if kept == 0:
            values, vectors = eigh_tridiagonal(alphas, betas[:-1])
            return values, vectors
        t = np.diag(np.concatenate([self._kept, alphas]))
        t[kept, :kept] = t[:kept, kept] = self._couplings
        for i, beta in enumerate(betas[:-1], start=kept):
            t[i, i + 1] = t[i + 1, i] = beta
        values, vectors = np.linalg.eigh(t)
        return values, vectors

    def bounds(self, vectors: Array) -> Array:
        """Return the norm of H v - theta v of Ritz vectors, [K].

        Args:
            vectors: Columns of T's eigenvectors, [m, K].
        """
        within = np.linalg.norm(np.stack(self.leaks).T @ vectors, axis=0)  # along the locked rows
        total: Array = np.hypot(self.betas[-1] * np.abs(vectors[-1]), within)
        return total

    def restart(self, chosen: Array) -> None:
        """Go on with some Ritz vectors in the place of all rows; the space they span with `direction` is kept.

        Args:
            chosen: Which, as indices into what `ritz` returns; fewer than there are rows.
        """
        values, vectors = self.ritz()
        vectors = vectors[:, chosen]
        self._kept, self._couplings = values[chosen], self.betas[-1] * vectors[-1]
        self.leaks = list((np.stack(self.leaks).T @ vectors).T)
        self.basis.collapse(vectors.T)
        self.alphas, self.betas = [], []
