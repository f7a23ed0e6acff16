"""What is known about the gradient noise of a network: noise, signal and their ratio by layer, and what P changes.

Right when every field survives the file, and derived numbers are those of their definition
(`tests/analysis/noise/test_gradient_noise.py`).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured

MCCANDLISH = "McCandlish et al. (2018), arXiv 1812.06162"
JACKKNIFE = "jackknife over samples, second-order part corrected"
FIELLER = "Fieller (1954), on the jackknife over samples, 95 %"
SQUARED = "loss^2/weight^2"
NOT_OPEN = "trace / signal; inf where signal <= 0"


@dataclasses.dataclass(frozen=True, eq=False)
class TotalNoise(Result):
    """Noise and signal over all measured weights."""

    trace: float = measured(units=SQUARED, description="tr(Sigma), unbiased", source=MCCANDLISH)
    trace_standard_error: float = measured(units=SQUARED, description="Of trace", source=JACKKNIFE)
    signal: float = measured(units=SQUARED, description="||G||^2, unbiased", source=MCCANDLISH)
    signal_standard_error: float = measured(units=SQUARED, description="Of signal", source=JACKKNIFE)
    noise_scale: float = measured(units="1", description=NOT_OPEN, source=MCCANDLISH)
    noise_scale_standard_error: float = measured(units="1", description="Of noise_scale", source="delta method")

    @property
    def signal_to_noise(self) -> float:
        """||G|| / sqrt(tr(Sigma)) of one sample, sqrt(B) times that of a batch of B; 0 where signal <= 0."""
        return float(self.noise_scale**-0.5)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerNoise(Result):
    """Noise and signal of each layer, and their total."""

    trace: Tensor = measured("layer", units=SQUARED, description="tr(Sigma), unbiased", source=MCCANDLISH)
    trace_standard_error: Tensor = measured("layer", units=SQUARED, description="Of trace", source=JACKKNIFE)
    signal: Tensor = measured("layer", units=SQUARED, description="||G||^2, unbiased", source=MCCANDLISH)
    signal_standard_error: Tensor = measured("layer", units=SQUARED, description="Of signal", source=JACKKNIFE)
    noise_scale: Tensor = measured("layer", units="1", description=NOT_OPEN, source=MCCANDLISH)
    noise_scale_standard_error: Tensor = measured(
        "layer", units="1", description="Of noise_scale", source="delta method"
    )
    total: TotalNoise = measured(description="The same over all measured weights")

    @property
    def signal_to_noise(self) -> Tensor:
        """||G|| / sqrt(tr(Sigma)) of one sample, [L]; 0 where signal <= 0."""
        return self.noise_scale.pow(-0.5)


@dataclasses.dataclass(frozen=True, eq=False)
class TotalComparison(Result):
    """How the noise scales of two kinds of gradients compare, over all measured weights."""

    ratio: float = measured(units="1", description="Of noise scales; NaN where a signal is not positive")
    low: float = measured(units="1", description="Lower end of the interval", source=FIELLER)
    high: float = measured(units="1", description="Upper end; inf where the signal is not told from 0", source=FIELLER)


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseComparison(Result):
    """How the noise scales of two kinds of gradients compare, by layer and in total, on the same samples."""

    ratio: Tensor = measured("layer", units="1", description="Of noise scales; NaN where a signal is not positive")
    low: Tensor = measured("layer", units="1", description="Lower end of the interval", source=FIELLER)
    high: Tensor = measured(
        "layer", units="1", description="Upper end; inf where the signal is not told from 0", source=FIELLER
    )
    total: TotalComparison = measured(description="The same over all measured weights")


@dataclasses.dataclass(frozen=True, eq=False)
class GradientNoise(Result):
    """The covariance Sigma of per-sample gradients: raw, centralized, under a random projection; and what P removes."""

    group: ClassVar[str] = "noise"
    layers: tuple[str, ...] = measured("layer", description="Modules that hold the measured weights")
    raw: LayerNoise = measured(description="Of the gradients g")
    centralized: LayerNoise = measured(description="Of P g")
    control: LayerNoise = measured(description="Of g without its component along a random direction in each row")
    removed: LayerNoise = measured(description="Of (I - P) g: raw less centralized, exactly")
    centralized_to_raw: NoiseComparison = measured(description="Relative noise of P g in units of that of g")
    control_to_raw: NoiseComparison = measured(description="The same for the random projection")
    centralized_to_control: NoiseComparison = measured(
        description="Relative noise of P g in units of that under the random projection: below 1, P does more"
    )
    ascent_ratio: Tensor = measured(
        "layer", units="1", description="q = ||P g|| / ||g|| of the mean gradient", source="cosine between g and P g"
    )
    ascent_ratio_total: float = measured(units="1", description="q over all measured weights")
    parameters: tuple[str, ...] = measured("parameter", description="Measured weights")
    ways: tuple[str, ...] = measured("parameter", description="gram, product, grouped, sum; vmap or loop without form")
    num_samples: int = measured(units="1", description="N")
    seed: int = measured(units="1", description="Of the control's directions")
    status: Status = measured(description="How the measurement ended")


def status_of(*totals: TotalNoise) -> Status:
    """Return how a measurement with these totals ended.

    Args:
        *totals: Of every kind whose signal is divided by.
    """
    values = torch.tensor([(total.trace, total.signal) for total in totals], dtype=torch.float64)
    if not bool(values.isfinite().all()):
        return Status.NOT_FINITE
    return Status.ZERO_SIGNAL if bool((values[:, 1] <= 0).any()) else Status.COMPLETE
