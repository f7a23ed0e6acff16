"""The loss along a line, over a plane or in a block through the weights, cell by cell, resumable.

Proved right by: a quadratic that comes back exactly in every cell of an uneven grid, an origin that equals
`objective.loss()` bit for bit, the same surface after a ReLU network is rescaled, and a resumed grid that equals an
uninterrupted one (`tests/analysis/surface/test_scan.py`).
Cost: one forward pass over the data for each cell, within 4 % of a bare one (`analysis.surface.evaluate`).
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from analysis.evidence import Status
from analysis.objective import Objective
from analysis.store import Cells, open_cells, read
from analysis.surface.directions import Directions, choose
from analysis.surface.evaluate import rounded_fingerprint, state_sha256
from analysis.surface.extent import RISE, resolved
from analysis.surface.grid import Extent, Progress, axes, fill
from analysis.surface.results import Block, Line, Scan, Surface

Scanned = TypeVar("Scanned", Surface, Line, Block)


def loss_surface(
    objective: Objective,
    directions: str | Tensor | Sequence[Tensor] = "random",
    normalize: str = "filter",
    extent: Extent | str = 1.0,
    points: int | Sequence[int] = 51,
    seed: int = 0,
    *,
    rise: float = RISE,
    zero_1d: bool = True,
    path: str | os.PathLike[str] | None = None,
    name: str = "surface",
    progress: Progress | None = None,
) -> Surface:
    """Compute the loss on a grid in a plane through the weights.

    Buffers (batch-norm statistics) are held as they are. With an odd number of points and a symmetric extent the
    middle cell is the origin and equals `objective.loss()` bit for bit; with an even number there is no such cell.

    Args:
        objective: Whose loss, around its model's present weights.
        directions: "random" (Gaussian, made orthogonal), "hessian" (eigenvectors of the two largest eigenvalues), or
            two vectors [D].
        normalize: What of a direction gets the norm of the same part of the weights: each "filter" (default of Li et
            al.), each "layer" (tensor), the whole "model", or "none". Eigenvectors are never scaled. The user's
            vectors are, unless "none"; they are not made orthogonal.
        extent: r for [-r, r] along both directions, (low, high), or ((low, high), (low, high)). 1.0, as in Li et al.:
            the perturbation is then as large as the filter itself. "auto" takes the radius at which the loss has
            risen `rise` times, one for both directions where they are normalized.
        points: Points along both directions, or a pair. 51, as in Li et al.
        seed: Of the random directions; the same on every device.
        rise: Of extent="auto": how many times the loss at the weights the larger end of an axis reaches. 10, our
            choice, shows a valley and its walls.
        zero_1d: Leave biases and norm parameters out of the directions (default of Li et al.). Does not touch
            eigenvectors, nor the user's vectors with "none".
        path: Result file that takes each cell as it is computed. A second call with the same configuration goes on
            where the first was stopped; another configuration is refused by name. None keeps all in memory, and an
            exception then loses it.
        name: Of the measurement in that file.
        progress: Called as progress(done, total).

    Returns:
        Surface (frozen). loss [G1, G2] in float64, its first index along the first direction. `cosine` is below 1e-6
        for random directions but for `single_share`. status is COMPLETE; NOT_FINITE where a cell is NaN or inf;
        MAX_HVPS if the eigenvectors did not converge; INTERRUPTED only in the file of a stopped call.

    Raises:
        ValueError: An argument out of range, a direction of the wrong length, zero or not finite, or a file that was
            begun with other weights, data, directions, loss or settings.

    Cost: 1 + G1 * G2 forward passes over the data, memory for the data (up to 2 GiB, else they are read for each
    cell) and a few vectors [D]. "hessian" adds some tens of Hessian products.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # L = (w1^2 + 4 w2^2) / 2 on the data below
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> found = loss_surface(objective, torch.eye(2), "none", extent=1.0, points=(3, 2))
        >>> found.loss, found.status.name
        (tensor([[2.5000, 2.5000],
                 [2.0000, 2.0000],
                 [2.5000, 2.5000]], dtype=torch.float64), 'COMPLETE')

    References:
        Li, Xu, Taylor, Studer, Goldstein, Visualizing the loss landscape of neural nets, NeurIPS 2018, arXiv
        1712.09913. We differ: the directions are orthogonal after normalization, and a bias that is kept is scaled as
        one filter.
    """
    with torch.inference_mode(False):  # whatever the caller's mode, the result holds ordinary tensors
        chosen, coordinates = _placed(objective, directions, 2, normalize, extent, points, seed, rise, zero_1d=zero_1d)
        x, y = (torch.tensor(axis, dtype=torch.float64) for axis in coordinates)
        begun = Surface(
            **_origin(objective, chosen, seed),
            x=x,
            y=y,
            loss=torch.full((len(x), len(y)), math.nan, dtype=torch.float64),
            done=torch.zeros(len(x), len(y), dtype=torch.bool),
            directions=chosen.vectors.cpu(),
            cosine=chosen.cosine,
            single_share=chosen.single_share,
            extent=torch.stack([axis[[0, -1]] for axis in (x, y)]),
            points=torch.tensor([len(x), len(y)]),
        )
        return _scan(objective, begun, chosen, coordinates, path, name, progress)


def loss_line(
    objective: Objective,
    direction: str | Tensor = "random",
    normalize: str = "filter",
    extent: Extent | str = 1.0,
    points: int = 101,
    seed: int = 0,
    *,
    rise: float = RISE,
    zero_1d: bool = True,
    path: str | os.PathLike[str] | None = None,
    name: str = "line",
    progress: Progress | None = None,
) -> Line:
    """Compute the loss along a line through the weights: the row y = 0 of the surface with the same first direction.

    Args:
        objective: Whose loss, around its model's present weights.
        direction: "random", "hessian" (the eigenvector of the largest eigenvalue), or a vector [D].
        normalize: As in `loss_surface`.
        extent: r for [-r, r], (low, high), or "auto" as in `loss_surface`. From one checkpoint to another:
            `linear_path`.
        points: 101, our choice: twice as fine as a surface, at a small part of its cost.
        seed: As in `loss_surface`; the same seed gives a surface's first direction.
        rise: As in `loss_surface`.
        zero_1d: As in `loss_surface`.
        path: As in `loss_surface`.
        name: Of the measurement in that file.
        progress: Called as progress(done, total).

    Returns:
        Line (frozen). loss [G] in float64; status as in `loss_surface`.

    Raises:
        ValueError: As in `loss_surface`.

    Cost: 1 + G forward passes over the data.
    """
    with torch.inference_mode(False):  # whatever the caller's mode, the result holds ordinary tensors
        chosen, (axis,) = _placed(objective, direction, 1, normalize, extent, points, seed, rise, zero_1d=zero_1d)
        t = torch.tensor(axis, dtype=torch.float64)
        begun = Line(
            **_origin(objective, chosen, seed),
            t=t,
            loss=torch.full((len(t),), math.nan, dtype=torch.float64),
            done=torch.zeros(len(t), dtype=torch.bool),
            direction=chosen.vectors[0].cpu(),
            extent=t[[0, -1]],
            points=len(t),
        )
        return _scan(objective, begun, chosen, [axis], path, name, progress)


def loss_block(
    objective: Objective,
    directions: str | Tensor | Sequence[Tensor] = "random",
    normalize: str = "filter",
    extent: Extent | str = 1.0,
    points: int | Sequence[int] = 21,
    seed: int = 0,
    *,
    rise: float = RISE,
    zero_1d: bool = True,
    path: str | os.PathLike[str] | None = None,
    name: str = "block",
    progress: Progress | None = None,
) -> Block:
    """Compute the loss on a grid in three directions from the weights, for volume rendering.

    Args:
        objective: As in `loss_surface`, and so are all others but these two.
        directions: "random", "hessian" (eigenvectors of the three largest eigenvalues), or three vectors [D].
        normalize: As in `loss_surface`.
        extent: As in `loss_surface`; or three pairs.
        points: Along all directions, or three numbers. 21, our choice: 9,261 cells.
        seed: As in `loss_surface`; the first two directions are those of the surface.
        rise: As in `loss_surface`.
        zero_1d: As in `loss_surface`.
        path: As in `loss_surface`.
        name: Of the measurement in that file.
        progress: Called as progress(done, total).

    Returns:
        Block (frozen). loss [G1, G2, G3] in float64; status as in `loss_surface`.

    Raises:
        ValueError: As in `loss_surface`.

    Cost: 1 + G1 * G2 * G3 forward passes over the data.
    """
    with torch.inference_mode(False):
        chosen, coordinates = _placed(objective, directions, 3, normalize, extent, points, seed, rise, zero_1d=zero_1d)
        x, y, z = (torch.tensor(axis, dtype=torch.float64) for axis in coordinates)
        shape = (len(x), len(y), len(z))
        begun = Block(
            **_origin(objective, chosen, seed),
            x=x,
            y=y,
            z=z,
            loss=torch.full(shape, math.nan, dtype=torch.float64),
            done=torch.zeros(shape, dtype=torch.bool),
            directions=chosen.vectors.cpu(),
            cosine=chosen.cosine,
            single_share=chosen.single_share,
            extent=torch.stack([axis[[0, -1]] for axis in (x, y, z)]),
            points=torch.tensor(shape),
        )
        return _scan(objective, begun, chosen, coordinates, path, name, progress)


def _placed(
    objective: Objective,
    directions: str | Tensor | Sequence[Tensor],
    count: int,
    normalize: str,
    extent: Extent | str,
    points: int | Sequence[int],
    seed: int,
    rise: float,
    *,
    zero_1d: bool,
) -> tuple[Directions, list[list[float]]]:
    """Choose the directions, and where along them to evaluate."""
    axes(1.0 if isinstance(extent, str) else extent, points, count)  # a mistake is found before any work
    chosen = choose(objective, directions, count, normalize, zero_1d=zero_1d, seed=seed)
    is_common = chosen.normalize != "none"
    return chosen, axes(resolved(objective, chosen.vectors, extent, rise, is_common=is_common), points, count)


def _origin(objective: Objective, chosen: Directions, seed: int) -> dict[str, Any]:
    loss = objective.loss()  # before the fingerprint: it takes a pass over the data to know them
    return {
        "origin_loss": loss,
        "source": chosen.source,
        "normalize": chosen.normalize,
        "zero_1d": chosen.zero_1d,
        "seed": seed,
        "names": objective.names,
        "state_sha256": state_sha256(objective),
        "data_fingerprint": rounded_fingerprint(objective),
        "status": Status.INTERRUPTED,
    }


def _scan(
    objective: Objective,
    begun: Scanned,
    chosen: Directions,
    coordinates: Sequence[Sequence[float]],
    path: str | os.PathLike[str] | None,
    name: str,
    progress: Progress | None,
) -> Scanned:
    with _cells(begun, path, name) as cells:
        fill(objective, chosen.vectors, coordinates, cells, progress)
    loss, done = (torch.from_numpy(np.array(cells[key])) for key in ("loss", "done"))
    status = chosen.status if bool(loss.isfinite().all()) else Status.NOT_FINITE
    found = dataclasses.replace(begun, loss=loss, done=done, status=status)
    if path is not None and read(path, f"{begun.group}/{name}") != found.to_measurement():
        found.save(path, name)  # a finished file is left alone
    return found


@contextmanager
def _cells(begun: Scan, path: str | os.PathLike[str] | None, name: str) -> Iterator[Cells]:
    measurement = begun.to_measurement()
    if path is None:
        yield Cells({key: measurement.variables[key].data.copy() for key in ("loss", "done")}, "done")
        return
    with open_cells(path, begun.group, name, measurement, outcome=("status", "status_meaning", "origin_loss")) as cells:
        stored = float(read(path, f"{begun.group}/{name}").variables["origin_loss"].data)
        # the same data in another order or on another device differ by rounding, another loss function by far more
        if not math.isclose(stored, begun.origin_loss, rel_tol=1e-4) and stored == stored:
            raise ValueError(
                f"{begun.group}/{name} in {os.fspath(path)} was begun with another loss function (the loss at the "
                f"origin was {stored:.6g} and is {begun.origin_loss:.6g}); choose another name or file, or delete it"
            )
        yield cells
