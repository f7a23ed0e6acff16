"""The whole measurement against dense matrices in float64, its closed form, its laws, and what it leaves behind.

Sigma comes from gradients of single samples by plain autograd, H from central differences of the gradient: right to
about 1e-7. Blind to a gradient that autograd itself gets wrong.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import analysis
from analysis import (
    GradientCovariance,
    NoiseCovariance,
    NoiseSpectrum,
    Objective,
    gradient_noise,
    hessian_eigenvalues,
    hessian_trace,
    noise_covariance,
)
from analysis.evidence import Status
from analysis.noise import comparison
from analysis.noise.scalars import KINDS
from tests.analysis.noise import oracle
from tests.analysis.noise.test_sampled import with_two_calls
from tests.analysis.noise.untouched import check_left_as_found
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles import dense


def of(found: NoiseCovariance, kind: str) -> NoiseSpectrum:
    spectrum = getattr(found, kind)
    assert isinstance(spectrum, NoiseSpectrum)
    return spectrum


def top(matrix: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest eigenvalues and their vectors as rows."""
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1][:k], vectors.T[::-1][:k]


def numbers(result: NoiseSpectrum) -> list[float]:
    return [getattr(result, field.name) for field in dataclasses.fields(result) if field.type == "float"]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_number_is_the_dense_one(case: Case) -> None:
    """All 12 samples are taken, so that tr(H Sigma) has no error; the effective rank is known within its own."""
    k = 2
    model, loss_fn, batches = case.make()
    objective = Objective(model, loss_fn, batches)
    trace = hessian_trace(objective, max_hvps=40, tol=1e-9)
    found = noise_covariance(objective, k, tol=1e-9, seed=5, trace=trace, draws=12, probes=30)
    hessian = dense.hessian(model, loss_fn, batches).numpy()
    size = len(hessian)
    others = top(hessian, k)
    # one block for each output: equal eigenvalues, whose vectors may be any; `regression` below has one output
    is_distinct = case.name != "linear regression"
    assert is_distinct == bool(np.diff(-top(hessian, k + 1)[0]).min() > 1e-3)
    assert_close(found.hessian_values, others[0], absolute=1e-6)
    for kind, gradients in oracle.projected(model, oracle.per_sample(model, loss_fn, batches), 5).items():
        sigma = oracle.covariance(gradients)
        got, scale = of(found, kind), float(np.trace(sigma))
        values, vectors = top(sigma, k)
        assert got.trace == pytest.approx(scale, rel=1e-12)
        assert_close(got.values, values, absolute=1e-9 * scale)
        assert_close((got.vectors.numpy() @ vectors.T) ** 2, np.eye(k), absolute=1e-9)
        assert float(got.residuals.max()) <= 1e-9 * values[0]
        assert got.share == pytest.approx(values.sum() / scale, rel=1e-9)
        rank = scale**2 / (sigma**2).sum()
        assert abs(got.effective_rank - rank) < 4 * got.effective_rank_standard_error + 1e-9
        assert got.effective_rank_standard_error < 0.1 * rank
        if is_distinct:  # vectors of H by differences are right to 1e-7 over the gap to the next value
            between = vectors @ others[1].T
            assert_close(got.cosines, np.abs(between), absolute=1e-4)
            assert got.overlap == pytest.approx((between**2).sum() / k, abs=1e-4)
            angles = np.linalg.svd(between, compute_uv=False)
            assert_close(got.angles.cos().square(), angles**2, absolute=1e-4)
        product = float(np.trace(hessian @ sigma))
        assert got.noise_curvature == pytest.approx(product, abs=1e-6 * scale)
        assert got.noise_curvature_standard_error == 0.0
        assert got.alignment == pytest.approx(product / scale / trace.value * size, rel=1e-5)
        error = got.alignment * trace.standard_error / trace.value
        assert got.alignment_standard_error == pytest.approx(error, rel=1e-9, abs=1e-12)
        cosine = product / (trace.frobenius * np.sqrt((sigma**2).sum()))
        assert abs(got.cosine - cosine) < 4 * got.cosine_standard_error
        assert got.cosine_standard_error < 0.2 * abs(got.cosine)
    assert (found.num_samples, found.num_draws) == (12, 12)
    assert found.status in (Status.CONVERGED, Status.BREAKDOWN)  # a closed Krylov space is no failure
    assert found.method == "gradient_covariance"
    assert found.names == objective.names


