"""Orthonormal rows [m, D]: the memory of a Lanczos process, on the device of its vectors or on the host.

Right when rows stay orthonormal to rounding, combinations in place equal those of a copy, and the host gives the same
numbers (`tests/analysis/curvature/test_lanczos.py`). Cost of orthogonalizing against m rows: 4 m D operations; memory
m D numbers, taken in blocks of at most `BLOCK_NUMBERS` so that nothing is copied when rows are added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 16  # more rows make no matrix product faster
BLOCK_NUMBERS = 2**26  # 256 MiB in float32: little is taken before it is used


class Basis:
    """Orthonormal rows, appended one by one.

    Args:
        size: D.
        device: Where the vectors of the process live.
        dtype: Of the rows.
        storage: Where the rows are kept, and orthogonalized against; None is `device`.
    """

    def __init__(
        self, size: int, device: torch.device, dtype: torch.dtype, storage: torch.device | None = None
    ) -> None:
        self._size, self._device, self._dtype = size, device, dtype
        self._storage = device if storage is None else storage
        self._height = max(1, min(BLOCK_ROWS, BLOCK_NUMBERS // size))
        self._blocks: list[Tensor] = []
        self.rows = 0

    def append(self, vector: Tensor) -> None:
        """Copy a unit vector in as the last row.

        Args:
            vector: [D].
        """
        row = self.rows % self._height
        if self.rows == self._height * len(self._blocks):
            height = min(self._height, self._size - self.rows)
            self._blocks.append(torch.empty(height, self._size, device=self._storage, dtype=self._dtype))
        self._blocks[self.rows // self._height][row] = vector
        self.rows += 1

    def orthogonalize(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Take from a vector its part in the span of the rows. Done twice it is orthogonal to rounding.

        Args:
            vector: [D]; not changed.

        Returns:
            What is left, [D], and the coefficients of what was taken, [rows] in float64 on the host.
        """
        rest = vector.to(self._storage)
        taken = []
        for block in self._used():
            coefficients = block @ rest
            rest = torch.addmv(rest, block.T, coefficients, alpha=-1)
            taken.append(coefficients.double().cpu())
        return rest.to(self._device), torch.cat(taken) if taken else torch.zeros(0, dtype=torch.float64)

    def combine(self, coefficients: np.ndarray[Any, Any]) -> Tensor:
        """Return linear combinations of the rows, [K, D], where the vectors of the process live.

        Args:
            coefficients: [K, rows].
        """
        weights = torch.from_numpy(np.ascontiguousarray(coefficients)).to(self._storage, self._dtype)
        total = torch.zeros(len(weights), self._size, device=self._storage, dtype=self._dtype)
        for part, block in zip(torch.split(weights, self._height, dim=1), self._used(), strict=True):
            total.addmm_(part, block)
        return total.to(self._device)

    def collapse(self, coefficients: np.ndarray[Any, Any]) -> None:
        """Replace the rows by fewer combinations of them, in place: no second basis is ever held.

        Args:
            coefficients: [K, rows] with orthonormal rows, K <= rows.
        """
        weights = torch.from_numpy(np.ascontiguousarray(coefficients)).to(self._storage, self._dtype)
        width = max(1, BLOCK_NUMBERS // (4 * self.rows))
        for start in range(0, self._size, width):
            columns = slice(start, start + width)
            combined = weights @ torch.cat([block[:, columns] for block in self._used()])
            for part, block in zip(torch.split(combined, self._height), self._blocks, strict=False):
                block[: len(part), columns] = part
        self.rows = len(weights)
        del self._blocks[-(-self.rows // self._height) :]

    def _used(self) -> list[Tensor]:
        ends = [min(self._height, self.rows - i * self._height) for i in range(len(self._blocks))]
        return [block[:end] for block, end in zip(self._blocks, ends, strict=True) if end > 0]
