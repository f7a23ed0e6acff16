"""Gradient noise by layer: how much per-sample gradients scatter, relative to their mean; what centralization changes.

Any projection lowers the noise, so that tr(P Sigma P) <= tr(Sigma) proves nothing. The question is whether the noise
falls more than the signal does, and by more than under a random projection of the same rank; all three are measured.

Proved right by: explicit per-sample gradients by plain autograd on a float64 copy, for every kind of layer; linear
regression with known Sigma, over resamplings; a toy whose signal P destroys
(`tests/analysis/noise/test_gradient_noise.py`).
Cost: stated at `gradient_noise`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from analysis.checks import check_whole
from analysis.evaluation import At
from analysis.noise.answers import Answers
from analysis.noise.layers import Layers
from analysis.noise.moments import Estimates, Joint, Moments
from analysis.noise.per_sample import mean_gradient
from analysis.noise.results import GradientNoise, LayerNoise, NoiseComparison, TotalComparison, TotalNoise, status_of
from analysis.noise.scalars import KINDS, Target, of_gradients
from analysis.noise.targets import targets_of
from analysis.objective import Objective

RAW, CENTRALIZED, CONTROL, REMOVED = range(4)  # the kinds, as they are added up
WHAT = "gradient noise"
Progress = Callable[[int, int], None]


def gradient_noise(
    objective: Objective,
    at: At = None,
    *,
    seed: int = 0,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> GradientNoise:
    """Measure the noise and the signal of per-sample gradients, by layer and in total.

    Sigma is the covariance of the per-sample gradients g_i at given weights, G their expectation, and
    noise_scale = tr(Sigma) / ||G||^2 the batch size at which noise and signal are equal. The data are taken as a sample
    of their distribution: numerator and denominator are unbiased for it (||mean(g)||^2 alone is too large by
    tr(Sigma) / N) and then divided. Where a mean is over tokens, g_i = N / (number of tokens) * (gradient of sample i's
    summed loss), so that the mean of g_i is the objective's gradient.

    At weights fitted to these very data the mean gradient is closer to zero than G: use held-out data there.

    `centralized` applies P to every g_i, by the axes of `objective.centralize_dims`; `control` removes as many
    dimensions at the same places, along random directions. `removed` is what P takes away, (I - P) g: its noise and its
    signal are exactly raw less centralized.

    Args:
        objective: Whose per-sample gradients. Its loss must be a sum over samples, its batches tensors with the
            samples along their first axis; N >= 2.
        at: Weights [D] or a checkpoint; None for the model's present ones.
        seed: Of the control's directions, drawn on the CPU; >= 0.
        chunk: Samples taken at once, >= 1. None takes batches as they come, and of gradients that must be formed what
            fits in 128 MiB of float32, our choice. It changes time and memory, not the result.
        progress: Called as progress(done, total) in samples, after each piece of the data.

    Returns:
        GradientNoise (frozen). layers [L]: the modules that hold measured weights, in the model's order; weight and
        bias are one layer, those of the model itself go by its class name, a shared weight is at its first place.
        raw, centralized, control, removed: each trace [L], signal [L] (both squared loss per squared weight; signal can
        come out negative), noise_scale [L], their standard errors, and `total`, the same as floats; the total's trace
        and signal are the sums over layers. Standard errors are NaN for N = 2.
        centralized_to_raw, control_to_raw, centralized_to_control: ratio [L] of noise scales with low [L] and high [L],
        95 % intervals on the same samples, and `total`. Below 1 the first is less noisy, relative to its signal.
        ascent_ratio [L], ascent_ratio_total: q = ||P mean(g)|| / ||mean(g)||, in [0, 1]; NaN where the mean is zero.
        ways: for each parameter how it was measured, as in `per_sample_norms`.
        status: ZERO_SIGNAL where the total's signal is <= 0, raw, centralized or control: noise_scale is then inf, as
        it is in single layers, and its standard error NaN. NOT_FINITE where gradients are. Else COMPLETE.

    Raises:
        ValueError: Fewer than two samples, batches that cannot be cut into samples, a loss that is not a sum over
            samples, or seed or chunk out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: two passes over the data, 2.3 to 3 gradients for convolutional networks on a CPU. Memory: that of
    `per_sample_norms` for one piece, and about 6 D numbers, whatever N. Weights without a form are measured by
    `torch.func.vmap`, those of recurrent networks by a forward and backward pass per sample.

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
    layers = Layers(objective)
    with objective.measuring(with_grad=True):
        state = objective.state(at)
        mean = mean_gradient(objective, state)
        targets = targets_of(objective, state, KINDS, mean.vector.to(objective.dtype), seed, is_centered=True)
        answers = Answers(objective, state, targets, WHAT, chunk)
        scale = (mean.num_samples / mean.count) ** 2  # of all that is quadratic, from loss_sum to g
        moments = Moments()
        for piece in answers:
            numbers = _added_up(layers, piece) * scale
            if moments.num_samples == 0:
                numbers[:, :, 2, 0] = 0.0  # the first sample has no neighbor, whatever 0 * inf is
            moments.update(*numbers.unbind(2))
            if progress is not None:
                progress(moments.num_samples, mean.num_samples)
        answers.check_sums(mean.loss_sum, mean.count)
    mean_square = _added_up(layers, {name: _squares(target) for name, target in targets.items()})[:, :, 0, 0] * scale
    ratio = (mean_square[:, CENTRALIZED] / mean_square[:, RAW]).sqrt()
    joint = moments.joint(mean_square)
    raw, centralized, control, removed = _by_kind(joint.estimates())
    return GradientNoise(
        layers=layers.names,
        raw=raw,
        centralized=centralized,
        control=control,
        removed=removed,
        centralized_to_raw=_comparison(joint, CENTRALIZED, RAW),
        control_to_raw=_comparison(joint, CONTROL, RAW),
        centralized_to_control=_comparison(joint, CENTRALIZED, CONTROL),
        ascent_ratio=ratio[:-1].clone(),
        ascent_ratio_total=float(ratio[-1]),
        parameters=objective.names,
        ways=tuple(answers.ways[name] for name in objective.names),
        num_samples=mean.num_samples,
        seed=seed,
        status=status_of(raw.total, centralized.total, control.total),
    )


