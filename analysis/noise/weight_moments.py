"""Mean and variance of the gradient of every single weight, streamed, and what they say of each layer.

Sums are taken of deviations from the first sample's gradient: a weight whose gradient never changes then has a variance
of exactly 0, and as the first is one of the N samples, the shift costs the others no more than a factor N in rounding.
Sums can be subtracted, so that leaving out a block of samples needs that block alone.

Proved right by numpy's mean and variance of explicit per-sample gradients, all samples and without a block
(`tests/analysis/noise/test_snr.py`). Cost: two passes over each gradient and kind; 6 D numbers in float64 for each
`Sums`, and D for the first gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from analysis.noise.control import control_directions, projected
from analysis.noise.layers import Layers
from analysis.noise.scalars import KINDS
from analysis.objective import Objective

# What is left of a variance after a block is taken off, relative to the whole, that is rounding and no variance.
ROUNDING = 1e-12


@dataclasses.dataclass
class Sums:
    """Of some samples' deviations from the first one.

    Attributes:
        deviations: Their sum, [kind, D] in float64.
        squares: The sum of their squares, [kind, D].
        count: Samples.
    """

    deviations: Tensor
    squares: Tensor
    count: int = 0


class WeightMoments:
    """Sums over samples, raw, centralized and under the control's projection, and the moments that follow.

    Gradients of `loss_sum` come in; moments go out for g_i = scale * (that gradient).

    Args:
        objective: Whose gradients.
        scale: N / count.
        seed: Of the control's directions.

    Attributes:
        layers: Modules that hold the measured weights.
    """

    def __init__(self, objective: Objective, scale: float, seed: int) -> None:
        shapes = dict(zip(objective.names, objective.layout.shapes, strict=True))
        layers = Layers(objective)
        self.layers = layers.names
        self._members: list[list[str]] = [[] for _ in layers.names]
        for name, row in layers.row.items():
            self._members[row].append(name)
        self._layout, self._dims, self._scale = objective.layout, objective.centralize_dims, scale
        controls = control_directions(shapes, self._dims, seed)
        self._controls = {name: unit.to(objective.device) for name, unit in controls.items()}
        self._first: dict[str, Tensor] = {}

    def empty(self) -> Sums:
        """Return sums over no sample."""
        zeros = torch.zeros(len(KINDS), self._layout.num_parameters, dtype=torch.float64, device=self._layout.device)
        return Sums(zeros, zeros.clone())

    def add(self, sums: Sums, gradients: dict[str, Tensor]) -> None:
        """Add some samples to sums.

        Args:
            sums: Changed in place.
            gradients: Parameter name to [C, *shape].
        """
        if not self._first:
            self._first = {name: gradients[name][0].double() for name in self._layout.names}
        sums.count += len(next(iter(gradients.values())))
        rows = [*zip(sums.deviations, sums.squares, strict=True)]
        pieces = [(self._layout.split(deviations), self._layout.split(squares)) for deviations, squares in rows]
        for name, first in self._first.items():
            kept = self._projected(name, gradients[name].double() - first)
            for kind, (deviations, squares) in enumerate(pieces):
                deviation = kept[min(kind, len(kept) - 1)]  # a single kind stands for all three
                deviations[name] += deviation.sum(0)
                squares[name] += deviation.square().sum(0)

    def moments(self, sums: Sums, without: Sums | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and unbiased variance of every weight's gradient, [kind, D] each.

        Args:
            sums: Of at least two samples.
            without: Of samples among these to leave out; at least two must be left.
        """
        count, deviations, squares = sums.count, sums.deviations, sums.squares
        if without is not None:
            count = count - without.count
            deviations, squares = deviations - without.deviations, squares - without.squares
        # clamped against rounding, which is relative to the sum of squares of all samples
        variance = (squares - deviations.square() / count) / (count - 1)
        variance = torch.where(variance.abs() <= ROUNDING * sums.squares / sums.count, 0.0, variance)
        start = [self._projected(name, first[None]) for name, first in self._first.items()]
        first = [
            torch.cat([kinds[min(kind, len(kinds) - 1)].flatten() for kinds in start]) for kind in range(len(KINDS))
        ]
        return self._scale * (torch.stack(first) + deviations / count), self._scale**2 * variance

    def summaries(self, mean: Tensor, variance: Tensor, count: int) -> Tensor:
        """Return mean and median of r_j, ratio of sums, and share of constant weights, [4, kind, layers and total].

        Args:
            mean: [kind, D].
            variance: [kind, D].
            count: Samples they are of.
        """
        rows = [list(self._rows(mean[kind], variance[kind], count)) for kind in range(len(KINDS))]
        return torch.tensor(rows, dtype=torch.float64).permute(2, 0, 1).contiguous()

    def _rows(self, mean: Tensor, variance: Tensor, count: int) -> Iterator[Sequence[float]]:
        means, variances = self._layout.split(mean), self._layout.split(variance)
        for members in (*self._members, self._layout.names):
            m, v = (torch.cat([pieces[name].flatten() for name in members]) for pieces in (means, variances))
            single = ratios(m, v, count).cpu().numpy()
            single = single[~np.isnan(single)]
            trace = float(v.sum())
            ratio = (float(m.square().sum()) - trace / count) / trace if trace != 0 else np.nan
            mean_of, median_of = (float(single.mean()), float(np.median(single))) if len(single) else (np.nan, np.nan)
            yield mean_of, median_of, ratio, float((v == 0).double().mean())

    def _projected(self, name: str, gradient: Tensor) -> list[Tensor]:
        """Return [C, *shape] raw, centralized and controlled; the raw one alone where P does nothing."""
        return projected(gradient, self._dims[name], self._controls.get(name))


def ratios(mean: Tensor, variance: Tensor, count: int) -> Tensor:
    """Return r_j = (mean_j^2 - variance_j / N) / variance_j; NaN where the variance is 0.

    Args:
        mean: Of each weight's gradient.
        variance: Unbiased.
        count: N.
    """
    return torch.where(variance == 0, torch.nan, mean.square() / variance - 1 / count)