@pytest.mark.parametrize("kind", KINDS)
def test_chance_is_what_random_spaces_of_that_kind_overlap(kind: str) -> None:
    """300 random pairs of vectors where the noise can lie, against the Hessian's top two."""
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    found = of(noise_covariance(objective, 2), kind)
    hessian = hessian_eigenvalues(objective, 2, tol=1e-6).vectors
    generator = torch.Generator().manual_seed(0)
    overlaps = []
    for _ in range(300):
        rows = torch.randn(2, objective.num_parameters, dtype=torch.float64, generator=generator)
        pieces = {name: torch.stack([objective.layout.split(row)[name] for row in rows]) for name in objective.names}
        kept = oracle.projected(model, pieces, 0)[kind]
        flat = torch.cat([piece.flatten(1) for piece in kept.values()], 1)
        basis = torch.linalg.qr(flat.T)[0].T
        overlaps.append(float((basis @ hessian.T).square().sum()) / 2)
    mean, spread = np.mean(overlaps), np.std(overlaps)
    assert found.chance == pytest.approx(mean, abs=4 * spread / math.sqrt(300))
    if kind == "raw":
        assert found.chance == pytest.approx(2 / objective.num_parameters, rel=1e-6)


def regression(dtype: torch.dtype = torch.float64) -> Objective:
    """Each input twice, with noise +1 and -1 in its target, at the optimum: Sigma = 2 N / (N - 1) H exactly."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(30, 5, generator=generator, dtype=dtype) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2], dtype=dtype)
    model = nn.Linear(5, 1, bias=False, dtype=dtype)
    with torch.no_grad():
        targets = model(x)
    inputs, noise = torch.cat([x, x]), torch.cat([torch.ones(30, 1), -torch.ones(30, 1)]).to(dtype)
    return Objective(model, nn.MSELoss(), (inputs, torch.cat([targets, targets]) + noise))


def test_noise_of_linear_regression_lies_along_the_hessian() -> None:
    objective = regression()
    x = objective.data[0][0][:30]  # type: ignore[index]
    hessian = 2 / 30 * x.T @ x
    found = noise_covariance(objective, 2, tol=1e-9, draws=60)
    assert_close(found.raw.values, 120 / 59 * found.hessian_values, relative=1e-9)
    assert found.raw.overlap == pytest.approx(1.0, abs=1e-9)
    assert_close(found.raw.angles, [0.0, 0.0], absolute=1e-7)
    assert_close(found.raw.cosines, np.eye(2), absolute=1e-6)
    square = float(hessian.square().sum())
    assert found.raw.noise_curvature == pytest.approx(120 / 59 * square, rel=1e-9)
    alignment = 5 * square / float(hessian.trace()) ** 2
    assert abs(found.raw.alignment - alignment) < 4 * found.raw.alignment_standard_error
    assert found.raw.alignment_standard_error < 0.1 * alignment
    assert abs(found.raw.cosine - 1) < 4 * found.raw.cosine_standard_error
    assert found.centralized.overlap < 0.9  # a row (1, ..., 1) is no eigenvector: P turns the top away from H's


def test_draws_are_unbiased_and_know_their_error_through_the_whole_measurement() -> None:
    """40 seeds of 20 draws among 60 samples; z-scores of standard deviation 1 within what 40 of them allow."""
    objective = regression()
    exact = noise_covariance(objective, 1, draws=60)
    trace, hessian = hessian_trace(objective), hessian_eigenvalues(objective, 1)
    scores = {kind: [] for kind in KINDS[:2]}
    for seed in range(40):
        found = noise_covariance(objective, 1, seed=seed, trace=trace, hessian=hessian, draws=20, kinds=KINDS[:2])
        assert found.num_draws == 20
        for kind, table in scores.items():
            one = of(found, kind)
            away = one.noise_curvature - of(exact, kind).noise_curvature
            table.append(away / one.noise_curvature_standard_error)
    for table in scores.values():
        assert abs(np.mean(table)) < 4 / math.sqrt(40)
        assert np.std(table) == pytest.approx(1.0, abs=4 / math.sqrt(80))


def test_traces_are_those_of_gradient_noise() -> None:
    objective = Objective(*CASES[2].make())
    found, noise = noise_covariance(objective, 2, seed=4), gradient_noise(objective, seed=4)
    for kind in KINDS:
        assert of(found, kind).trace == pytest.approx(getattr(noise, kind).total.trace, rel=1e-12)


def test_uneven_batches_equal_one_batch() -> None:
    both = []
    for cuts in ((5, 7), (12,)):
        found = noise_covariance(Objective(*CASES[1].make(cuts=cuts)), 2, draws=4)
        both.append([x for kind in KINDS for x in numbers(of(found, kind))])
    # the basis of Lanczos amplifies rounding, up to tol; what follows from it is equal to far less than that
    assert_close(both[0], both[1], relative=1e-8)


def test_a_loss_of_two_model_calls_is_measured_through_its_gradients() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double(), torch.randn(9, 3, dtype=torch.float64)
    objective = Objective(model, batch_loss=with_two_calls, data=[{"x": x[:4]}, {"x": x[4:]}])
    found = noise_covariance(objective, 1, draws=9)
    rows = []
    for one in x:
        loss, _ = with_two_calls(model, {"x": one[None]})
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    sigma = np.cov(torch.stack(rows).numpy().T)
    assert found.method == "per_sample_gradients"
    assert float(found.raw.values[0]) == pytest.approx(top(sigma, 1)[0][0], rel=1e-4)
    parameters = dict(model.named_parameters())

    def mean_loss(*tensors: Tensor) -> Tensor:
        def run(inputs: Tensor) -> Any:
            return torch.func.functional_call(model, dict(zip(parameters, tensors, strict=True)), (inputs,))

        return (run(x) * run(x.flip(1))).sum() / len(x)

    blocks = torch.autograd.functional.hessian(mean_loss, tuple(parameters.values()))
    rows = [
        torch.cat([b.reshape(p.numel(), -1) for b in row], 1)
        for row, p in zip(blocks, parameters.values(), strict=True)
    ]
    assert found.raw.noise_curvature == pytest.approx(float(np.trace(torch.cat(rows).numpy() @ sigma)), rel=1e-10)


def test_means_over_tokens_are_weighed_as_in_the_objective() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, 4, 3, dtype=torch.float64), torch.randint(2, (6, 4))
    y[:3, 2:] = -100
    model = nn.Linear(3, 2, bias=False).double()

    def batch_loss(model: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100)
        return loss, (targets != -100).sum()

    found = noise_covariance(Objective(model, batch_loss=batch_loss, data=[(x[:2], y[:2]), (x[2:], y[2:])]), 1)
    rows = []
    for i in range(6):
        loss, _ = batch_loss(model, (x[i : i + 1], y[i : i + 1]))
        rows.append(6 / 18 * torch.autograd.grad(loss, model.weight)[0].flatten())
    sigma = np.cov(torch.stack(rows).numpy().T)
    valid = y.flatten() != -100
    loss_of = lambda w: F.cross_entropy(x.flatten(0, 1)[valid] @ w.T, y.flatten()[valid])  # noqa: E731
    hessian = torch.autograd.functional.hessian(loss_of, model.weight.detach()).reshape(6, 6).numpy()
    assert found.raw.trace == pytest.approx(np.trace(sigma), rel=1e-12)
    assert found.raw.noise_curvature == pytest.approx(np.trace(hessian @ sigma), rel=1e-10)


def test_what_is_given_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs equal the products that were made."""
    counts = {"hessian": 0, "sigma": 0}
    hvp, sigma = Objective.hvp, GradientCovariance.hvp

    def count_hessian(self: Objective, vector: Tensor) -> Tensor:
        counts["hessian"] += 1
        return hvp(self, vector)

    def count_sigma(self: GradientCovariance, vector: Tensor) -> Tensor:
        counts["sigma"] += 1
        return sigma(self, vector)

    monkeypatch.setattr(Objective, "hvp", count_hessian)
    monkeypatch.setattr(GradientCovariance, "hvp", count_sigma)
    objective = Objective(*CASES[1].make())
    measured = noise_covariance(objective, 2, draws=4, kinds=["raw"])
    assert (measured.num_hvps, measured.num_products) == (counts["hessian"], counts["sigma"])
    trace, pairs = hessian_trace(objective), hessian_eigenvalues(objective, 3)
    counts.update(hessian=0, sigma=0)
    given = noise_covariance(objective, 2, hessian=pairs, trace=trace, draws=12, kinds=["raw"])
    assert given.num_hvps == counts["hessian"] == 1 + 12  # the check, and all samples
    assert given.num_products == counts["sigma"]
    assert torch.equal(given.hessian_values, pairs.values[:2])
    assert given.hessian_trace == trace.value