def _squares(target: Target) -> Tensor:
    """Return ||mean(g)||^2 of every kind, of one weight, in the form of an answer."""
    mean = torch.zeros(0) if target.along is None else target.along
    return of_gradients(mean[None], Target(target.shape, target.dims, KINDS, target.control))


def _added_up(layers: Layers, piece: Mapping[str, Tensor]) -> Tensor:
    """Return [layer and total, kind and removed, (square, product, neighbor), C] on the CPU, from each weight's."""
    size = next(iter(piece.values())).shape[-1]
    found = torch.zeros(len(layers.names) + 1, REMOVED + 1, 3, size, dtype=torch.float64)
    for name, values in piece.items():
        found[layers.row[name], :REMOVED] += values.cpu()
    found[:, REMOVED] = found[:, RAW] - found[:, CENTRALIZED]
    found[-1] = found[:-1].sum(0)
    return found


def _by_kind(estimates: Estimates) -> list[LayerNoise]:
    """Cut [layer and total, kind] into results; trace and signal of the total are the sums over layers to the bit."""
    found = []
    for kind in range(REMOVED + 1):
        rows = {field: getattr(estimates, field)[:, kind] for field in Estimates._fields}
        totals = {field: float(values[-1]) for field, values in rows.items()}
        totals.update({field: float(rows[field][:-1].sum()) for field in ("trace", "signal")})
        layers = {field: values[:-1].clone() for field, values in rows.items()}
        found.append(LayerNoise(**layers, total=TotalNoise(**totals)))
    return found


def _comparison(joint: Joint, kind: int, other: int) -> NoiseComparison:
    names = ("ratio", "low", "high")
    columns = dict(zip(names, joint.relative(kind, other), strict=True))
    total = TotalComparison(**{name: float(column[-1]) for name, column in columns.items()})
    return NoiseComparison(**{name: column[:-1].clone() for name, column in columns.items()}, total=total)
