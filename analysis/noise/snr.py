"""Signal-to-noise ratio of the gradient, weight by weight: how clearly the data agree on where each one should go.

Proved right by: explicit per-sample gradients by plain autograd on a float64 copy, for every kind of layer; linear
regression with known moments and standard errors that are the scatter over resamplings; the noise scale of
`gradient_noise`, which is the inverse of the ratio of sums (`tests/analysis/noise/test_snr.py`).
Cost: stated at `gradient_snr`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.checks import check_whole
from analysis.evidence import Result, Status, measured
from analysis.noise.per_sample import PerSampleGradients, mean_gradient
from analysis.noise.scalars import KINDS
from analysis.noise.weight_moments import WeightMoments, ratios
from analysis.objective import Objective

LIU = "Liu et al. (2020), arXiv 2001.07384"
MCCANDLISH = "McCandlish et al. (2018), arXiv 1812.06162"
JACKKNIFE = "jackknife over blocks of samples"
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class TotalSNR(Result):
    """Signal-to-noise ratio over all measured weights."""

    mean: float = measured(units="1", description="Mean over weights of r_j; NaN where none varies", source=LIU)
    mean_standard_error: float = measured(units="1", description="Of mean", source=JACKKNIFE)
    median: float = measured(units="1", description="Median over weights of r_j", source=LIU)
    median_standard_error: float = measured(units="1", description="Of median", source=JACKKNIFE)
    ratio: float = measured(units="1", description="||G||^2 / tr(Sigma), one over the noise scale", source=MCCANDLISH)
    ratio_standard_error: float = measured(units="1", description="Of ratio", source=JACKKNIFE)
    constant_share: float = measured(units="1", description="Share of weights whose gradient does not vary")


@dataclasses.dataclass(frozen=True, eq=False)
class LayerSNR(Result):
    """Signal-to-noise ratio of each layer, their total, and the moments of every weight's gradient."""

    mean: Tensor = measured("layer", units="1", description="Mean over weights of r_j", source=LIU)
    mean_standard_error: Tensor = measured("layer", units="1", description="Of mean", source=JACKKNIFE)
    median: Tensor = measured("layer", units="1", description="Median over weights of r_j", source=LIU)
    median_standard_error: Tensor = measured("layer", units="1", description="Of median", source=JACKKNIFE)
    ratio: Tensor = measured("layer", units="1", description="||G||^2 / tr(Sigma)", source=MCCANDLISH)
    ratio_standard_error: Tensor = measured("layer", units="1", description="Of ratio", source=JACKKNIFE)
    constant_share: Tensor = measured("layer", units="1", description="Share of weights whose gradient does not vary")
    total: TotalSNR = measured(description="The same over all measured weights")
    gradient_mean: Tensor = measured("weight", units="loss/weight", description="Mean over samples of g_j")
    gradient_variance: Tensor = measured("weight", units="loss^2/weight^2", description="Variance of g_j, unbiased")