def test_graphs_of_sigma_make_room_for_those_of_the_hessian(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    hvp, release = Objective.hvp, GradientCovariance.release

    def note_product(self: Objective, vector: Tensor) -> Tensor:
        events.append("hessian")
        return hvp(self, vector)

    def note_release(self: GradientCovariance) -> None:
        events.append("release")
        release(self)

    monkeypatch.setattr(Objective, "hvp", note_product)
    monkeypatch.setattr(GradientCovariance, "release", note_release)
    noise_covariance(Objective(*CASES[1].make()), 2, kinds=["raw"])
    assert events[0] == "release"


def test_kinds_that_were_not_asked_for_are_nan() -> None:
    found = noise_covariance(Objective(*CASES[1].make()), 2, kinds=["centralized"])
    assert all(math.isfinite(x) for kind in KINDS[:2] for x in numbers(of(found, kind)))
    assert all(math.isnan(x) for x in numbers(found.control))
    assert bool(found.control.vectors.isnan().all())


def test_the_seed_moves_draws_probes_and_control() -> None:
    objective = Objective(*CASES[1].make())
    first, again, other = (noise_covariance(objective, 2, seed=seed, draws=4) for seed in (0, 0, 1))
    assert first == again
    assert first.raw.noise_curvature != other.raw.noise_curvature
    assert first.raw.effective_rank != other.raw.effective_rank
    assert first.control.trace != other.control.trace
    assert first.raw.trace == other.raw.trace


def test_probes_and_draws_have_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if both Frobenius norms take the same signs: the error of their product would be another."""
    seeds: list[int] = []

    def noting(function: Any) -> Any:
        place = list(inspect.signature(function).parameters).index("seed")

        def run(*args: Any, **settings: Any) -> Any:
            seeds.append(settings["seed"] if "seed" in settings else args[place])
            return function(*args, **settings)

        return run

    for name in ("squared_trace", "hessian_trace", "draw"):
        monkeypatch.setattr(comparison, name, noting(getattr(comparison, name)))
    for seed in (0, 1):
        noise_covariance(Objective(*CASES[1].make()), 2, seed=seed, kinds=["raw"])
    assert len(set(seeds)) == len(seeds) == 6


def test_a_budget_that_runs_out_is_told() -> None:
    found = noise_covariance(Objective(*CASES[2].make()), 2, tol=1e-9, max_products=3)
    assert found.status is Status.MAX_HVPS
    assert bool((found.raw.residuals > 1e-9 * found.raw.values).any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_gradients_have_no_noise(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).to(dtype)
    x, y = torch.linspace(-1, 1, 4, dtype=dtype).expand(9, 4), torch.ones(9, 2, dtype=dtype)
    found = noise_covariance(Objective(model, nn.MSELoss(), [(x[:4], y[:4]), (x[4:], y[4:])]), 2)
    assert found.status is Status.ZERO_NOISE
    for kind in KINDS:
        spectrum = of(found, kind)
        assert (spectrum.trace, spectrum.noise_curvature, spectrum.values.tolist()) == (0.0, 0.0, [0.0, 0.0])
        assert math.isnan(spectrum.overlap)
        assert math.isnan(spectrum.alignment)
    assert found.num_hvps == found.num_products == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_that_p_takes_away_leaves_none(dtype: torch.dtype) -> None:
    """Inputs along (1, ..., 1): so are all gradients of the one row, and one direction is all the noise has."""
    x = torch.tensor([1.0, -1.0, 2.0, 0.5], dtype=dtype)[:, None].expand(4, 16)
    y = torch.tensor([1.0, 0.0, -1.0, 3.0], dtype=dtype)[:, None]
    torch.manual_seed(1)
    found = noise_covariance(Objective(nn.Linear(16, 1, bias=False, dtype=dtype), nn.MSELoss(), (x, y)), 2)
    assert found.raw.share == pytest.approx(1.0, rel=1e-5)
    assert found.raw.effective_rank == pytest.approx(1.0, rel=1e-4)
    assert math.isnan(found.raw.overlap)  # the second pair is any pair
    assert found.centralized.trace == found.centralized.noise_curvature == 0.0
    assert found.control.trace > 0.5 * found.raw.trace
    assert found.status in (Status.CONVERGED, Status.BREAKDOWN)


def test_gradients_that_are_not_finite_are_told() -> None:
    x = torch.tensor([[1.0, 2.0], [math.inf, 0.0], [1.0, 3.0]])
    found = noise_covariance(Objective(nn.Linear(2, 1), lambda o, _: o.square().mean(), [(x, x)]), 1)
    assert found.status is Status.NOT_FINITE
    assert all(math.isnan(x) for kind in KINDS for x in numbers(of(found, kind)))


@pytest.mark.parametrize("does_raise", [False, True])
def test_everything_is_left_as_found(does_raise: bool) -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    check_left_as_found(
        model, lambda stop: noise_covariance(objective, 2, progress=stop), does_raise=does_raise, after=3
    )


def test_progress_rises_to_its_end() -> None:
    seen: list[tuple[int, int]] = []
    found = noise_covariance(
        Objective(*CASES[1].make()), 2, max_products=30, draws=11, probes=4, progress=lambda *now: seen.append(now)
    )
    assert found.num_hvps < 30 + 100 + 3 * 11  # among 12 samples some were drawn twice, which takes no product
    done, totals = zip(*seen, strict=True)
    assert set(totals) == {3 * (30 + 4 + 11) + 30 + 100}
    assert list(done) == sorted(done)
    assert (done[0], done[-1]) == (1, totals[0])


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    found = noise_covariance(Objective(*CASES[2].make()), 2, kinds=["centralized"])
    found.save(tmp_path / "run.h5", "covariance")
    assert analysis.load(tmp_path / "run.h5", "noise/covariance") == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be a whole number >= 1, got 0"),
        ({"k": math.nan}, "k must be a whole number >= 1, got nan"),
        ({"k": 12}, r"k must be at most min\(D, N - 1\) = 11, got 12: the covariance of 12 gradients of 51 weights"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"seed": math.nan}, "seed must be a whole number >= 0, got nan"),
        ({"draws": 1}, "draws must be a whole number >= 2, got 1"),
        ({"draws": math.nan}, "draws must be a whole number >= 2, got nan"),
        ({"probes": 1}, "probes must be a whole number >= 2, got 1"),
        ({"probes": math.nan}, "probes must be a whole number >= 2, got nan"),
        ({"tol": math.nan}, "tol must be between 0 and 1"),
        ({"max_products": 4}, "max_products must be a whole number >= 5, got 4"),
        ({"max_products": math.nan}, "max_products must be a whole number >= 5, got nan"),
        ({"kinds": ["P"]}, "kinds must be some of raw, centralized, control, got 'P'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        noise_covariance(Objective(*CASES[1].make()), **settings)


def test_one_sample_has_no_covariance() -> None:
    data = [(torch.ones(1, 2), torch.ones(1, 1))]
    with pytest.raises(ValueError, match="needs at least 2 samples, got 1"):
        noise_covariance(Objective(nn.Linear(2, 1), F.mse_loss, data), 1)


def test_a_loss_that_compares_samples_is_refused() -> None:
    data = [(torch.randn(6, 2), torch.ones(6, 1))]
    with pytest.raises(ValueError, match="the loss must be a sum over samples"):
        noise_covariance(Objective(nn.Linear(2, 1), lambda o, _: (o - o.mean()).square().mean(), data), 1)
