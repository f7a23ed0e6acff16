"""Density of the Hessian's eigenvalues by stochastic Lanczos quadrature (SLQ).

Each probe gives a quadrature rule: nodes and weights that integrate any polynomial of degree < 2 * steps against the
spectrum as seen by that probe. The raw rules are the result; smoothing happens afterwards, at the reader's width.

Proved right by: sum(weight * node) = tr(H)/D and sum(weight * node^2) = ||H||_F^2/D within their standard error on
known spectra, and weights >= 0 that sum to 1 (`tests/analysis/curvature/test_density.py`).
Cost: probes * steps Hessian products at most, known before it starts; memory steps * D numbers.

References: Golub and Welsch (1969); Ubaru, Chen, Saad (2017); Ghorbani et al., arXiv 1901.10159.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.lanczos import Lanczos, gaussian
from analysis.evidence import Result, Status, measured


@dataclass(frozen=True, eq=False)
class SpectralDensity(Result):
    """Quadrature rules of the spectral density, one row per probe; the density has integral 1."""

    group: ClassVar[str] = "curvature"

    nodes: Tensor = measured(
        "probe", "step", units="loss per squared weight", description="quadrature nodes, ascending"
    )
    weights: Tensor = measured(
        "probe",
        "step",
        units="1",
        description="quadrature weights, >= 0, sum 1 per probe",
        source="Golub and Welsch 1969",
    )
    num_parameters: int = measured(description="D: the density times D counts eigenvalues")
    num_hvps: int = measured(units="Hessian products", description="cost")
    status: Status = measured(description="how it ended")
    seed: int = measured(description="of the Gaussian probes")

    def density(self, grid: Tensor, width: float | None = None) -> Tensor:
        """Return the smoothed density at the grid points, [G]: eigenvalue fraction per unit of eigenvalue.

        Args:
            grid: Eigenvalues, [G].
            width: Standard deviation of the Gaussian kernel, in eigenvalue units, > 0. None takes 1 % of the range of
                the nodes: our choice, because it resolves single outliers on a plot of the whole range.
        """
        return self._per_probe(grid, width).mean(0)

    def density_standard_error(self, grid: Tensor, width: float | None = None) -> Tensor:
        """Return the standard error of `density` over probes, [G]; NaN with a single probe.

        Args:
            grid: As for `density`.
            width: As for `density`.
        """
        curves = self._per_probe(grid, width)
        if len(curves) < 2:
            return torch.full_like(curves[0], math.nan)
        return curves.std(0) / math.sqrt(len(curves))

    def outliers(self, tol: float = 0.01) -> Tensor:
        """Return the eigenvalues that stand alone outside the bulk, [O] in float64, the largest first.

        From either end inward, an eigenvalue is taken as long as every probe has exactly one node of weight > 0 within
        tol of it: a Krylov space finds isolated eigenvalues each time, and puts its nodes elsewhere in a bulk each
        time. Equal eigenvalues count as one, and at least two probes are needed.

        Args:
            tol: Distance, relative to the largest |node|; > 0. 0.01 is our choice, the usual width of the kernel.
        """
        if not (math.isfinite(tol) and tol > 0):
            raise ValueError(f"tol must be a finite number > 0, relative to the largest eigenvalue, got {tol}")
        rows = [row[weight > 0] for row, weight in zip(self.nodes, self.weights, strict=True)]
        if len(rows) < 2 or any(not bool(row.isfinite().all()) for row in rows):
            return torch.zeros(0, dtype=torch.float64)
        reach = tol * max(float(row.abs().max()) for row in rows)
        found = [*_from_above(rows, reach), *(-value for value in reversed(_from_above([-row for row in rows], reach)))]
        return torch.tensor(sorted(set(found), reverse=True), dtype=torch.float64)

    def _per_probe(self, grid: Tensor, width: float | None) -> Tensor:
        low, high = float(self.nodes.min()), float(self.nodes.max())
        if width is None:
            width = 0.01 * max(high - low, 1e-3 * max(abs(low), abs(high)), np.finfo(float).tiny)
        if not (math.isfinite(width) and width > 0):
            raise ValueError(f"width must be a finite number > 0, in units of the eigenvalues, got {width}")
        distance = (grid.to(torch.float64)[None, :, None] - self.nodes[:, None, :]) / width  # [R, G, M]
        kernel = torch.exp(-distance.square() / 2) / (width * math.sqrt(2 * math.pi))
        return (kernel * self.weights[:, None, :]).sum(-1)


def spectral_density(
    objective: Any,
    *,
    probes: int = 8,
    steps: int = 40,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SpectralDensity:
    """Estimate the eigenvalue density of the Hessian at the present weights.

    Args:
        objective: An `Objective`, or any operator with `hvp`, `num_parameters`, `device`, `dtype`.
        probes: Gaussian probes, >= 1. 8 is our choice; the standard error falls with their square root.
        steps: Lanczos steps per probe, >= 1, cut to D. 40 is our choice: beyond it the smoothed curve of a network
            changes less than from probe to probe.
        seed: Of the probes, in their own generator; the global one is not touched.
        progress: Called as progress(products done, probes * steps).

    Returns:
        Nodes and weights. A probe whose Krylov space closes early is padded with nodes of weight 0. Status
        `NOT_FINITE`, with NaN in that probe, if a product was not finite.

    Raises:
        ValueError: probes or steps below 1.

    Side effects: none.

    Example:
        >>> from analysis import Objective
        >>> x, y = torch.diag(torch.tensor([3.0, 3.0, 1.0])), torch.zeros(3, 1)
        >>> found = spectral_density(Objective(torch.nn.Linear(3, 1, bias=False), torch.nn.MSELoss(), (x, y)), probes=2)
        >>> found.nodes[:, [0, -1]].round(decimals=3)  # H = diag(6, 6, 2/3)
        tensor([[0.6670, 6.0000],
                [0.6670, 6.0000]], dtype=torch.float64)
    """
    if probes < 1 or steps < 1:
        raise ValueError(f"probes and steps must be at least 1, got probes={probes}, steps={steps}")
    steps = min(steps, objective.num_parameters)
    generator = torch.Generator().manual_seed(seed)
    nodes, weights = np.zeros((probes, steps)), np.zeros((probes, steps))
    status, num_hvps = Status.COMPLETE, 0
    for probe in range(probes):
        process = Lanczos(objective, gaussian(objective, generator))
        while process.num_hvps < steps:
            process.step()
            if progress is not None:
                progress(num_hvps + process.num_hvps, probes * steps)
            if not process.is_finite or process.is_closed:
                break
        num_hvps += process.num_hvps
        if not process.is_finite:
            status, nodes[probe], weights[probe] = Status.NOT_FINITE, math.nan, math.nan
            continue
        values, vectors = process.ritz()
        nodes[probe] = values[-1]
        nodes[probe, : len(values)] = values
        weights[probe, : len(values)] = vectors[0] ** 2
    return SpectralDensity(
        nodes=torch.from_numpy(nodes),
        weights=torch.from_numpy(weights),
        num_parameters=objective.num_parameters,
        num_hvps=num_hvps,
        status=status,
        seed=seed,
    )


def _from_above(rows: list[Tensor], reach: float) -> list[float]:
    """Return the values, from the largest on, that all rows agree on to within `reach`."""
    found: list[float] = []
    ordered = [row.sort(descending=True).values for row in rows]
    for column in zip(*(row.tolist() for row in ordered), strict=False):
        value = sum(column) / len(column)
        below = [float(row[len(found) + 1]) if len(row) > len(found) + 1 else -math.inf for row in ordered]
        if max(column) - min(column) > reach or max(below) > value - reach:
            break
        found.append(value)
    return found
