"""The numbers kept of each gradient deviation: projections on random directions, a few coordinates, and the norm.

They are what the tails of the noise are told from, while the gradients themselves pass by in chunks. One Gaussian
vector over all weights gives the direction of every layer, its part there scaled to norm 1, and of all weights.

Proved right by the explicit matrix of per-sample gradients (`tests/analysis/noise/test_tails.py`). Cost: for each
gradient num_projections inner products of each kind; memory of num_projections * D numbers for the directions, and of
3 kinds * (num_projections + num_coordinates + 1) numbers for each deviation and row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from analysis.noise.control import control_directions, projected
from analysis.noise.layers import Layers
from analysis.noise.per_sample import MeanGradient
from analysis.noise.scalars import KINDS
from analysis.objective import Objective


class TailScalars:
    """What is kept of the deviations e = g - mean(g): raw, centralized, and under the control's projection.

    Rows are the layers and then all weights. Gradients of `loss_sum` come in; numbers go out for N / count times that.

    Args:
        objective: Whose gradients.
        mean: Over all samples.
        num_projections: R, directions for each row.
        num_coordinates: C, at most, for each row; as many as it has weights where those are fewer.
        seed: Of the directions, the coordinates, and the control.

    Attributes:
        layers: Modules that hold the measured weights.
        sizes: Weights in each row.
    """

    def __init__(
        self, objective: Objective, mean: MeanGradient, num_projections: int, num_coordinates: int, seed: int
    ) -> None:
        shapes = dict(zip(objective.names, objective.layout.shapes, strict=True))
        layers = Layers(objective)
        self.layers, self._row = layers.names, layers.row
        self.sizes = [*(0 for _ in self.layers), objective.num_parameters]
        for name, shape in shapes.items():
            self.sizes[self._row[name]] += shape.numel()
        self._scale = mean.num_samples / mean.count
        self._dims = objective.centralize_dims
        self._mean = objective.layout.split(mean.vector.to(objective.dtype))
        controls = control_directions(shapes, self._dims, seed)
        self._controls = {name: unit.to(objective.device, objective.dtype) for name, unit in controls.items()}
        # The control draws from the seed itself. From the same numbers the first direction would be the one it removes.
        generator = torch.Generator().manual_seed(seed)
        generator.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        self._directions, squares = {}, torch.zeros(len(self.layers), num_projections, dtype=torch.float64)
        for name, shape in shapes.items():
            drawn = torch.randn(num_projections, shape.numel(), generator=generator, dtype=torch.float64)
            squares[self._row[name]] += drawn.square().sum(1)
            self._directions[name] = drawn.to(objective.device, objective.dtype)
        self._lengths = torch.cat([squares, squares.sum(0, keepdim=True)]).sqrt()  # [L + 1, R]
        self._chosen = self._coordinates(shapes, num_coordinates, generator)
        self._along: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._picked: list[list[Tensor]] = []

    def update(self, gradients: dict[str, Tensor]) -> None:
        """Take some gradients into account; empties `gradients`.

        Args:
            gradients: Parameter name to [C, *shape].
        """
        size, rows = len(next(iter(gradients.values()))), len(self.layers) + 1
        along = torch.zeros(len(KINDS), rows, size, self._lengths.shape[1], dtype=torch.float64)
        squares = torch.zeros(len(KINDS), rows, size, dtype=torch.float64)
        picked: list[list[Tensor]] = [[] for _ in range(rows)]
        for name, mean in self._mean.items():
            row, deviation = self._row[name], gradients.pop(name).to(mean.dtype) - mean
            kept = [kind.flatten(1) for kind in projected(deviation, self._dims[name], self._controls.get(name))]
            # where P does nothing a single kind stands for all three
            along[:, row] += torch.stack([kind @ self._directions[name].T for kind in kept]).double().cpu()
            squares[:, row] += torch.stack([torch.linalg.vecdot(kind, kind) for kind in kept]).double().cpu()
            for where in (row, rows - 1):
                taken = torch.stack([kind[:, self._chosen[where][name]] for kind in kept]).double().cpu()
                picked[where].append(taken.expand(len(KINDS), -1, -1))
        along[:, -1], squares[:, -1] = along[:, :-1].sum(1), squares[:, :-1].sum(1)
        self._along.append(along / self._lengths[:, None])
        self._norms.append(squares.sqrt())
        self._picked.append([torch.cat(parts, -1) for parts in picked])

    def projections(self) -> Tensor:
        """Return <e_i, u_r>, [kind, row, N, R] in float64."""
        return torch.cat(self._along, 2) * self._scale

    def norms(self) -> Tensor:
        """Return ||e_i||, [kind, row, N] in float64."""
        return torch.cat(self._norms, 2) * self._scale

    def coordinates(self) -> list[Tensor]:
        """Return for each row the chosen coordinates of e_i, [kind, N, C] in float64."""
        return [torch.cat(parts, 1) * self._scale for parts in zip(*self._picked, strict=True)]

    def _coordinates(
        self, shapes: Mapping[str, torch.Size], most: int, generator: torch.Generator
    ) -> list[dict[str, Tensor]]:
        """Draw for each row which entries of each flattened weight are kept."""
        chosen = []
        device = next(iter(self._mean.values())).device
        for row in (*range(len(self.layers)), None):
            names = [name for name in shapes if row is None or self._row[name] == row]
            sizes = [shapes[name].numel() for name in names]
            order = torch.randperm(sum(sizes), generator=generator)[:most].sort().values
            starts = torch.tensor([0, *sizes]).cumsum(0)
            chosen.append({
                name: (order[(order >= start) & (order < stop)] - start).to(device)
                for name, start, stop in zip(names, starts[:-1], starts[1:], strict=True)
            })
        return chosen
