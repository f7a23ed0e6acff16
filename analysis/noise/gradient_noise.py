"""Gradient noise by layer: how much per-sample gradients scatter, relative to their mean; what centralization changes.

Any projection lowers the noise, so that tr(P Sigma P) <= tr(Sigma) proves nothing. The question is whether the noise
falls more than the signal does, and by more than under a random projection of the same rank; all three are measured.

Proved right by: explicit per-sample gradients by plain autograd on a float64 copy, for every kind of layer; linear
regression with known Sigma, over resamplings; a toy whose signal P destroys
(`tests/analysis/noise/test_gradient_noise.py`).
Cost: stated at `gradient_noise`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.checks import check_whole
from analysis.evidence import Result, Status, measured
from analysis.noise.control import control_directions, projected
from analysis.noise.moments import Estimates, Moments
from analysis.noise.per_sample import MeanGradient, PerSampleGradients, mean_gradient
from analysis.noise.scalars import KINDS
from analysis.objective import Objective
from analysis.parameters import owner_of

MCCANDLISH = "McCandlish et al. (2018), arXiv 1812.06162"
JACKKNIFE = "jackknife over samples, second-order part corrected"
SQUARED = "loss^2/weight^2"
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class TotalNoise(Result):
    """Noise and signal over all measured weights."""

    trace: float = measured(units=SQUARED, description="tr(Sigma), unbiased", source=MCCANDLISH)
    trace_standard_error: float = measured(units=SQUARED, description="Of trace", source=JACKKNIFE)
    signal: float = measured(units=SQUARED, description="||G||^2, unbiased", source=MCCANDLISH)
    signal_standard_error: float = measured(units=SQUARED, description="Of signal", source=JACKKNIFE)
    noise_scale: float = measured(units="1", description="trace / signal; inf where signal <= 0", source=MCCANDLISH)
    noise_scale_standard_error: float = measured(units="1", description="Of noise_scale", source="delta method")


@dataclasses.dataclass(frozen=True, eq=False)
class LayerNoise(Result):
    """Noise and signal of each layer, and their total."""

    trace: Tensor = measured("layer", units=SQUARED, description="tr(Sigma), unbiased", source=MCCANDLISH)
    trace_standard_error: Tensor = measured("layer", units=SQUARED, description="Of trace", source=JACKKNIFE)
    signal: Tensor = measured("layer", units=SQUARED, description="||G||^2, unbiased", source=MCCANDLISH)
    signal_standard_error: Tensor = measured("layer", units=SQUARED, description="Of signal", source=JACKKNIFE)
    noise_scale: Tensor = measured(
        "layer", units="1", description="trace / signal; inf where signal <= 0", source=MCCANDLISH
    )
    noise_scale_standard_error: Tensor = measured(
        "layer", units="1", description="Of noise_scale", source="delta method"
    )
    total: TotalNoise = measured(description="The same over all measured weights")


@dataclasses.dataclass(frozen=True, eq=False)
class GradientNoise(Result):
    """The covariance Sigma of per-sample gradients: raw, centralized, and under a random projection."""

    group: ClassVar[str] = "noise"
    layers: tuple[str, ...] = measured("layer", description="Modules that hold the measured weights")
    raw: LayerNoise = measured(description="Of the gradients g")
    centralized: LayerNoise = measured(description="Of P g")
    control: LayerNoise = measured(description="Of g without its component along a random direction in each row")
    ascent_ratio: Tensor = measured(
        "layer", units="1", description="q = ||P g|| / ||g|| of the mean gradient", source="cosine between g and P g"
    )
    ascent_ratio_total: float = measured(units="1", description="q over all measured weights")
    num_samples: int = measured(units="1", description="N")
    seed: int = measured(units="1", description="Of the control's directions")
    method: str = measured(description="How per-sample gradients were computed: vmap, or loop over the samples")
    status: Status = measured(description="How the measurement ended")


def gradient_noise(
    objective: Objective, *, seed: int = 0, chunk: int | None = None, progress: Progress | None = None
) -> GradientNoise:
    """Measure the noise and the signal of per-sample gradients, by layer and in total.

    Sigma is the covariance of the per-sample gradients g_i at the present weights, G their expectation, and
    noise_scale = tr(Sigma) / ||G||^2 the batch size at which noise and signal are equal. The data are taken as a sample
    of their distribution: numerator and denominator are unbiased for it (||mean(g)||^2 alone is too large by
    tr(Sigma) / N) and then divided. Where a mean is over tokens, g_i = N / (number of tokens) * (gradient of sample i's
    summed loss), so that the mean of g_i is the objective's gradient.

    At weights fitted to these very data the mean gradient is closer to zero than G: use held-out data there.

    `centralized` applies P to every g_i, by the axes of `objective.centralize_dims`; `control` removes as many
    dimensions at the same places, along random directions. The noise that P removes, tr((I-P) Sigma (I-P)), is
    raw.trace - centralized.trace exactly; for the signal alike.

    Args:
        objective: Whose per-sample gradients. Its loss must be a sum over samples, its batches tensors with the
            samples along their first axis; N >= 2.
        seed: Of the control's directions, drawn on the CPU; >= 0.
        chunk: Samples whose gradients are held at once, >= 1; chunk * D numbers, and twice that for the largest tensor.
            None: what fits in 128 MiB of float32, our choice. It changes time and memory, not the result.
        progress: Called as progress(done, total) in samples, after each chunk.

    Returns:
        GradientNoise (frozen). layers [L]: the modules that hold measured weights, in the model's order; weight and
        bias are one layer, those of the model itself go by its class name, a shared weight is at its first place.
        raw, centralized, control: each trace [L], signal [L] (both squared loss per squared weight; signal can come out
        negative), noise_scale [L], their standard errors, and `total`, the same as floats; the total's trace and
        signal are the sums over layers. Standard errors are NaN for N = 2.
        ascent_ratio [L], ascent_ratio_total: q = ||P mean(g)|| / ||mean(g)||, in [0, 1]; NaN where the mean is zero.
        status: ZERO_SIGNAL where the total's signal is <= 0, raw, centralized or control: noise_scale is then inf, as
        it is in single layers, and its standard error NaN. NOT_FINITE where gradients are. Else COMPLETE.

    Raises:
        ValueError: Fewer than two samples, batches that cannot be cut into samples, a loss that is not a sum over
            samples, or seed or chunk out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: two passes over the data. Memory: the chunk and about 6 D numbers, whatever N. Models that vmap cannot batch,
    such as recurrent ones, take one forward and backward pass per sample (`method` is then "loop").

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> x, y = torch.ones(3, 1), torch.tensor([[1.0], [2.0], [3.0]])  # g_i = -2, -4, -6
        >>> found = gradient_noise(Objective(model, torch.nn.MSELoss(), (x, y)))
        >>> found.layers, found.raw.total.trace, round(found.raw.total.signal, 4)  # 4^2 - 4/3
        (('Linear',), 4.0, 14.6667)

    References:
        McCandlish et al., An empirical model of large-batch training, arXiv 1812.06162. Their estimator takes two batch
        sizes; ours takes N and 1, which is exact about the data at hand and has the smallest error.
    """
    check_whole("seed", seed, 0, "it seeds the control's directions")
    if chunk is not None:
        check_whole("chunk", chunk, 1, "None chooses it by memory")
    with objective.measuring(with_grad=True), sdpa_kernel(SDPBackend.MATH):  # vmap batches only that kernel
        state = objective.state()
        mean = mean_gradient(objective, state)
        projections = _Projections(objective, mean, seed)
        gradients = PerSampleGradients(objective, state, chunk)
        moments = Moments()
        for pieces in gradients:
            squares, along_mean, neighbors = projections.scalars(pieces).unbind(-1)
            moments.update(squares, along_mean, neighbors)
            if progress is not None:
                progress(moments.num_samples, mean.num_samples)
        gradients.check_additive(mean)
    mean_square = projections.mean_square()
    ratio = (mean_square[1] / mean_square[0]).sqrt()  # [L + 1]
    raw, centralized, control = _by_kind(moments.estimates(mean_square))
    return GradientNoise(
        layers=projections.layers,
        raw=raw,
        centralized=centralized,
        control=control,
        ascent_ratio=ratio[:-1].clone(),
        ascent_ratio_total=float(ratio[-1]),
        num_samples=mean.num_samples,
        seed=seed,
        method=gradients.method,
        status=_status(raw.total, centralized.total, control.total),
    )


class _Projections:
    """The scalars of each sample that the moments are made of, for each kind of projection and each layer.

    Gradients of `loss_sum` come in; the scalars go out for g_i = N / count * (that gradient).
    """

    def __init__(self, objective: Objective, mean: MeanGradient, seed: int) -> None:
        shapes = dict(zip(objective.names, objective.layout.shapes, strict=True))
        owners = {name: owner_of(name) for name in objective.names}
        paths = list(dict.fromkeys(owners.values()))
        self.layers = tuple(path or type(objective.model).__name__ for path in paths)
        self._row = {name: paths.index(path) for name, path in owners.items()}
        self._scale = (mean.num_samples / mean.count) ** 2  # of everything quadratic in the gradient
        self._dims = objective.centralize_dims
        self._mean = objective.layout.split(mean.vector.to(objective.dtype))
        directions = control_directions(shapes, self._dims, seed)
        self._directions = {name: d.to(objective.device, objective.dtype) for name, d in directions.items()}
        self._last = {name: torch.zeros_like(piece) for name, piece in self._mean.items()}

    def scalars(self, gradients: dict[str, Tensor]) -> Tensor:
        """Return s_i, t_i, p_i, [kind, layer and total, C, 3] in float64 on the CPU; empties `gradients`."""
        size = len(next(iter(gradients.values())))
        found = torch.zeros(len(KINDS), len(self.layers) + 1, size, 3, dtype=torch.float64)
        for name in self._mean:
            deviation = gradients.pop(name).to(self._mean[name].dtype) - self._mean[name]  # [C, *shape]
            values = []
            for kept in self._projected(name, deviation):
                with_previous = torch.cat([
                    _inner(kept[:1], self._last[name][None]),
                    _inner(kept[1:], deviation[:-1]),
                ])
                along_mean = _inner(kept, self._mean[name][None])
                values.append(torch.stack([_inner(kept, kept), along_mean, with_previous], -1))
            found[:, self._row[name]] += torch.stack(values).cpu()  # a single kind stands for all three
            self._last[name] = deviation[-1].clone()
        found[:, -1] = found[:, :-1].sum(1)
        return found * self._scale

    def mean_square(self) -> Tensor:
        """Return ||mean(g)||^2, [kind, layer and total] in float64 on the CPU."""
        found = torch.zeros(len(KINDS), len(self.layers) + 1, dtype=torch.float64)
        for name, mean in self._mean.items():
            squares = [kept.double().square().sum() for kept in self._projected(name, mean[None])]
            found[:, self._row[name]] += torch.stack(squares).cpu()
        found[:, -1] = found[:, :-1].sum(1)
        return found * self._scale

    def _projected(self, name: str, gradient: Tensor) -> list[Tensor]:
        """Return [C, *shape] raw, centralized and controlled; the raw one alone where P does nothing."""
        return projected(gradient, self._dims[name], self._directions.get(name))


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each row of a with that of b, or with its only row: [C]."""
    products: Tensor = torch.linalg.vecdot(a.flatten(1), b.flatten(1))
    return products.double()


def _by_kind(estimates: Estimates) -> list[LayerNoise]:
    """Cut [kind, layer and total] into results; trace and signal of the total are the sums over layers to the bit."""
    found = []
    for kind in range(len(KINDS)):
        rows = {field: getattr(estimates, field)[kind] for field in Estimates._fields}
        totals = {field: float(values[-1]) for field, values in rows.items()}
        totals.update({field: float(rows[field][:-1].sum()) for field in ("trace", "signal")})
        layers = {field: values[:-1].clone() for field, values in rows.items()}
        found.append(LayerNoise(**layers, total=TotalNoise(**totals)))
    return found


def _status(*totals: TotalNoise) -> Status:
    values = torch.tensor([(total.trace, total.signal) for total in totals], dtype=torch.float64)
    if not bool(values.isfinite().all()):
        return Status.NOT_FINITE
    return Status.ZERO_SIGNAL if bool((values[:, 1] <= 0).any()) else Status.COMPLETE
