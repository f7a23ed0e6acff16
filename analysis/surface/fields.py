"""Beyond the loss: the curvature and the gradient over a plane through the weights, cell by cell, resumable.

A surface that looks convex in two directions may bend down in all others: the smallest eigenvalue beside the largest
says where (Li et al. 2018, section 6). Arrows of the gradient's part in the plane say where descent would go, and the
share that lies in the plane how little of it the picture shows. Right when a loss whose Hessian is known in closed form
gives its eigenvalues and gradients in every cell (`tests/analysis/surface/test_fields.py`).
Cost: of a cell of the map 20 to 60 Hessian products, of the field one gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from analysis.checks import check_whole
from analysis.curvature.hessian import hessian_eigenvalues
from analysis.objective import Objective
from analysis.surface.directions import Given
from analysis.surface.evaluate import held
from analysis.surface.extent import RISE
from analysis.surface.grid import Extent, Index, Progress
from analysis.surface.identity import rounded_fingerprint
from analysis.surface.results import CurvatureMap, GradientField
from analysis.surface.scanning import Grid, PathLike, place, run

MAP = ("lambda_max", "lambda_min", "ratio", "residuals", "num_hvps", "diverged")
FIELD = ("slope", "gradient_norm", "in_plane", "diverged")


def curvature_map(
    objective: Objective,
    directions: Given = "random",
    normalize: str = "filter",
    extent: Extent | str = 1.0,
    points: int | Sequence[int] = 15,
    seed: int = 0,
    *,
    tol: float = 1e-2,
    max_hvps: int = 100,
    rise: float = RISE,
    zero_1d: bool = True,
    distributed: bool = False,
    path: PathLike = None,
    name: str = "curvature",
    progress: Progress | None = None,
) -> CurvatureMap:
    """Compute the largest and the smallest eigenvalue of the Hessian on a grid in a plane through the weights.

    Args:
        objective: As in `loss_surface`, and so are all but these.
        directions: As in `loss_surface`; the same seed gives the same plane.
        normalize: As in `loss_surface`.
        extent: As in `loss_surface`.
        points: 15, our choice: 225 cells of some tens of Hessian products.
        seed: Of the directions, and of the start vector, which is the same in every cell.
        tol: Of both eigenvalues, relative to each. 1e-2, as in `hessian_eigenvalues`: with 5e-2 an inner eigenvalue was
            taken for the largest on a small network, 13 percent too low.
        max_hvps: Budget of a cell. Where it runs out the residual says how far lambda_min is known.
        rise: As in `loss_surface`.
        zero_1d: As in `loss_surface`.
        distributed: As in `loss_surface`.
        path: As in `loss_surface`.
        name: Of the map in that file.
        progress: Called as progress(done, total).

    Returns:
        CurvatureMap (frozen). lambda_max, lambda_min [G1, G2] and their residuals [2, G1, G2]; ratio is
        |min(lambda_min, 0)| / |lambda_max|, 0 where the loss is convex to the residual's precision, and near 1 where
        it bends down as much as up. NaN, and `diverged`, where a Hessian product was not finite.

    Raises:
        ValueError: As in `loss_surface`; or a single measured weight, which has one eigenvalue.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2, H = diag(1, 4)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> found = curvature_map(objective, torch.eye(2), "none", points=2)
        >>> found.lambda_max[0, 1].item(), found.lambda_min[0, 1].item(), found.ratio.max().item()
        (4.0, 1.0, 0.0)

    References:
        Li, Xu, Taylor, Studer, Goldstein, arXiv 1712.09913, section 6. We differ: a ratio of 0 where both are positive
        (theirs is then lambda_min / lambda_max), and residuals beside the values.
    """
    check_whole("max_hvps", max_hvps, 2, "100 suffice for two digits of both ends of a network")
    if not 0 < tol < 1:
        raise ValueError(
            f"tol must be between 0 and 1, the residual relative to the eigenvalue, got {tol}; 1e-2 is usual"
        )
    if objective.num_parameters < 2:
        raise ValueError("a curvature map needs at least two measured weights, got 1; draw a line")
    with torch.inference_mode(False):
        grid = place(
            objective,
            directions,
            2,
            normalize,
            extent,
            points,
            seed,
            rise,
            zero_1d=zero_1d,
            distributed=distributed,
        )
        shape = grid.shape
        begun = CurvatureMap(
            **_fields(grid),
            **_flags(shape),
            lambda_max=_nan(shape),
            lambda_min=_nan(shape),
            ratio=_nan(shape),
            num_hvps=_nan(shape),
            residuals=_nan((2, *shape)),
            tol=tol,
            max_hvps=max_hvps,
        )
        weights, local = objective.weights(), held(objective)

        def compute(indices: Sequence[Index]) -> list[dict[str, Any]]:
            return [_ends(_At(local, grid.at(weights, index)), tol, seed, max_hvps) for index in indices]

        return run(begun, grid, compute, MAP, path, name, progress)


def gradient_field(
    objective: Objective,
    directions: Given = "random",
    normalize: str = "filter",
    extent: Extent | str = 1.0,
    points: int | Sequence[int] = 15,
    seed: int = 0,
    *,
    rise: float = RISE,
    zero_1d: bool = True,
    distributed: bool = False,
    path: PathLike = None,
    name: str = "gradient",
    progress: Progress | None = None,
) -> GradientField:
    """Compute the gradient on a grid in a plane through the weights: its part in the plane, and how much that is.

    Args:
        objective: As in `loss_surface`, and so are all but these.
        directions: As in `loss_surface`; the same seed gives the same plane.
        normalize: As in `loss_surface`.
        extent: As in `loss_surface`.
        points: 15, our choice: more arrows hide each other.
        seed: Of the directions.
        rise: As in `loss_surface`.
        zero_1d: As in `loss_surface`.
        distributed: As in `loss_surface`.
        path: As in `loss_surface`.
        name: Of the field in that file.
        progress: Called as progress(done, total).

    Returns:
        GradientField (frozen). slope [2, G1, G2] are the derivatives of the loss by x and by y; gradient_norm
        [G1, G2]; in_plane [G1, G2] is the share of the squared norm that lies in the plane, NaN where the gradient is
        zero. `diverged` where a gradient is not finite.

    Raises:
        ValueError: As in `loss_surface`.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> gradient_field(objective, torch.eye(2), "none", points=2).slope[:, 1, 0]
        tensor([ 1., -4.], dtype=torch.float64)
    """
    with torch.inference_mode(False):
        grid = place(
            objective,
            directions,
            2,
            normalize,
            extent,
            points,
            seed,
            rise,
            zero_1d=zero_1d,
            distributed=distributed,
        )
        shape = grid.shape
        begun = GradientField(
            **_fields(grid),
            slope=_nan((2, *shape)),
            gradient_norm=_nan(shape),
            in_plane=_nan(shape),
            **_flags(shape),
        )
        weights, local = objective.weights(), held(objective)
        vectors = grid.chosen.vectors.double()
        inverse = torch.linalg.pinv(vectors @ vectors.T)  # of a plane whose directions may lean, or span a line

        def compute(indices: Sequence[Index]) -> list[dict[str, Any]]:
            return [_slopes(local.gradient(grid.at(weights, index)), vectors, inverse) for index in indices]

        return run(begun, grid, compute, FIELD, path, name, progress)


class _At:
    """The Hessian at other weights than the model's, as an operator."""

    def __init__(self, objective: Objective, at: Tensor) -> None:
        self._objective, self._at = objective, at
        self.num_parameters, self.device, self.dtype = objective.num_parameters, objective.device, objective.dtype

    @property
    def product_error(self) -> float:
        return self._objective.product_error

    def hvp(self, vector: Tensor) -> Tensor:
        return self._objective.hvp(vector, self._at)


