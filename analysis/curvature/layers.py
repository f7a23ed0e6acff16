"""Curvature layer by layer: the top eigenvalue and the trace of each diagonal block of the Hessian.

The eigenvalues come from one Lanczos process per block, in step, so that each step reads the data once and records or
reuses each batch's graph once for all blocks; a block that is done drops out. The traces come from whole products with
random signs, whose parts estimate the blocks' traces and add up to the whole.

Proved right by: the dense blocks of a float64 Hessian, layers that sum to `hessian_trace` with the same probes, and
counted products (`tests/analysis/curvature/test_layers.py`). Cost: a step takes at most one product per block, each of
which ends at its own block and so takes less; a trace probe takes one product; memory steps * D numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.checks import check_whole
from analysis.curvature.lanczos import Lanczos
from analysis.evidence import Result, Status, measured
from analysis.objective import Objective
from analysis.parameters import owner_of

BY = ("module", "parameter")


@dataclass(frozen=True, eq=False)
class LayerCurvature(Result):
    """Curvature of the diagonal blocks, in the order of the model."""

    group: ClassVar[str] = "curvature"

    layers: tuple[str, ...] = measured("layer", description="what a block is: a module or a parameter")
    lambda_max: Tensor = measured(
        "layer", units="loss per squared weight", description="largest eigenvalue of each diagonal block"
    )
    residuals: Tensor = measured(
        "layer", units="loss per squared weight", description="norm of H_bb v - lambda_max v", source="Parlett 1998"
    )
    trace: Tensor = measured(
        "layer", units="loss per squared weight", description="estimated trace of each block", source="Hutchinson 1989"
    )
    trace_standard_error: Tensor = measured("layer", units="loss per squared weight", description="over the probes")
    num_weights: Tensor = measured("layer", units="1", description="weights in each block")
    status: Status = measured(description="how the eigenvalues ended")
    num_steps: int = measured(units="1", description="Lanczos steps: passes over the data")
    num_hvps: int = measured(units="Hessian products", description="probes of the traces")
    by: str = measured(description="module or parameter")
    tol: float = measured(units="1", description="wanted residual, relative to |lambda_max|")
    seed: int = measured(description="of start vectors and signs")


def layer_curvature(
    objective: Objective,
    *,
    by: str = "module",
    tol: float = 1e-2,
    max_steps: int = 60,
    probes: int = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LayerCurvature:
    """Find the largest eigenvalue and the trace of each layer's diagonal block of the Hessian.

    Args:
        objective: An `Objective`.
        by: "module" takes all measured weights of a module as one block, "parameter" each tensor.
        tol: Stop a block once its residual is <= tol * |lambda_max|, 0 < tol < 1. 1e-2 is our choice, as for the whole.
        max_steps: Budget of Lanczos steps, >= 1. 60 is our choice, five times the usual need.
        probes: Random signs for the traces, >= 2. 20 is our choice: standard errors right within 16 %.
        seed: Of starts and signs, in their own generators; the global one is not touched.
        progress: Called as progress(steps and probes done, max_steps + probes).

    Returns:
        One entry per block. Status CONVERGED; MAX_HVPS where the budget ended before every block's residual was small,
        and the residuals say which; NOT_FINITE, with NaN, where a product was not finite.

    Raises:
        ValueError: An argument out of range, or a model whose products are made by differences.

    Side effects: none; the objective keeps graphs for further products until its `release()`.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> x, y = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), torch.zeros(4, 1)
        >>> found = layer_curvature(Objective(model, torch.nn.MSELoss(), (x, y)), by="parameter")
        >>> found.layers, found.lambda_max.round(), found.trace  # 2/N sum x^2 by weight: 4 and 1; of the bias 2
        (('weight', 'bias'), tensor([4., 2.]), tensor([5., 2.]))
    """
    if by not in BY:
        raise ValueError(f"by must be one of {', '.join(BY)}, got {by!r}")
    if not 0 < tol < 1:
        raise ValueError(f"tol must be between 0 and 1, the residual relative to the eigenvalue, got {tol}")
    check_whole("max_steps", max_steps, 1, "60 is usually plenty")
    check_whole("probes", probes, 2, "a standard error takes two")
    blocks = _blocks(objective, by)
    owners = {name: number for number, names in enumerate(blocks.values()) for name in names}
    rows = torch.cat([
        torch.full((n,), owners[name]) for name, n in zip(objective.names, objective.layout.sizes, strict=True)
    ])
    places = [(rows == number).nonzero().flatten().to(objective.device) for number in range(len(blocks))]
    total = max_steps + probes

    def tick(done: int) -> None:
        if progress is not None:
            progress(done, total)

    traces = _traces(objective, places, probes, seed, tick)
    values, residuals, status, steps = _eigenvalues(
        objective, list(blocks.values()), places, tol, max_steps, seed, lambda done: tick(probes + done)
    )
    return LayerCurvature(
        layers=tuple(blocks),
        lambda_max=torch.tensor(values, dtype=objective.dtype),
        residuals=torch.tensor(residuals, dtype=objective.dtype),
        trace=traces.mean(0).to(objective.dtype),
        trace_standard_error=(traces.std(0) / math.sqrt(probes)).to(objective.dtype),
        num_weights=torch.tensor([len(place) for place in places]),
        status=status,
        num_steps=steps,
        num_hvps=probes,
        by=by,
        tol=tol,
        seed=seed,
    )


def _blocks(objective: Objective, by: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in objective.names:
        owner = owner_of(name) or type(objective.model).__name__
        found.setdefault(name if by == "parameter" else owner, []).append(name)
    return found


def _traces(objective: Objective, places: list[Tensor], probes: int, seed: int, tick: Callable[[int], None]) -> Tensor:
    """Return v_b . (H v)_b of each probe and block, [probes, L] in float64."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.zeros(probes, len(places), dtype=torch.float64)
    for probe in range(probes):
        signs = torch.randint(2, (objective.num_parameters,), generator=generator, dtype=torch.int8)
        vector = (2 * signs - 1).to(objective.device, objective.dtype)
        products = vector * objective.hvp(vector)
        found[probe] = torch.stack([products[place].sum(dtype=torch.float64) for place in places]).cpu()
        tick(probe + 1)
    return found


