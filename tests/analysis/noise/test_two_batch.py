"""Two batch sizes: exact moments where the parts are single samples, resampled runs, and parts of real steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

import analysis
from analysis import Objective, TwoBatchAverage, gradient_noise, per_sample_norms, two_batch_noise
from analysis.evidence import Status
from tests.cases import CASES
from tests.compare import assert_close
from tests.processes import in_two_processes

SMALL, BIG, TRACE, SIGNAL = 4, 16, 12.0, 2.0


def norms(runs: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return squared norms [runs, steps] of Gaussian gradients: a part of each step, and the step itself."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.5, 1.5, 12, dtype=torch.float64)
    scale = scale * math.sqrt(TRACE / float(scale.square().sum()))
    mean = torch.full((12,), math.sqrt(SIGNAL / 12), dtype=torch.float64)
    parts = torch.randn(runs, steps, BIG // SMALL, 12, dtype=torch.float64, generator=generator)
    parts = mean + scale / math.sqrt(SMALL) * parts
    return parts[:, :, 0].square().sum(-1), parts.mean(2).square().sum(-1)


def test_estimates_are_unbiased_and_their_errors_right() -> None:
    """2,000 runs of 40 steps; z = 4 for the means, 10 % for the errors. The part is within the step, so they covary."""
    small, big = norms(2000, 40)
    found = [two_batch_noise(a, b, SMALL, BIG) for a, b in zip(small, big, strict=True)]
    for name, truth in (("trace", TRACE), ("signal", SIGNAL), ("noise_scale", TRACE / SIGNAL)):
        values = torch.tensor([getattr(one, name) for one in found], dtype=torch.float64)
        errors = torch.tensor([getattr(one, f"{name}_standard_error") for one in found], dtype=torch.float64)
        assert float(errors.square().mean().sqrt() / values.std()) == pytest.approx(1.0, abs=0.1)
        if name != "noise_scale":  # a ratio of unbiased numbers is biased, by 1 % here
            assert float(values.mean()) == pytest.approx(truth, abs=4 * float(values.std()) / math.sqrt(2000))
    assert float(values.mean()) == pytest.approx(TRACE / SIGNAL, rel=0.03)


def test_the_ratio_is_of_means_and_not_the_mean_of_ratios() -> None:
    """Fails for the mean of the steps' own ratios, which is off by far."""
    small, big = (values[0] for values in norms(1, 20_000, seed=1))
    found = two_batch_noise(small, big, SMALL, BIG)
    assert found.noise_scale == pytest.approx(TRACE / SIGNAL, abs=4 * found.noise_scale_standard_error)
    assert found.noise_scale_standard_error < 0.02 * found.noise_scale
    ratios = (small - big) / (1 / SMALL - 1 / BIG) / ((BIG * big - SMALL * small) / (BIG - SMALL))
    assert abs(float(ratios.mean()) - TRACE / SIGNAL) > 0.2 * TRACE / SIGNAL


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[4]], ids=lambda case: case.name)
def test_single_samples_and_all_of_them_give_the_exact_moments(case: Any) -> None:
    """Parts of one sample, a step of all N: one step, and no error at all."""
    objective = Objective(*case.make())
    small = per_sample_norms(objective).raw.sum(1)
    found = two_batch_noise(small[None], [float(objective.gradient().square().sum())], 1, len(small))
    exact = gradient_noise(objective).raw.total
    assert found.trace == pytest.approx(exact.trace, rel=1e-11)
    assert found.signal == pytest.approx(exact.signal, abs=1e-11 * exact.trace)
    assert math.isnan(found.trace_standard_error)
    assert math.isnan(found.noise_scale_standard_error)


def test_norms_under_accumulation_are_those_of_the_docstring() -> None:
    """Gradients accumulated over four micro-batches of 3: the first is a part, and k^2 undoes its division by k."""
    model, loss_fn, batches = CASES[0].make(cuts=(3, 3, 3, 3))
    objective = Objective(model, loss_fn, batches)
    model.eval()
    k, small, big = 4, [], []
    for number, (x, y) in enumerate(batches):
        (loss_fn(model(x), y) / k).backward()
        if number == 0:
            small.append(k**2 * sum(p.grad.square().sum() for p in model.parameters()))
    big.append(sum(p.grad.square().sum() for p in model.parameters()))
    found = two_batch_noise(small, big, 3, 12)
    first, whole = (float(part.gradient().square().sum()) for part in (objective.on(batches[0]), objective))
    assert_close([small[0].detach(), big[0].detach()], [first, whole], relative=1e-12)
    assert found.trace == pytest.approx((first - whole) / (1 / 3 - 1 / 12), rel=1e-11)


