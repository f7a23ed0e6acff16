"""What is told of the tails of each layer from the numbers kept of every deviation, and the results that hold it.

Proved right by computing every number again from its own table, and by known covariances for the effective rank
(`tests/analysis/noise/test_tails.py`). Cost: that of four `tail_index` and one of norms for each row.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from analysis.evidence import Result, measured
from analysis.noise.kurtosis import excess_kurtosis
from analysis.noise.tail_index import TailIndex, tail_index

GRADIENT = "loss/weight"
# Of resampling and of Gaussian draws, half as many as `tail_index` takes: they are most of the time where there are
# many layers, and an interval's width is still right within 7 %.
REPETITIONS = 100
JOANES = "Joanes and Gill (1998)"


@dataclasses.dataclass(frozen=True, eq=False)
class TailIndices(Result):
    """Tail exponents of all layers, as in `TailIndex`."""

    value: Tensor = measured("layer", units="1", description="Tail exponent alpha; NaN where nothing varies")
    interval_low: Tensor = measured("layer", units="1", description="Lower end of the interval of the value")
    interval_high: Tensor = measured("layer", units="1", description="Upper end")
    gaussian: Tensor = measured("layer", units="1", description="Mean over draws of Gaussian numbers in their place")
    gaussian_low: Tensor = measured("layer", units="1", description="Lower end of the range of these draws")
    gaussian_high: Tensor = measured("layer", units="1", description="Upper end of that range")
    num_left_out: Tensor = measured("layer", units="1", description="Columns that do not vary enough")


@dataclasses.dataclass(frozen=True, eq=False)
class TotalTails(Result):
    """Tails of the noise over all measured weights, with the numbers they are told from."""

    projection_kurtosis: float = measured(units="1", description="Excess, mean over directions", source=JOANES)
    projection_kurtosis_standard_error: float = measured(units="1", description="Jackknife over samples")
    projection_stable: TailIndex = measured(description="alpha of projections, mcculloch")
    projection_hill: TailIndex = measured(description="alpha of projections, hill")
    coordinate_kurtosis: float = measured(units="1", description="Excess, mean over coordinates", source=JOANES)
    coordinate_kurtosis_standard_error: float = measured(units="1", description="Jackknife over samples")
    coordinate_stable: TailIndex = measured(description="alpha of coordinates, mcculloch")
    coordinate_hill: TailIndex = measured(description="alpha of coordinates, hill")
    norm_hill: TailIndex = measured(description="alpha of the norms, hill")
    effective_rank: float = measured(units="1", description="tr(Sigma)^2 / tr(Sigma^2), from the projections")
    projections: Tensor = measured("projection", "sample", units=GRADIENT, description="<e_i, u_r>")
    norms: Tensor = measured("sample", units=GRADIENT, description="||e_i||")


@dataclasses.dataclass(frozen=True, eq=False)
class LayerTails(Result):
    """Tails of the noise of each layer, and over all measured weights."""

    projection_kurtosis: Tensor = measured("layer", units="1", description="Excess, mean over directions")
    projection_kurtosis_standard_error: Tensor = measured("layer", units="1", description="Jackknife over samples")
    projection_stable: TailIndices = measured(description="alpha of projections, mcculloch")
    projection_hill: TailIndices = measured(description="alpha of projections, hill")
    coordinate_kurtosis: Tensor = measured("layer", units="1", description="Excess, mean over coordinates")
    coordinate_kurtosis_standard_error: Tensor = measured("layer", units="1", description="Jackknife over samples")
    coordinate_stable: TailIndices = measured(description="alpha of coordinates, mcculloch")
    coordinate_hill: TailIndices = measured(description="alpha of coordinates, hill")
    norm_hill: TailIndices = measured(description="alpha of the norms, hill")
    effective_rank: Tensor = measured("layer", units="1", description="tr(Sigma)^2 / tr(Sigma^2)")
    total: TotalTails = measured(description="The same over all measured weights")


def row_of(projections: Tensor, norms: Tensor, coordinates: Tensor, num_weights: int, seed: int) -> TotalTails:
    """Return the tails of one layer, or of all weights, told from the numbers kept of each deviation.

    Args:
        projections: [n, R].
        norms: [n].
        coordinates: [n, C].
        num_weights: D, of the vectors projected.
        seed: Of resampling and Gaussian draws.
    """
    rank = effective_rank(projections, norms, num_weights)
    index = functools.partial(tail_index, num_resamples=REPETITIONS, num_gaussian=REPETITIONS, seed=seed)
    along, single = (excess_kurtosis(table.numpy()) for table in (projections, coordinates))
    return TotalTails(
        projection_kurtosis=along[0],
        projection_kurtosis_standard_error=along[1],
        projection_stable=index(projections, "mcculloch"),
        projection_hill=index(projections, "hill"),
        coordinate_kurtosis=single[0],
        coordinate_kurtosis_standard_error=single[1],
        coordinate_stable=index(coordinates, "mcculloch"),
        coordinate_hill=index(coordinates, "hill"),
        norm_hill=index(norms, "hill", rank=None if math.isnan(rank) else rank),
        effective_rank=rank,
        projections=projections.T.contiguous(),
        norms=norms.clone(),
    )


def by_layer(rows: Sequence[TotalTails]) -> LayerTails:
    """Return the numbers of layers put together.

    Args:
        rows: Of each layer, and last of all weights.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(LayerTails):
        if field.name != "total":
            values = [getattr(row, field.name) for row in rows[:-1]]
            is_index = isinstance(values[0], TailIndex)
            found[field.name] = _indices(values) if is_index else torch.tensor(values, dtype=torch.float64)
    return LayerTails(**found, total=rows[-1])


def effective_rank(projections: Tensor, norms: Tensor, num_weights: int) -> float:
    """Estimate tr(Sigma)^2 / tr(Sigma^2) of deviations from their projections on random unit vectors.

    For independent unit vectors u and v the mean of (u^T Sigma v)^2 is tr(Sigma^2) / D^2. Both squares are means over
    pairs of different deviations, so that neither counts the scatter of single ones.

    Args:
        projections: [n, R].
        norms: [n].
        num_weights: D, of the vectors projected.

    Returns:
        The rank, between 1 and the least of D and n - 1; NaN where the norms are 0 or not finite.
    """
    n, count = projections.shape
    pairs = n * (n - 1)
    largest = norms.max()
    if not bool(norms.isfinite().all()) or not bool(largest > 0):
        return math.nan
    scaled, squares = projections / largest, (norms / largest).square()
    single = scaled.square()
    products = ((scaled.T @ scaled).square() - single.T @ single) / pairs  # [R, R]
    trace_of_square = float(products.sum() - products.diagonal().sum()) / (count * (count - 1)) * num_weights**2
    square_of_trace = float(squares.sum().square() - squares.square().sum()) / pairs
    most = float(min(num_weights, n - 1))
    return min(max(square_of_trace / trace_of_square, 1.0), most) if trace_of_square > 0 else most


def _indices(values: Sequence[TailIndex]) -> TailIndices:
    columns = {
        field.name: [getattr(value, field.name) for value in values] for field in dataclasses.fields(TailIndices)
    }
    return TailIndices(**{
        name: torch.tensor(column, dtype=torch.int64 if name == "num_left_out" else torch.float64)
        for name, column in columns.items()
    })
