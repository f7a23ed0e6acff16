"""Gradients of random batches, and their inner products, from which everything about two batches follows.

For each batch four gradients are made: at the weights w, and at w + epsilon for the epsilon that SAM, GCSAM and SAM
with a random projection take from this very batch. Inner products of the first, weight by weight and under each
projection, give variances and cosines; those of the signs, sign agreement; those of the others, the cosine of the
gradients that an optimizer steps along.

Proved right by explicit autograd on a float64 copy (`tests/analysis/noise/test_minibatch.py`).
Cost: four gradients over the batch; 4 D numbers for each batch held.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from analysis.checks import positive
from analysis.noise.control import control_directions, projected
from analysis.noise.layers import Layers
from analysis.noise.per_sample import gradients_of
from analysis.noise.scalars import KINDS
from analysis.objective import Objective
from analysis.pool import Pool

# Numbers of gradients held together, 512 MiB in float32. Our choice: a ResNet-20 then has all pairs of 64 batches, and
# beside a large network it is small; a ResNet-50 has pairs.
HELD_NUMBERS = 2**27


@dataclasses.dataclass(frozen=True)
class Products:
    """Inner products between the batches of one cut, in float64 on the CPU; zeros between batches not held together.

    Attributes:
        gradient: Of the gradients at w, [kind, L, M, M].
        signs: Of their signs, and of the absolute values of these, [2, kind, M, M].
        descent: Of the gradients at w + epsilon, [kind, M, M].
        is_pair: Whether two batches are different ones held together, [M, M].
    """

    gradient: Tensor
    signs: Tensor
    descent: Tensor
    is_pair: Tensor


class BatchGradients:
    """What one batch, given by the indices of its samples, makes of the weights; use it inside `measuring`.

    Args:
        objective: Whose loss.
        pool: Its samples.
        rho: Norm of epsilon.
        seed: Of the control's directions.

    Attributes:
        layers: Modules that hold measured weights, [L].
        weights: w, [D].
    """

    def __init__(self, objective: Objective, pool: Pool, rho: float, seed: int) -> None:
        self._objective, self._pool, self._rho = objective, pool, rho
        layers = Layers(objective)
        self.layers, self._row = layers.names, layers.row
        shapes = dict(zip(objective.names, objective.layout.shapes, strict=True))
        directions = control_directions(shapes, objective.centralize_dims, seed)
        self._directions = {name: d.to(objective.device, objective.dtype) for name, d in directions.items()}
        self.weights = objective.weights()

    @property
    def held(self) -> int:
        """Batches whose gradients fit into `HELD_NUMBERS` together; at least two."""
        return max(2, HELD_NUMBERS // ((1 + len(KINDS)) * len(self.weights)))

    def products(self, cut: Tensor, held: int, on_batch: Callable[[], None]) -> Products:
        """Return the inner products between the batches of one cut of the data.

        Args:
            cut: Indices of the samples of each batch, [M, B].
            held: Batches compared with each other, at most; at least two.
            on_batch: Called after each batch.
        """
        tiles = []
        for tile in torch.tensor_split(cut, -(-len(cut) // held)):
            rows = self.weights.new_empty(len(tile), 1 + len(KINDS), len(self.weights))
            for row, indices in zip(rows, tile, strict=True):
                row.copy_(self._gradients(indices))
                on_batch()
            tiles.append(self._between(rows))
        return _joined(tiles)

    def _gradients(self, indices: Tensor) -> Tensor:
        """Return the gradient of a batch at w, then those at w + epsilon for each kind, [1 + kind, D]."""
        at_start = self._gradient(indices, self.weights)
        found = [at_start]
        for ascent in self._by_kind(at_start):
            norm = ascent.norm()
            # a gradient of zero shows no way up, and the optimizers stay where they are
            step = torch.where(norm == 0, 0.0, self._rho / norm)
            found.append(self._gradient(indices, self.weights + step * ascent))
        return torch.stack(found)

    def _between(self, gradients: Tensor) -> Products:
        """Return the inner products between batches, all pairs, of gradients [M, 1 + kind, D]."""
        m = len(gradients)
        inner = torch.zeros(len(KINDS), len(self.layers), m, m, dtype=torch.float64)
        signs = torch.zeros(2, len(KINDS), m, m, dtype=torch.float64)
        descent = torch.zeros(len(KINDS), m, m, dtype=torch.float64)
        for name, rows in self._tensors(gradients[:, 0]):
            inner[:, self._row[name]] += torch.stack([_gram(piece) for piece in rows])
            signs[0] += torch.stack([_gram(piece.sign()) for piece in rows])
            signs[1] += torch.stack([_gram(piece.sign().abs()) for piece in rows])
        for kind in range(len(KINDS)):
            for piece in torch.split(gradients[:, 1 + kind], self._objective.layout.sizes, dim=1):
                descent[kind] += _gram(piece)
        return Products(inner, signs, descent, ~torch.eye(m, dtype=torch.bool))

    def _gradient(self, indices: Tensor, weights: Tensor) -> Tensor:
        objective = self._objective
        state = objective.state(weights)
        leaves = {name: state[name].detach().requires_grad_() for name in objective.names}
        total = torch.zeros_like(weights)
        count: Tensor | float = 0.0
        for batch in self._pool.batches(indices):
            loss_sum, batch_count = objective.evaluate({**state, **leaves}, batch)
            pieces = gradients_of(loss_sum, list(leaves.values()))
            total += objective.layout.join(dict(zip(leaves, pieces, strict=True)))
            count = count + batch_count
        return total / positive(count)

    def _by_kind(self, gradient: Tensor) -> list[Tensor]:
        """Return [D] for each kind."""
        columns: list[list[Tensor]] = [[] for _ in KINDS]
        for _, rows in self._tensors(gradient[None]):
            for column, piece in zip(columns, rows * (len(KINDS) // len(rows)), strict=True):
                column.append(piece.flatten())
        return [torch.cat(column) for column in columns]

    def _tensors(self, gradients: Tensor) -> Iterator[tuple[str, list[Tensor]]]:
        """Yield each weight's name and [M, *shape] for each kind, or one that stands for all."""
        objective = self._objective
        pieces = torch.split(gradients, objective.layout.sizes, dim=1)
        for name, shape, piece in zip(objective.names, objective.layout.shapes, pieces, strict=True):
            rows = piece.reshape(len(gradients), *shape)
            yield name, projected(rows, objective.centralize_dims[name], self._directions.get(name))


def _joined(tiles: Sequence[Products]) -> Products:
    """Return the products of all batches, those of different tiles being no pairs."""
    found = {}
    for field in dataclasses.fields(Products):
        blocks = [getattr(tile, field.name) for tile in tiles]
        size = sum(block.shape[-1] for block in blocks)
        whole = blocks[0].new_zeros(*blocks[0].shape[:-2], size, size)
        start = 0
        for block in blocks:
            stop = start + block.shape[-1]
            whole[..., start:stop, start:stop] = block
            start = stop
        found[field.name] = whole
    return Products(**found)


def _gram(rows: Tensor) -> Tensor:
    """Return the inner products of rows [M, ...], [M, M] in float64 on the CPU: they are subtracted from each other."""
    exact = rows.reshape(len(rows), -1).double()
    return (exact @ exact.mT).cpu()