def ranks_norms(rank: int) -> tuple[float, float, list[float]]:
    """Return small and big as the docstring takes them under DDP, and the gradient of this rank's share alone."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)[rank]
    alone = torch.autograd.grad(model(x).square().mean(), list(model.parameters()))
    ddp = nn.parallel.DistributedDataParallel(model)
    local: list[Tensor] = []

    def hook(group, bucket):  # type: ignore[no-untyped-def]  # DDP refuses annotations that are strings
        local.append(bucket.buffer().square().sum())
        return allreduce_hook(group, bucket)

    ddp.register_comm_hook(None, hook)
    ddp(x).square().mean().backward()
    big = sum(float(p.grad.square().sum()) for p in ddp.parameters())
    return float(sum(local)), big, torch.cat([piece.flatten() for piece in alone]).tolist()


@pytest.mark.distributed
def test_norms_under_ddp_are_those_of_the_docstring(tmp_path: Path) -> None:
    (small_0, big_0, own_0), (small_1, big_1, own_1) = in_two_processes(ranks_norms, tmp_path)
    gradients = torch.tensor([own_0, own_1], dtype=torch.float64)
    assert_close([small_0, small_1], gradients.square().sum(1), relative=1e-12)
    assert_close([big_0, big_1], [float(gradients.mean(0).square().sum())] * 2, relative=1e-12)
    found = two_batch_noise([[small_0, small_1]], [big_0], 5, 10)
    assert found.signal == pytest.approx(float(gradients[0] @ gradients[1]), rel=1e-11)  # of two parts the product


def test_several_parts_are_averaged_step_by_step() -> None:
    several = two_batch_noise([[6.0, 2.0], [4.0, 8.0]], [3.0, 2.0], 8, 32)
    assert several == two_batch_noise([4.0, 6.0], [3.0, 2.0], 8, 32)


def test_arrays_lists_and_tensors_are_taken() -> None:
    listed = two_batch_noise([6.0, 4.0], [3.0, 2.0], 8, 32)
    assert listed == two_batch_noise(np.array([6.0, 4.0]), torch.tensor([3.0, 2.0]), 8, 32)
    assert listed == two_batch_noise([torch.tensor(6.0), torch.tensor(4.0)], [3, 2], 8, 32)


def test_without_a_signal_the_scale_is_open() -> None:
    found = two_batch_noise([8.0, 8.0, 8.0], [0.9, 1.9, 0.9], 1, 8)
    assert found.signal == pytest.approx(1 / 7 * (8 * 3.7 / 3 - 8))
    assert found.status is Status.COMPLETE
    assert math.isnan(found.noise_scale_standard_error)  # without the second step it would be negative
    found = two_batch_noise([8.0, 8.0], [1.0, 1.0], 1, 8)
    assert (found.noise_scale, found.status) == (math.inf, Status.ZERO_SIGNAL)
    assert math.isnan(found.noise_scale_standard_error)


def test_the_scale_is_never_negative() -> None:
    """A step of large norm by chance: trace below 0."""
    found = two_batch_noise([2.0, 2.0], [3.0, 3.0], 1, 2)
    assert found.trace == -2.0
    assert (found.noise_scale, found.status) == (0.0, Status.COMPLETE)


def test_norms_that_are_not_finite_are_told() -> None:
    found = two_batch_noise([2.0, math.inf, math.nan], [3.0, 1.0, 1.0], 1, 2)
    assert found.status is Status.NOT_FINITE
    assert math.isnan(found.noise_scale)


def test_the_average_of_equal_weights_is_the_mean() -> None:
    """Fails if the average starts from zero, or mixes ratios: with slow decay all steps count alike."""
    small, big = (values[0] for values in norms(1, 50))
    average = TwoBatchAverage(SMALL, BIG, decay=1 - 1e-9)
    for a, b in zip(small, big, strict=True):
        scale = average.update(a, b)
    mean = two_batch_noise(small, big, SMALL, BIG)
    assert_close([average.trace, average.signal, scale], [mean.trace, mean.signal, mean.noise_scale], relative=1e-6)
    assert average.num_steps == 50


def test_the_average_forgets() -> None:
    average = TwoBatchAverage(1, 2, decay=0.5)
    traces = [2 * (a - 1.0) for a in (4.0, 6.0, 3.0)]
    for a in (4.0, 6.0, 3.0):
        average.update(a, 1.0)
    weights = [0.25, 0.5, 1.0]
    assert average.trace == pytest.approx(sum(map(math.prod, zip(weights, traces, strict=True))) / 1.75)


def test_the_average_leaves_out_steps_that_are_not_finite() -> None:
    average = TwoBatchAverage(1, 2)
    assert math.isnan(average.noise_scale)
    first = average.update(4.0, 3.0)
    assert average.update(math.inf, math.nan) == first
    assert average.num_steps == 1


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    found = two_batch_noise([6.0], [3.0], 8, 32)
    found.save(tmp_path / "run.h5", "two_batch")
    assert analysis.load(tmp_path / "run.h5", "noise/two_batch") == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0], 8, 8), "small_size must be above 0 and below big_size, got 8 and 8; with one micro-batch"),
        (([1.0], [1.0], 0, 8), "small_size must be above 0 and below big_size, got 0 and 8"),
        (([1.0], [1.0], math.nan, 8), "small_size must be above 0 and below big_size, got nan and 8"),
        (([1.0], [1.0], 1, math.inf), "small_size must be above 0 and below big_size, got 1 and inf"),
        (([], [], 1, 2), r"of the same steps, at least one, got shapes \(0,\) and \(0,\)"),
        (([1.0, 2.0], [1.0], 1, 2), r"of the same steps, at least one, got shapes \(2,\) and \(1,\)"),
        (([1.0], [[1.0]], 1, 2), r"got shapes \(1,\) and \(1, 1\)"),
        (([-1.0, 2.0], [1.0, 1.0], 1, 2), "small must be squared norms, >= 0, got -1; take no logarithms"),
        (([1.0], [-2.0], 1, 2), "big must be squared norms, >= 0, got -2"),
    ],
)
def test_what_cannot_be_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        two_batch_noise(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("decay", [1.0, -0.1, math.nan])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=rf"decay must be a number in \[0, 1\), got {decay}"):
        TwoBatchAverage(1, 2, decay=decay)
    with pytest.raises(ValueError, match="small_size must be above 0"):
        TwoBatchAverage(2, 2)