@dataclasses.dataclass(frozen=True, eq=False)
class GradientSNR(Result):
    """r_j = G_j^2 / Var(g_j) of every weight: raw, centralized, and under a random projection."""

    group: ClassVar[str] = "noise"
    layers: tuple[str, ...] = measured("layer", description="Modules that hold the measured weights")
    raw: LayerSNR = measured(description="Of the gradients g")
    centralized: LayerSNR = measured(description="Of P g")
    control: LayerSNR = measured(description="Of g without its component along a random direction in each row")
    num_samples: int = measured(units="1", description="N")
    num_blocks: int = measured(units="1", description="Blocks of the jackknife; 0 where there are no standard errors")
    seed: int = measured(units="1", description="Of the control's directions")
    method: str = measured(description="How per-sample gradients were computed: vmap, or loop over the samples")
    status: Status = measured(description="How the measurement ended")

    def snr(self, kind: str = "raw") -> Tensor:
        """Return r_j of every weight, [D] in float64, in the order of `objective.names`.

        Args:
            kind: "raw", "centralized" or "control".

        Returns:
            (mean_j^2 - variance_j / N) / variance_j, which can be negative; NaN where the gradient does not vary.

        Raises:
            ValueError: Another kind.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        of: LayerSNR = getattr(self, kind)
        return ratios(of.gradient_mean, of.gradient_variance, self.num_samples)


def gradient_snr(
    objective: Objective,
    *,
    num_blocks: int = 20,
    seed: int = 0,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> GradientSNR:
    """Measure the signal-to-noise ratio of every weight's gradient, r_j = G_j^2 / Var(g_j), over single samples.

    G_j is the expectation and Var(g_j) the variance of weight j's per-sample gradient, scaled as in `gradient_noise`.
    The square of the mean over N samples is too large by Var / N, which is taken off, so that r_j of a weight without a
    signal is 0 on average and negative as often as not. For Gaussian gradients r_j is still too large by 2 / (N - 3) of
    r_j + 1 / N, because it has the variance below.

    Three numbers sum up a layer: the mean of r_j, which few weights of high ratio can carry; the median, which says
    little about the true ratios where these are below 1 / N; and the ratio of sums, ||G||^2 / tr(Sigma), one over the
    noise scale.

    Args:
        objective: Whose per-sample gradients. Its loss must be a sum over samples, its batches tensors with the
            samples along their first axis; N >= 2.
        num_blocks: Blocks of successive samples that are left out one at a time, >= 2; at most N are made. 20 is our
            choice: errors are then right within about 16 %. 0 leaves standard errors out and saves a pass.
        seed: Of the control's directions, drawn on the CPU; >= 0: those of `gradient_noise`.
        chunk: As for `gradient_noise`.
        progress: Called as progress(done, total) in samples, after each chunk; each sample counts once per pass.

    Returns:
        GradientSNR (frozen). layers [L]: as in `gradient_noise`. raw, centralized, control: each with mean, median,
        ratio [L] and their standard errors, constant_share [L], `total`, the same as floats over all weights, and
        gradient_mean and gradient_variance [D] in float64, in the order of `objective.names`; `.snr(kind)` makes r_j of
        them. Weights whose gradient does not vary have r_j NaN and count in constant_share alone; a layer of such is
        NaN. Errors are those of the data as a sample of their distribution; NaN for N = 2. They are on the safe side:
        1.5 times too large where there is no signal, two to three times for a median over weights of independent noise,
        and larger still where neighbors in the data resemble each other (sorted by class): shuffle the data.
        status: NOT_FINITE where gradients are; ZERO_SIGNAL where the total's ratio is not positive, raw, centralized or
        control; else COMPLETE.

    Raises:
        ValueError: Fewer than two samples, batches that cannot be cut into samples, a loss that is not a sum over
            samples, or an argument out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: three passes over the data, two of them by per-sample gradients; num_blocks=0 leaves out one of these.
    Memory: the chunk and about 20 D numbers in float64, whatever N and num_blocks.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
        >>> found = gradient_snr(Objective(model, lambda output, _: output.mean(), (x, x)))  # g_i = x_i
        >>> found.snr(), found.raw.total.constant_share  # 2^2 - 1/3, by 1
        (tensor([3.6667,    nan], dtype=torch.float64), 0.5)

    References:
        Liu et al., Understanding why neural networks generalize well through GSNR of parameters, arXiv 2001.07384. We
        differ: the square of the mean is unbiased.
    """
    if num_blocks != 0:
        check_whole("num_blocks", num_blocks, 2, "one is left out at a time; 0 leaves standard errors out")
    check_whole("seed", seed, 0, "it seeds the control's directions")
    if chunk is not None:
        check_whole("chunk", chunk, 1, "None chooses it by memory")
    with objective.measuring(with_grad=True), sdpa_kernel(SDPBackend.MATH):  # vmap batches only that kernel
        state = objective.state()
        mean = mean_gradient(objective, state)
        n = mean.num_samples
        blocks = min(num_blocks, n) if n > 2 else 0
        moments = WeightMoments(objective, n / mean.count, seed)
        whole, done, passes = moments.empty(), 0, 2 if blocks else 1
        gradients = PerSampleGradients(objective, state, chunk)
        for pieces in gradients:
            moments.add(whole, pieces)
            done += len(next(iter(pieces.values())))
            if progress is not None:
                progress(done, passes * n)
        gradients.check_additive(mean)
        means, variances = moments.moments(whole)
        found = moments.summaries(means, variances, n)  # [4, kind, L + 1]
        without = []
        block = moments.empty()
        for pieces, is_last in _by_blocks(PerSampleGradients(objective, state, chunk), n, blocks):
            moments.add(block, pieces)
            done += len(next(iter(pieces.values())))
            if is_last:
                without.append(moments.summaries(*moments.moments(whole, block), n - block.count))
                block = moments.empty()
            if progress is not None:
                progress(done, passes * n)
    errors = _jackknife(without) if without else torch.full_like(found, torch.nan)
    kinds = [_layers(found[:, kind], errors[:, kind], means[kind], variances[kind]) for kind in range(len(KINDS))]
    return GradientSNR(
        layers=moments.layers,
        raw=kinds[0],
        centralized=kinds[1],
        control=kinds[2],
        num_samples=n,
        num_blocks=blocks,
        seed=seed,
        method=gradients.method,
        status=_status(variances, found[2, :, -1]),
    )


def _by_blocks(gradients: PerSampleGradients, n: int, blocks: int) -> Iterator[tuple[dict[str, Tensor], bool]]:
    """Yield gradients cut where blocks of n / blocks samples end, and whether a block ends there; none for 0 blocks."""
    if not blocks:
        return
    start, ends = 0, {n * i // blocks for i in range(1, blocks + 1)}
    for pieces in gradients:
        size = len(next(iter(pieces.values())))
        cuts = [start, *sorted(end for end in ends if start < end < start + size), start + size]
        for low, high in itertools.pairwise(cuts):
            yield {name: piece[low - start : high - start] for name, piece in pieces.items()}, high in ends
        start += size


def _jackknife(without: list[Tensor]) -> Tensor:
    """Return standard errors from values without each block in turn."""
    values, number = torch.stack(without), len(without)
    return (values.var(0, correction=0) * (number - 1)).sqrt()


def _layers(found: Tensor, errors: Tensor, mean: Tensor, variance: Tensor) -> LayerSNR:
    """Name the numbers [4, layers and total] of one kind."""
    rows = {"constant_share": found[3]}
    for what, values, error in zip(("mean", "median", "ratio"), found, errors, strict=False):
        rows.update({what: values, f"{what}_standard_error": error})
    total = TotalSNR(**{name: float(row[-1]) for name, row in rows.items()})
    layers = {name: row[:-1].clone() for name, row in rows.items()}
    return LayerSNR(**layers, total=total, gradient_mean=mean.cpu().clone(), gradient_variance=variance.cpu().clone())


def _status(variances: Tensor, ratio: Tensor) -> Status:
    if not bool(variances.isfinite().all()):
        return Status.NOT_FINITE
    return Status.COMPLETE if bool((ratio > 0).all()) else Status.ZERO_SIGNAL
