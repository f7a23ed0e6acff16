"""The tails of gradient noise: whether deviations from the mean gradient are Gaussian, by layer and under projections.

Heavy tails of gradient noise have been claimed from its coordinates and norms (Simsekli et al. 2019) and contested
(Panigrahi et al. 2019, Xie et al. 2021). The three quantities answer differently, so all are measured: projections on
random directions are sums over many weights, which the central limit theorem draws toward the Gaussian; single
coordinates and norms are not. Each stands beside Gaussian noise of the same size and covariance.

Proved right by: the explicit matrix of per-sample gradients; linear losses whose gradients are drawn from the Gaussian
or a stable law of known alpha (`tests/analysis/noise/test_tails.py`).
Cost: stated at `gradient_tails`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.checks import check_whole
from analysis.evidence import Result, Status, measured
from analysis.flatness.subsets import subsets
from analysis.noise.per_sample import MeanGradient, PerSampleGradients, gradients_of, mean_gradient
from analysis.noise.scalars import KINDS
from analysis.noise.tail_index import MIN_VALUES
from analysis.noise.tail_layers import LayerTails, by_layer, row_of
from analysis.noise.tail_scalars import TailScalars
from analysis.objective import Objective

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class GradientTails(Result):
    """How the deviations e = g - mean(g) of gradients are distributed: raw, centralized, under a random projection."""

    group: ClassVar[str] = "noise"
    layers: tuple[str, ...] = measured("layer", description="Modules that hold the measured weights")
    raw: LayerTails = measured(description="Of the gradients g")
    centralized: LayerTails = measured(description="Of P g")
    control: LayerTails = measured(description="Of g without its component along a random direction in each row")
    num_samples: int = measured(units="1", description="N")
    batch_size: int = measured(units="1", description="B, samples in each gradient, at most")
    num_gradients: int = measured(units="1", description="Deviations: N, or ceil(N / B) batches")
    seed: int = measured(units="1", description="Of directions, coordinates, batches, control, resampling")
    method: str = measured(description="How gradients were computed: vmap, loop over the samples, or batches")
    status: Status = measured(description="How the measurement ended")


def gradient_tails(
    objective: Objective,
    *,
    num_projections: int = 16,
    num_coordinates: int = 32,
    batch_size: int = 1,
    seed: int = 0,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> GradientTails:
    """Measure how heavy the tails of gradient noise are, by layer and in total.

    e_i = g_i - mean(g) is the deviation of the gradient of sample i, or of a random batch of B samples, at the present
    weights; g_i is scaled as in `gradient_noise`. Of each layer, and of all weights, three things are kept of e_i: its
    projections on `num_projections` random unit directions, `num_coordinates` random coordinates, and its norm. For
    projections and coordinates the excess kurtosis and both tail exponents of `tail_index` are given, averaged over
    directions or coordinates, each in its own scale; for norms Hill's.

    Beside each exponent stands what Gaussian noise would give: numbers of the same count and the same covariance
    between directions; for norms those of Gaussian vectors with the effective rank of Sigma. A number inside that range
    is no sign of heavy tails; one outside may also be owed to samples of different noise (many fitted, few not), a
    mixture, and not to a stable law: where mcculloch and hill disagree by more than Hill's bias, the law is not stable.

    `centralized` applies P to every e_i, by the axes of `objective.centralize_dims`; `control` removes as many
    dimensions at the same places, along random directions.

    Args:
        objective: Whose gradients. With B = 1 its loss must be a sum over samples; its batches must be tensors with the
            samples along their first axis.
        num_projections: R, >= 2, the same directions for all three kinds. 16 is our choice: a row of exponents then has
            about the error that its samples leave, and more directions of the same samples hardly lower it.
        num_coordinates: C, >= 1, in each layer, and of all weights; where there are fewer, all. 32 is our choice.
        batch_size: B, >= 1. The data are cut at random, each sample into one batch; ceil(N / B) must be at least 20.
        seed: Of directions, coordinates, batches, control and resampling, drawn on the CPU; >= 0.
        chunk: As for `gradient_noise`; for B = 1 alone.
        progress: Called as progress(done, total) in samples, after each chunk or batch.

    Returns:
        GradientTails (frozen). layers [L]: as in `gradient_noise`. raw, centralized, control: each with the numbers of
        the layers, [L], and `total`, the same over all weights, which also holds the projections [R, n] and norms [n]
        themselves, in the order of the data (of the batches for B > 1). effective_rank: estimated from the
        projections; where few samples carry the noise it is rough, and changes several times over from seed to seed.
        status: NOT_FINITE where gradients are, and all numbers that depend on them NaN; else COMPLETE. Exponents of
        what does not vary are NaN, and columns without spread are counted by num_left_out.

    Raises:
        ValueError: Fewer than 20 gradients, batches that cannot be cut into samples, a loss that is not a sum over
            samples (B = 1), or an argument out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: two passes over the data, as `gradient_noise`, for B > 1 two plain ones and the data in memory; then for each
    layer and kind about 0.3 s of resampling for 500 gradients. Memory: the chunk, (num_projections + 4) D numbers, and
    of each gradient and layer 3 (num_projections + num_coordinates + 1) numbers in float64.

    Example:
        >>> model = torch.nn.Linear(4, 1, bias=False)
        >>> x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
        >>> objective = Objective(model, lambda output, _: output.mean(), (x, x))  # g_i = x_i, Gaussian
        >>> found = gradient_tails(objective).raw.total
        >>> alpha = found.projection_stable
        >>> alpha.interval_low < 2 <= alpha.interval_high, abs(found.projection_kurtosis) < 0.5
        (True, True)

    References:
        Simsekli, Sagun, Gurbuzbalaban, A tail-index analysis of stochastic gradient noise, arXiv 1901.06053.
        Panigrahi et al., Non-Gaussianity of stochastic gradient noise, arXiv 1910.09626.
        Xie, Sato, Sugiyama, A diffusion theory for deep learning dynamics, arXiv 2002.03495.
    """
    check_whole("num_projections", num_projections, 2, "the effective rank is told from pairs of directions")
    check_whole("num_coordinates", num_coordinates, 1, "so many of each layer are looked at")
    check_whole("batch_size", batch_size, 1, "1 is the gradient of each sample")
    check_whole("seed", seed, 0, "it seeds directions, batches and resampling")
    if chunk is not None:
        check_whole("chunk", chunk, 1, "None chooses it by memory")
    with objective.measuring(with_grad=True), sdpa_kernel(SDPBackend.MATH):  # vmap batches only that kernel
        state = objective.state()
        mean = mean_gradient(objective, state)
        num_gradients = -(-mean.num_samples // batch_size)
        if num_gradients < MIN_VALUES:
            raise ValueError(
                f"tails need at least {MIN_VALUES} gradients, got {num_gradients} of {batch_size} samples each; give "
                "more data or a smaller batch_size"
            )
        scalars = TailScalars(objective, mean, num_projections, num_coordinates, seed)
        done = 0
        if batch_size == 1:
            gradients = PerSampleGradients(objective, state, chunk)
            for pieces in gradients:
                done += len(next(iter(pieces.values())))
                scalars.update(pieces)
                _report(progress, done, mean)
            gradients.check_additive(mean)
            method = gradients.method
        else:
            method = "batches"
            for pieces, size in _batch_gradients(objective, state, batch_size, seed):
                done += size
                scalars.update(pieces)
                _report(progress, done, mean)
    projections, norms, coordinates = scalars.projections(), scalars.norms(), scalars.coordinates()
    kinds = []
    for kind in range(len(KINDS)):
        rows = [
            row_of(projections[kind, row], norms[kind, row], coordinates[row][kind], scalars.sizes[row], seed)
            for row in range(len(scalars.layers) + 1)
        ]
        kinds.append(by_layer(rows))
    return GradientTails(
        layers=scalars.layers,
        raw=kinds[0],
        centralized=kinds[1],
        control=kinds[2],
        num_samples=mean.num_samples,
        batch_size=batch_size,
        num_gradients=num_gradients,
        seed=seed,
        method=method,
        status=Status.COMPLETE if bool(norms.isfinite().all()) else Status.NOT_FINITE,
    )


def _batch_gradients(
    objective: Objective, state: Mapping[str, Tensor], batch_size: int, seed: int
) -> Iterator[tuple[dict[str, Tensor], int]]:
    """Yield for each random batch its mean over samples of the gradient of loss_sum, [1, *shape], and its size."""
    leaves = {name: state[name].detach().requires_grad_() for name in objective.names}
    for part, size in subsets(objective, batch_size, seed):
        total = [torch.zeros_like(leaf) for leaf in leaves.values()]
        for batch in part.batches():
            loss_sum, _ = objective.evaluate({**state, **leaves}, batch)
            total = [a + b for a, b in zip(total, gradients_of(loss_sum, list(leaves.values())), strict=True)]
        yield {name: piece[None] / size for name, piece in zip(leaves, total, strict=True)}, size


def _report(progress: Progress | None, done: int, mean: MeanGradient) -> None:
    if progress is not None:
        progress(done, mean.num_samples)