def _ends(operator: _At, tol: float, seed: int, max_hvps: int) -> dict[str, Any]:
    found = hessian_eigenvalues(operator, k=1, which="both", tol=tol, seed=seed, max_hvps=max_hvps)
    values = largest, smallest = found.values.tolist()
    ratio = abs(min(smallest, 0.0)) / abs(largest) if largest else math.nan
    is_finite = all(map(math.isfinite, values))
    return {
        "lambda_max": largest,
        "lambda_min": smallest,
        "ratio": ratio if is_finite else math.nan,
        "residuals": found.residuals.tolist(),
        "num_hvps": float(found.num_hvps),
        "diverged": not is_finite,
    }


def _slopes(gradient: Tensor, vectors: Tensor, inverse: Tensor) -> dict[str, Any]:
    gradient = gradient.double()
    slope = vectors @ gradient
    squared = float(gradient @ gradient)
    inside = float(slope @ inverse @ slope)
    return {
        "slope": slope.tolist(),
        "gradient_norm": math.sqrt(squared) if squared >= 0 else math.nan,
        "in_plane": inside / squared if squared > 0 else math.nan,
        "diverged": not math.isfinite(squared),
    }


def _fields(grid: Grid) -> dict[str, Any]:
    loss = grid.objective.loss()  # before the fingerprint: it takes a pass over the data to know them
    return {**grid.fields(loss, rounded_fingerprint(grid.objective)), **grid.plane_fields()}


def _nan(shape: tuple[int, ...]) -> Tensor:
    return torch.full(shape, math.nan, dtype=torch.float64)


def _flags(shape: tuple[int, ...]) -> dict[str, Any]:
    return {key: torch.zeros(shape, dtype=torch.bool) for key in ("done", "diverged")}
