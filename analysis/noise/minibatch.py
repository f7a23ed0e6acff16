"""Gradient noise as mini-batches see it: how far two disjoint batches agree on where to climb, and where to step.

SAM climbs along g / ||g|| of a batch and GCSAM along P g / ||P g||. If centralization makes these directions less
noisy, those of two batches agree better: by more than under a random projection of the same rank, for any projection
changes the cosine. Measured at every batch size asked for, beside what two moments of the noise predict.

Proved right by: explicit autograd in float64 over all pairs; the exact moments of `gradient_noise`; resampled data, for
values and standard errors (`tests/analysis/noise/test_minibatch.py`).
Cost: stated at `minibatch_noise`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from analysis.checks import check_whole
from analysis.evidence import Result, Status, measured
from analysis.noise.agreement import GAINS, estimates
from analysis.noise.batch_products import BatchGradients
from analysis.noise.gradient_noise import Progress
from analysis.noise.pairs import PairMean
from analysis.noise.results import MCCANDLISH, SQUARED
from analysis.noise.scalars import KINDS
from analysis.objective import Objective
from analysis.pool import Pool

FEW = 16  # disjoint batches in one cut; from so many on one cut has a standard error of its own, good to a quarter
PER_CUT = 4  # of several cuts: six pairs for four batches, and enough cuts to compare
PAIRS = "over pairs of disjoint batches that share batches"


@dataclasses.dataclass(frozen=True, eq=False)
class BatchNoise(Result):
    """Noise of batch gradients and agreement between them, for each batch size."""

    variance: Tensor = measured("size", units=SQUARED, description="Variance of a batch gradient: tr(Sigma) / B")
    variance_standard_error: Tensor = measured("size", units=SQUARED, description="Of variance", source=PAIRS)
    signal: Tensor = measured("size", units=SQUARED, description="||G||^2, unbiased")
    signal_standard_error: Tensor = measured("size", units=SQUARED, description="Of signal", source=PAIRS)
    cosine: Tensor = measured("size", units="1", description="Mean cosine between ascent directions of two batches")
    cosine_standard_error: Tensor = measured("size", units="1", description="Of cosine", source=PAIRS)
    layer_cosine: Tensor = measured("size", "layer", units="1", description="The same within each layer")
    layer_cosine_standard_error: Tensor = measured(
        "size", "layer", units="1", description="Of layer_cosine", source=PAIRS
    )
    sign_agreement: Tensor = measured("size", units="1", description="Share of coordinates with equal signs")
    sign_agreement_standard_error: Tensor = measured("size", units="1", description="Of sign_agreement", source=PAIRS)
    descent_cosine: Tensor = measured("size", units="1", description="Mean cosine between gradients at w + epsilon")
    descent_cosine_standard_error: Tensor = measured("size", units="1", description="Of descent_cosine", source=PAIRS)
    predicted_cosine: Tensor = measured(
        "size", units="1", description="1 / (1 + noise_scale / B)", source="ratio of expectations"
    )
    noise_scale: float = measured(
        units="1", description="tr(Sigma) / ||G||^2, inf where signal <= 0: B of cosine 1/2", source=MCCANDLISH
    )
    noise_scale_standard_error: float = measured(units="1", description="Of noise_scale", source="delta method")


@dataclasses.dataclass(frozen=True, eq=False)
class AgreementGain(Result):
    """By how much two batches agree better under one projection than under another: the same pairs, compared."""

    cosine: Tensor = measured("size", units="1", description="Difference of cosine between ascent directions")
    cosine_standard_error: Tensor = measured("size", units="1", description="Of cosine", source=PAIRS)
    descent_cosine: Tensor = measured("size", units="1", description="Difference of cosine between descent gradients")
    descent_cosine_standard_error: Tensor = measured("size", units="1", description="Of descent_cosine", source=PAIRS)


@dataclasses.dataclass(frozen=True, eq=False)
class MinibatchNoise(Result):
    """Noise and agreement of the gradients of random batches: raw, centralized, and under a random projection."""

    group: ClassVar[str] = "noise"
    batch_sizes: Tensor = measured("size", units="1", description="B")
    layers: tuple[str, ...] = measured("layer", description="Modules that hold the measured weights")
    raw: BatchNoise = measured(description="Of g; ascent and descent are those of SAM")
    centralized: BatchNoise = measured(description="Of P g; ascent and descent are those of GCSAM")
    control: BatchNoise = measured(description="Of g under a random projection; SAM with that projection")
    centralized_gain: AgreementGain = measured(description="centralized - raw")
    control_gain: AgreementGain = measured(description="control - raw")
    gain_beyond_control: AgreementGain = measured(description="centralized - control")
    num_batches: Tensor = measured("size", units="1", description="Batches drawn, over all cuts")
    num_cuts: Tensor = measured("size", units="1", description="Cuts of the data they came from")
    num_samples: int = measured(units="1", description="N")
    rho: float = measured(units="weight", description="Norm of epsilon")
    seed: int = measured(units="1", description="Of the cuts and of the control's directions")
    status: Status = measured(description="How the measurement ended")


def minibatch_noise(
    objective: Objective,
    batch_sizes: Sequence[int] = (8, 32, 128),
    *,
    rho: float = 0.05,
    draws: int = 64,
    seed: int = 0,
    held: int | None = None,
    progress: Progress | None = None,
) -> MinibatchNoise:
    """Measure how much the gradients of disjoint random batches vary and agree, for each batch size.

    A batch gradient g is that of the objective over B samples drawn without replacement. Batches of one cut share no
    sample, so where the data are a sample of their distribution, as `gradient_noise` takes them, they are independent:

    * variance is half the mean squared distance of two of them. Its expectation is tr(Sigma) / B exactly, with the
      unbiased Sigma of `gradient_noise`: the distance of disjoint batches needs no correction for the finite data.
      About the mean of these very data a batch varies by (1 - B/N) of that, and with replacement by (1 - 1/N).
    * signal is their mean inner product: unbiased for ||G||^2.
    * cosine is that of two ascent directions: of SAM for `raw`, g / ||g||; of GCSAM for `centralized`, P g / ||P g||;
      of SAM with a random projection of the same rank for `control`. A batch without a gradient agrees with none: 0.
    * descent_cosine is that of the full gradients at w + epsilon, epsilon = rho times the batch's own ascent direction:
      what SAM, GCSAM and the control hand to their base optimizers.
    * sign_agreement is the share of equal signs among the coordinates where neither gradient is zero. P makes zeros
      into numbers (an input that is always 0), so that the kinds may count other coordinates.
    * predicted_cosine is 1 / (1 + noise_scale / B), E<g, g'> / E||g||^2 in the place of E<g, g'> / (||g|| ||g'||).
      noise_scale is B * variance / signal at the largest batch size, whose signal is known best, so it is the batch
      size at which the predicted cosine is 1/2.

    Any projection may raise the cosine. Whether P does is centralized_gain; whether it does so by more than chance
    directions would is gain_beyond_control.

    At weights fitted to these very data the mean gradient is near zero, and disjoint batches then point away from each
    other, the more the larger they are: use held-out data there.

    Args:
        objective: Whose batch gradients; its batches are tensors with the samples along their first axis.
        batch_sizes: B, each in [1, N / 2], as training sees them; (8, 32, 128) is our choice: 128 is that of Hassan et
            al., and noise shows below.
        rho: Norm of epsilon, >= 0, in units of the weights. 0.05, the default of SAM; 0 has no ascent.
        draws: Batches for each size, >= 2, as far as they are disjoint. 64 is our choice: 2,016 pairs, and a standard
            error good to a tenth. Where fewer than 16 (or than draws) are, so many come from several cuts, up to four
            from each.
        seed: Of the cuts, drawn on the CPU, and of the control's directions, those of `gradient_noise`; >= 0. A batch
            size has the same batches whatever the others are.
        held: Batches compared with each other, >= 2: pairs are formed among so many. None: as many as fit in 512 MiB of
            float32, our choice: all 64 of them up to 500,000 weights, and two beyond 17 million.
        progress: Called as progress(done, total) in batches.

    Returns:
        MinibatchNoise (frozen). raw, centralized, control: fields [B] (`layer_cosine` [B, L]) with their standard
        errors, the same batches for all. centralized_gain, control_gain, gain_beyond_control: paired differences [B].
        Standard errors: from one cut (num_cuts 1) for the data as a sample of their distribution, NaN for fewer than
        four batches. From several cuts for these data as they are, which is less: more cuts are no more data.
        noise_scale: inf with error NaN where signal <= 0, predicted_cosine then 0. NaN: the cosine in a layer whose
        gradients are all zero.
        status: ZERO_SIGNAL where signal <= 0 at the largest size. NOT_FINITE where a gradient is. Else COMPLETE.

    Raises:
        ValueError: A batch size or another argument out of range, batches whose samples cannot be mixed, or a batch
            without a sample that counts.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: 4 gradients over `draws` batches of each size; with batchnorm="recalibrate" as many forward passes over all
    data. Memory: the data; 4 D numbers for each batch held and a few D beside; draws^2 numbers for each layer.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> x, y = torch.ones(4, 1), torch.tensor([[1.0], [2.0], [3.0], [4.0]])  # g_i = -2, -4, -6, -8
        >>> found = minibatch_noise(Objective(model, torch.nn.MSELoss(), (x, y)), [1], draws=4)
        >>> f"{found.raw.variance.item():.4f} {found.raw.cosine.item():.1f}"  # tr(Sigma) = 20/3; all of one sign
        '6.6667 1.0'

    References:
        McCandlish et al., arXiv 1812.06162: the noise scale. Foret et al., arXiv 2010.01412; Hassan et al., arXiv
        2501.11584: the ascents.
    """
    if not (math.isfinite(rho) and rho >= 0):
        raise ValueError(f"rho must be a finite number >= 0, got {rho!r}; 0 is without an ascent, 0.05 the usual start")
    check_whole("draws", draws, 2, "batches are compared in pairs")
    check_whole("seed", seed, 0, "it seeds the cuts and the control's directions")
    if held is not None:
        check_whole("held", held, 2, "batches are compared in pairs; None chooses it by memory")
    pool = Pool(objective, "a random batch")
    sizes = _checked(batch_sizes, pool.num_samples)
    gradients = BatchGradients(objective, pool, float(rho), seed)
    held = gradients.held if held is None else held
    plans = [_plan(size, pool.num_samples, draws, held, seed) for size in sizes]
    total, ended = sum(len(cut) for plan in plans for cut in plan), itertools.count(1)

    def on_batch() -> None:
        if progress is not None:
            progress(next(ended), total)

    found = []
    with objective.measuring(with_grad=True):
        for size, plan in zip(sizes, plans, strict=True):
            found.append(estimates([gradients.products(cut, held, on_batch) for cut in plan], size))
    raw, centralized, control = (_of_kind(found, place, sizes) for place in range(len(KINDS)))
    gains = {name: _gain(found, place) for place, name in enumerate(GAINS)}
    return MinibatchNoise(
        batch_sizes=torch.tensor(sizes),
        layers=gradients.layers,
        raw=raw,
        centralized=centralized,
        control=control,
        centralized_gain=gains["centralized_gain"],
        control_gain=gains["control_gain"],
        gain_beyond_control=gains["gain_beyond_control"],
        num_batches=torch.tensor([sum(map(len, plan)) for plan in plans]),
        num_cuts=torch.tensor([len(plan) for plan in plans]),
        num_samples=pool.num_samples,
        rho=float(rho),
        seed=seed,
        status=_status(raw, centralized, control),
    )


def _checked(batch_sizes: Sequence[int], num_samples: int) -> list[int]:
    sizes = list(batch_sizes)
    if not sizes:
        raise ValueError("batch_sizes must name at least one batch size, got none; 128 is a usual one")
    for size in sizes:
        if not (isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= num_samples // 2):
            raise ValueError(
                f"batch_sizes must be whole numbers from 1 to {num_samples // 2}, half of the {num_samples} samples, "
                f"got {size!r}: two disjoint batches are compared"
            )
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"batch_sizes must differ, got {sizes}")
    return sizes


def _plan(size: int, num_samples: int, draws: int, held: int, seed: int) -> list[Tensor]:
    """Return for each cut of the data the samples of its batches, [M, B]."""
    generator = torch.Generator().manual_seed(seed)
    disjoint = num_samples // size
    is_one_cut = disjoint >= min(draws, FEW)
    count = min(disjoint, draws if is_one_cut else PER_CUT)
    count -= count % 2 if held == 2 else 0  # the last one would have none to be compared with
    num_cuts = 1 if is_one_cut else -(-draws // count)
    orders = [torch.randperm(num_samples, generator=generator) for _ in range(num_cuts)]
    return [order[: count * size].view(count, size) for order in orders]


def _of_kind(found: Sequence[dict[str, PairMean]], kind: int, sizes: Sequence[int]) -> BatchNoise:
    scale = found[max(range(len(sizes)), key=lambda place: sizes[place])]["noise_scale"]
    fields = {}
    for name in ("variance", "signal", "cosine", "layer_cosine", "sign_agreement", "descent_cosine"):
        fields[name] = torch.stack([one[name].value[kind] for one in found])
        fields[f"{name}_standard_error"] = torch.stack([one[name].standard_error[kind] for one in found])
    return BatchNoise(
        **fields,
        predicted_cosine=1 / (1 + scale.value[kind] / torch.tensor(sizes, dtype=torch.float64)),
        noise_scale=float(scale.value[kind]),
        noise_scale_standard_error=float(scale.standard_error[kind]),
    )


def _gain(found: Sequence[dict[str, PairMean]], gain: int) -> AgreementGain:
    fields = {}
    for name in ("cosine", "descent_cosine"):
        means = [one[f"{name}_gain"] for one in found]
        fields[name] = torch.stack([mean.value[gain] for mean in means])
        fields[f"{name}_standard_error"] = torch.stack([mean.standard_error[gain] for mean in means])
    return AgreementGain(**fields)


def _status(*kinds: BatchNoise) -> Status:
    if not all(bool(torch.cat([kind.variance, kind.descent_cosine]).isfinite().all()) for kind in kinds):
        return Status.NOT_FINITE
    return Status.ZERO_SIGNAL if any(math.isinf(kind.noise_scale) for kind in kinds) else Status.COMPLETE
