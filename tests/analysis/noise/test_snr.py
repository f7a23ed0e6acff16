"""Signal-to-noise ratios of weights: explicit per-sample gradients, known moments, errors over resamplings.

The oracle's gradients are by plain autograd on a float64 copy; means, variances, medians and the jackknife by numpy.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import analysis
from analysis import GradientSNR, Objective, gradient_noise, gradient_snr
from analysis.evidence import Status
from analysis.noise.per_sample import PerSampleGradients
from tests.analysis.noise import oracle
from tests.analysis.noise.test_per_sample import ALL, ALL_IDS
from tests.analysis.noise.untouched import check_left_as_found
from tests.cases import CASES, Case
from tests.compare import assert_close

NUMBERS = ("mean", "median", "ratio", "constant_share")


def linear(rows: Any, layers: int = 1) -> Objective:
    """A loss whose gradient of sample i is row i, cut into layers of equal width."""
    x = torch.as_tensor(rows, dtype=torch.float64)
    width = x.shape[1] // layers
    parts = nn.ModuleList(nn.Linear(width, 1, bias=False).double() for _ in range(layers))

    def batch_loss(model: Any, batch: tuple[Tensor]) -> tuple[Tensor, int]:
        pieces = batch[0].split(width, 1)
        return torch.cat([part(piece) for part, piece in zip(model, pieces, strict=True)]).sum(), len(batch[0])

    return Objective(parts, batch_loss=batch_loss, data=[(x,)])


def summary(rows: np.ndarray) -> list[float]:
    """Mean and median of r_j, ratio of sums, share of constant weights, of gradients [N, D], by their definitions."""
    variance = rows.var(0, ddof=1)
    varied = ~np.all(rows == rows[:1], 0)
    signal = rows.mean(0) ** 2 - variance / len(rows)
    single = signal[varied] / variance[varied]
    if not varied.any():
        return [math.nan, math.nan, math.nan, 1.0]
    return [single.mean(), np.median(single), signal.sum() / variance.sum(), 1 - varied.mean()]


def expected_rows(case: Case, seed: int) -> dict[str, list[np.ndarray]]:
    model, loss_fn, batches = case.make()
    found = {}
    for kind, gradients in oracle.projected(model, oracle.per_sample(model, loss_fn, batches), seed).items():
        layers = list(oracle.by_layer(gradients).values())
        found[kind] = [rows.numpy() for rows in [*layers, torch.cat(layers, 1)]]
    return found


@pytest.mark.parametrize("case", ALL, ids=ALL_IDS)
def test_moments_and_summaries_are_those_of_the_definition(case: Case) -> None:
    found = gradient_snr(Objective(*case.make()), seed=5, num_blocks=4)
    for kind, rows in expected_rows(case, 5).items():
        of = getattr(found, kind)
        scale = rows[-1].std()
        assert_close(of.gradient_mean, rows[-1].mean(0), absolute=1e-14 * scale, relative=1e-11)
        assert_close(of.gradient_variance, rows[-1].var(0, ddof=1), absolute=1e-22 * scale, relative=1e-11)


@pytest.mark.parametrize("case", CASES[:3], ids=[case.name for case in CASES[:3]])
def test_layers_and_their_errors_are_those_of_the_definition(case: Case) -> None:
    """Blocks of 12 samples in 4: 3 successive ones each, across the batches of 5 and 7."""
    found = gradient_snr(Objective(*case.make()), seed=5, num_blocks=4, chunk=2)
    for kind, layers in expected_rows(case, 5).items():
        of = getattr(found, kind)
        for place, rows in enumerate(layers):
            whole = summary(rows)
            without = np.array([summary(np.delete(rows, range(i, i + 3), 0)) for i in range(0, 12, 3)])
            errors = np.sqrt(3 / 4 * np.square(without - without.mean(0)).sum(0))
            for number, (name, value) in enumerate(zip(NUMBERS, whole, strict=True)):
                got = getattr(of.total, name) if place == len(layers) - 1 else float(getattr(of, name)[place])
                assert got == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), (kind, place, name)
                if name != "constant_share":
                    name = f"{name}_standard_error"
                    got = getattr(of.total, name) if place == len(layers) - 1 else float(getattr(of, name)[place])
                    assert got == pytest.approx(errors[number], rel=1e-8, abs=1e-12, nan_ok=True), (kind, place, name)
    assert found.num_blocks == 4


def test_uneven_blocks_hold_every_sample_once() -> None:
    """Twelve samples in five blocks: 2, 2, 3, 2, 3."""
    rows = np.random.default_rng(0).standard_normal((12, 6)) + 1
    found = gradient_snr(linear(rows), num_blocks=5).raw.total
    ends = [0, 2, 4, 7, 9, 12]
    without = np.array([summary(np.delete(rows, range(a, b), 0)) for a, b in itertools.pairwise(ends)])
    errors = np.sqrt(4 / 5 * np.square(without - without.mean(0)).sum(0))
    got = (found.mean_standard_error, found.median_standard_error, found.ratio_standard_error)
    assert got == pytest.approx(errors[:3], rel=1e-9)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_ratio_of_sums_is_one_over_the_noise_scale(case: Case) -> None:
    objective = Objective(*case.make())
    found, noise = gradient_snr(objective, seed=3, num_blocks=0), gradient_noise(objective, seed=3)
    assert found.layers == noise.layers
    for kind in oracle.KINDS:
        ours, theirs = getattr(found, kind), getattr(noise, kind)
        assert_close(ours.ratio, theirs.signal / theirs.trace, relative=1e-8)
        assert ours.total.ratio == pytest.approx(theirs.total.signal / theirs.total.trace, rel=1e-8)
        is_open = torch.isinf(theirs.noise_scale)
        assert bool(((ours.ratio <= 0) == is_open)[theirs.trace > 0].all())


def test_linear_regression_is_the_closed_form() -> None:
    """At w = 0 with y = a x + noise: g_j = -2 y x_j; with x Gaussian G_j = -2 a_j, Var = 4 (|a|^2 + s^2 + a_j^2)."""
    rng, a, s, n = np.random.default_rng(1), np.array([1.0, 0.5, 0.0]), 0.5, 20000
    x = rng.standard_normal((n, 3))
    y = x @ a + s * rng.standard_normal(n)
    model = nn.Linear(3, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    found = gradient_snr(Objective(model, nn.MSELoss(), [(torch.tensor(x), torch.tensor(y)[:, None])]))
    truth = a**2 / (a @ a + s**2 + a**2)
    # by blocks: the error of the mean of three is at least a third of that of one of them
    assert np.abs(found.snr().numpy() - truth).max() < 4 * 3 * found.raw.total.mean_standard_error
    assert found.raw.total.mean == pytest.approx(truth.mean(), abs=4 * found.raw.total.mean_standard_error)
    assert found.raw.total.mean_standard_error < 0.01


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_unbiased_with_honest_errors_over_resamplings(strength: float) -> None:
    """200 data sets of known moments, each a layer: means within four standard errors, errors that are the scatter.

    Of 10 blocks a squared error is known to a half, its mean over 200 to 3 %, and the scatter to 5 %: within 10 %
    where there is a signal. Where there is none the jackknife counts the square of the mean twice (Efron and Stein):
    1.5 times too large. Without the correction by Var / N the mean would then be 1 / 200 too large, four
    standard errors of the average and more.
    """
    rng, n = np.random.default_rng(3), 200
    mean, scale = strength * np.linspace(0, 0.6, 40), np.linspace(0.5, 2, 40)
    single = (mean / scale) ** 2
    # 1 / variance is too large by (n - 1) / (n - 3) for Gaussian numbers
    truths = {
        "mean": (single + 1 / n).mean() * (n - 1) / (n - 3) - 1 / n,
        "ratio": (mean @ mean) / (scale @ scale),
    }
    rows = np.tile(mean, 200) + np.tile(scale, 200) * rng.standard_normal((n, 200 * 40))
    found = gradient_snr(linear(rows, layers=200), num_blocks=10).raw
    for name, truth in truths.items():
        values, errors = getattr(found, name).numpy(), getattr(found, f"{name}_standard_error").numpy()
        # the ratio of two sums is biased by about its relative variance, here 1 / (40 * 200)
        assert abs(values.mean() - truth) < 4 * values.std() / math.sqrt(200) + truth / 1000
        assert strength or 4 * values.std() / math.sqrt(200) < 1 / n
        excess = math.sqrt(np.square(errors).mean()) / values.std()
        assert (0.9 if strength else 1.3) < excess < (1.1 if strength else 1.65)


def test_the_error_of_the_median_is_on_the_safe_side() -> None:
    """Weights of independent noise: as blocks are left out the median follows a single weight, not the many around it.

    Its error is then up to twice too large. Fails if it is that of a mean, which is smaller, or not of the median.
    """
    mean = np.linspace(0.5, 2, 101)
    rows = np.tile(mean, 80) + np.random.default_rng(3).standard_normal((100, 80 * 101))
    found = gradient_snr(linear(rows, layers=80), num_blocks=10).raw
    values, errors = found.median.numpy(), found.median_standard_error.numpy()
    assert abs(values.mean() - 1.25**2) < 0.05  # symmetric scatter around the middle weight, 1.25
    assert 1 < math.sqrt(np.square(errors).mean()) / values.std() < 2.3


def test_weights_that_do_not_vary_are_counted_and_left_out() -> None:
    """Fails if a constant gradient of 0.1, whose mean is rounded, gives a huge ratio."""
    rows = np.random.default_rng(4).standard_normal((30, 5)) + 1
    rows[:, 1], rows[:, 3] = 0.1, 0.0
    found = gradient_snr(linear(rows), num_blocks=5)
    assert torch.isnan(found.snr()).tolist() == [False, True, False, True, False]
    assert found.raw.total.constant_share == pytest.approx(0.4)
    kept = summary(rows[:, [0, 2, 4]])
    assert found.raw.total.mean == pytest.approx(kept[0])
    assert found.raw.total.median == pytest.approx(kept[1])
    assert found.raw.gradient_mean[1] == pytest.approx(0.1)
    assert float(found.raw.gradient_variance[1]) == 0.0


def test_a_weight_that_varies_in_one_block_alone_leaves_no_rounding() -> None:
    rng = np.random.default_rng(5)
    rows = np.ones((40, 2)) * 0.1
    rows[:, 0] += rng.standard_normal(40)
    rows[:10, 1] = rng.standard_normal(10)
    found = gradient_snr(linear(rows), num_blocks=4).raw.total
    without = np.array([summary(np.delete(rows, range(i, i + 10), 0)) for i in range(0, 40, 10)])
    errors = np.sqrt(3 / 4 * np.square(without - without.mean(0)).sum(0))
    assert found.mean_standard_error == pytest.approx(errors[0], rel=1e-8)


def test_a_large_common_part_does_not_cancel() -> None:
    """Gradients of 1e6 with a scatter of 1e-3: a naive sum of squares would lose everything."""
    rows = 1e6 + 1e-3 * np.random.default_rng(6).standard_normal((50, 3))
    found = gradient_snr(linear(rows), num_blocks=0)
    # the numbers themselves are rounded to 1e-10, a scatter of 1e-3 to 1e-7
    assert_close(found.raw.gradient_variance, rows.var(0, ddof=1), relative=1e-6)


def test_nothing_that_varies_is_told() -> None:
    found = gradient_snr(linear(np.ones((10, 3))))
    total = found.raw.total
    for number in (total.mean, total.median, total.ratio, total.mean_standard_error, float(found.raw.ratio[0])):
        assert math.isnan(number)
    assert total.constant_share == 1.0
    assert found.status is Status.ZERO_SIGNAL


def test_without_a_signal_the_status_says_so() -> None:
    found = gradient_snr(linear(np.array([[1.0], [-1.0], [1.0], [-1.0]])))
    assert found.status is Status.ZERO_SIGNAL
    assert found.raw.total.ratio == pytest.approx(-1 / 4)  # the mean is 0, so that -1 / N is left


def test_gradients_that_are_not_finite_are_told() -> None:
    rows = np.random.default_rng(7).standard_normal((30, 3))
    rows[4, 1] = math.inf
    found = gradient_snr(linear(rows))
    assert found.status is Status.NOT_FINITE
    assert math.isnan(float(found.raw.gradient_variance[1]))
    assert math.isfinite(float(found.raw.gradient_variance[0]))


def test_means_over_tokens_weigh_samples_by_their_tokens() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, 4, 3, dtype=torch.float64), torch.randint(2, (6, 4))
    y[:3, 2:] = -100
    model = nn.Linear(3, 2, bias=False).double()

    def batch_loss(model: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100)
        return loss, (targets != -100).sum()

    objective = Objective(model, batch_loss=batch_loss, data=[(x, y)])
    found = gradient_snr(objective)
    rows = torch.stack([
        6 / 18 * torch.autograd.grad(batch_loss(model, (x[i : i + 1], y[i : i + 1]))[0], model.weight)[0].flatten()
        for i in range(6)
    ])
    assert_close(found.raw.gradient_mean, objective.gradient(), relative=1e-11)
    assert_close(found.raw.gradient_variance, rows.var(0), relative=1e-11)


def test_the_loop_gives_what_vmap_gives_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(*CASES[1].make())
    whole, cut = (gradient_snr(objective, chunk=chunk) for chunk in (None, 4))

    def refused(self: Any, samples: Any) -> Any:
        raise RuntimeError("no batching rule")

    monkeypatch.setattr(PerSampleGradients, "_by_vmap", refused)
    loop = gradient_snr(objective)
    assert (whole.method, loop.method) == ("vmap", "loop")
    for other in (cut, loop):
        assert_close(other.snr("centralized"), whole.snr("centralized"), relative=1e-9)
        assert other.raw.total.mean_standard_error == pytest.approx(whole.raw.total.mean_standard_error, rel=1e-8)


def test_float32_is_near_float64() -> None:
    model, loss_fn, batches = CASES[1].make()
    exact = gradient_snr(Objective(model, loss_fn, batches))
    rough = gradient_snr(Objective(model.float(), loss_fn, [(x.float(), y) for x, y in batches]))
    assert_close(rough.raw.gradient_variance, exact.raw.gradient_variance, relative=1e-5)


def test_the_seed_moves_the_control_alone() -> None:
    objective = Objective(*CASES[1].make())
    first, again, other = (gradient_snr(objective, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert torch.equal(first.raw.gradient_variance, other.raw.gradient_variance)
    assert torch.equal(first.centralized.mean, other.centralized.mean)
    assert not torch.equal(first.control.gradient_variance, other.control.gradient_variance)


def test_two_samples_and_no_blocks_have_no_errors() -> None:
    rows = np.random.default_rng(8).standard_normal((40, 3)) + 1
    for found in (gradient_snr(linear(rows[:2])), gradient_snr(linear(rows), num_blocks=0)):
        assert found.num_blocks == 0
        assert math.isnan(found.raw.total.mean_standard_error)
        assert math.isnan(float(found.raw.ratio_standard_error[0]))
        assert math.isfinite(found.raw.total.mean)
    assert gradient_snr(linear(rows[:5])).num_blocks == 5


def test_without_errors_there_is_one_pass_less() -> None:
    seen: dict[int, list[tuple[int, int]]] = {0: [], 3: []}
    for num_blocks, calls in seen.items():
        objective = Objective(*CASES[1].make())
        gradient_snr(objective, chunk=4, num_blocks=num_blocks, progress=lambda *at, calls=calls: calls.append(at))
    assert seen[0] == [(4, 12), (5, 12), (9, 12), (12, 12)]  # batches of 5 and 7
    assert seen[3] == [(done, 24) for done in (4, 5, 9, 12, 16, 17, 20, 21, 24)]  # cut where blocks of 4 end


@pytest.mark.parametrize("does_raise", [False, True])
def test_everything_is_left_as_found(does_raise: bool) -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    check_left_as_found(model, lambda stop: gradient_snr(objective, progress=stop), does_raise=does_raise)


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    found = gradient_snr(Objective(*CASES[5].make()))
    found.save(tmp_path / "run.h5", "snr")
    loaded = analysis.load(tmp_path / "run.h5", "noise/snr")
    assert isinstance(loaded, GradientSNR)
    assert loaded == found
    assert torch.equal(loaded.snr("control").nan_to_num(), found.snr("control").nan_to_num())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_blocks": 1}, "num_blocks must be a whole number >= 2, got 1; one is left out at a time; 0 leaves"),
        ({"num_blocks": math.nan}, "num_blocks must be a whole number >= 2, got nan"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"seed": math.nan}, "seed must be a whole number >= 0, got nan"),
        ({"chunk": 0}, "chunk must be a whole number >= 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_snr(Objective(*CASES[0].make()), **settings)


def test_what_has_no_snr_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least 2 samples, got 1"):
        gradient_snr(linear(np.ones((1, 2))))
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    objective = Objective(nn.Linear(2, 1), lambda output, _: (output - output.mean()).square().mean(), [(x, x)])
    with pytest.raises(ValueError, match="the loss must be a sum over samples"):
        gradient_snr(objective)
    with pytest.raises(ValueError, match="kind must be one of raw, centralized, control, got 'random'"):
        gradient_snr(linear(np.eye(4))).snr("random")