@dataclass
class _Block:
    """What a Lanczos process asks of an operator, beside the products that it is handed."""

    num_parameters: int
    device: torch.device
    dtype: torch.dtype

    def hvp(self, vector: Tensor) -> Tensor:
        """Not used: products of all blocks are made together."""
        raise NotImplementedError


def _eigenvalues(
    objective: Objective,
    blocks: list[list[str]],
    places: list[Tensor],
    tol: float,
    max_steps: int,
    seed: int,
    tick: Callable[[int], None],
) -> tuple[list[float], list[float], Status, int]:
    generator = torch.Generator().manual_seed(seed)
    processes = []
    for place in places:
        start = torch.randn(len(place), generator=generator).to(objective.device, objective.dtype)
        processes.append(Lanczos(_Block(len(place), objective.device, objective.dtype), start))
    open_blocks, status, steps = list(range(len(blocks))), Status.MAX_HVPS, 0
    while open_blocks and steps < max_steps:
        vector = torch.zeros(objective.num_parameters, device=objective.device, dtype=objective.dtype)
        for number in open_blocks:
            vector[places[number]] = processes[number].direction
        product = objective.block_diagonal_hvp(vector, [blocks[number] for number in open_blocks])
        steps += 1
        for number in open_blocks:
            processes[number].absorb(product[places[number]])
        tick(steps)
        if not bool(product.isfinite().all()):
            return [math.nan] * len(blocks), [math.nan] * len(blocks), Status.NOT_FINITE, steps
        open_blocks = [number for number in open_blocks if not _is_done(processes[number], tol)]
    if not open_blocks:
        status = Status.CONVERGED
    values, residuals = [], []
    for process in processes:
        ritz, vectors = process.ritz()
        values.append(float(ritz[-1]))
        residuals.append(float(np.hypot(process.bounds(vectors[:, -1:])[0], process.rounding)))
    return values, residuals, status, steps


def _is_done(process: Lanczos, tol: float) -> bool:
    """Whether the largest Ritz value stands; a closed space of a random start holds it too."""
    if process.is_complete or process.is_closed:
        return True
    values, vectors = process.ritz()
    return bool(process.betas[-1] * abs(vectors[-1, -1]) <= max(tol * abs(values[-1]), process.rounding))
