"""Tails of gradient noise: what is kept of each gradient, by the explicit matrix of them; and laws of known tails.

The random directions are not asked for: with more samples than weights they follow from the projections, and must be
unit vectors that explain all three kinds. The control's directions and the cut into batches have tests of their own.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import analysis
from analysis import GradientTails, Objective, gradient_tails
from analysis.evidence import Status
from analysis.noise.per_sample import PerSampleGradients, mean_gradient
from analysis.noise.tail_layers import effective_rank
from analysis.noise.tail_scalars import TailScalars
from tests.analysis.noise import oracle
from tests.analysis.noise.draws import stable
from tests.analysis.noise.untouched import check_left_as_found
from tests.compare import assert_close

KINDS = oracle.KINDS


def small(count: int = 40, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Any, list[tuple[Tensor, Tensor]]]:
    """Two layers, 14 weights, uneven batches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2)).to(dtype)
        x, y = torch.randn(count, 3, dtype=dtype), torch.randint(2, (count,))
    cuts = [count // 3, count - count // 3]
    return model, F.cross_entropy, list(zip(x.split(cuts), y.split(cuts), strict=True))


def linear(rows: Any, layers: int = 1) -> Objective:
    """A loss whose gradient of sample i is row i."""

    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(width, 1, bias=False).double() for width in widths)

        def forward(self, x: Tensor) -> Tensor:
            return sum(part(piece) for part, piece in zip(self.parts, x.split(widths, 1), strict=True))

    x = torch.as_tensor(rows, dtype=torch.float64)
    widths = [len(piece) for piece in torch.arange(x.shape[1]).chunk(layers)]
    return Objective(Parts(), lambda output, _: output.mean(), [(x, x)])


def tables(seed: int = 5) -> tuple[TailScalars, dict[str, list[Tensor]]]:
    """What was kept, and by kind the deviations [N, D of the row] of each row: layers, then all."""
    model, loss_fn, batches = small()
    objective = Objective(model, loss_fn, batches)
    with objective.measuring(with_grad=True):
        state = objective.state()
        mean = mean_gradient(objective, state)
        scalars = TailScalars(objective, mean, num_projections=6, num_coordinates=7, seed=seed)
        for pieces in PerSampleGradients(objective, state, 9):
            scalars.update(pieces)
    expected = {}
    for kind, gradients in oracle.projected(model, oracle.per_sample(model, loss_fn, batches), seed).items():
        layers = list(oracle.by_layer(gradients).values())
        expected[kind] = [rows - rows.mean(0) for rows in [*layers, torch.cat(layers, 1)]]
    return scalars, expected


def test_projections_are_on_unit_vectors_the_same_for_all_kinds() -> None:
    """Fails if directions are not of norm 1 in each row."""
    scalars, expected = tables()
    projections = scalars.projections()
    assert projections.shape == (3, 3, 40, 6)
    for row in range(3):
        raw = expected["raw"][row]
        # the two rows of weights of a softmax layer have opposite gradients: the part of u along such is not seen
        seen = torch.linalg.lstsq(raw, projections[0, row], driver="gelsd").solution
        assert_close(raw @ seen, projections[0, row], relative=1e-10)
        both = torch.cat([expected[kind][row] for kind in KINDS])
        together = torch.linalg.lstsq(both, projections[:, row].reshape(-1, 6), driver="gelsd").solution
        assert_close(both @ together, projections[:, row].reshape(-1, 6), relative=1e-10)
        assert bool((together.norm(dim=0) <= 1 + 1e-10).all())
    first = torch.linalg.lstsq(expected["raw"][0], projections[0, 0], driver="gelsd").solution
    assert_close(first.norm(dim=0), torch.ones(6), absolute=1e-8)  # the first layer's gradients span all 8 dimensions


def test_the_control_does_not_remove_the_directions() -> None:
    """Fails if both are drawn from the same numbers: nothing would be left along the first one."""
    found = gradient_tails(linear(np.random.default_rng(6).standard_normal((60, 32))), num_projections=2)
    kept = found.control.total.projections.std(1) / found.raw.total.projections.std(1)
    assert bool((kept > 0.5).all())


def test_norms_are_those_of_the_deviations() -> None:
    scalars, expected = tables()
    for kind, norms in zip(KINDS, scalars.norms(), strict=True):
        for row in range(3):
            assert_close(norms[row], expected[kind][row].norm(dim=1), relative=1e-12)


def test_coordinates_are_different_entries_the_same_for_all_kinds() -> None:
    scalars, expected = tables()
    for row, kept in enumerate(scalars.coordinates()):
        assert kept.shape == (3, 40, [7, 6, 7][row])  # the second layer has six weights in all
        where = [
            [j for j in range(expected["raw"][row].shape[1]) if torch.allclose(expected["raw"][row][:, j], column)]
            for column in kept[0].T
        ]
        # entries of one bias of two classes are equal up to sign, never equal
        assert all(len(found) == 1 for found in where)
        index = [found[0] for found in where]
        assert len(set(index)) == len(index)
        for kind, table in zip(KINDS, kept, strict=True):
            assert_close(table, expected[kind][row][:, index], relative=1e-12)


def test_another_seed_draws_other_directions_and_coordinates() -> None:
    first, again, other = (tables(seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first.projections(), again.projections())
    assert not torch.equal(first.projections()[0], other.projections()[0])
    assert not torch.equal(first.coordinates()[2][0], other.coordinates()[2][0])
    assert torch.equal(first.norms()[0], other.norms()[0])


def test_every_number_is_of_its_own_table() -> None:
    """Fails if rows, kinds, methods or fields are mixed up: each is computed again from what was kept."""
    model, loss_fn, batches = small()
    found = gradient_tails(Objective(model, loss_fn, batches), num_projections=6, num_coordinates=7, seed=5)
    scalars, _ = tables(seed=5)
    settings: dict[str, Any] = {"num_resamples": 100, "num_gaussian": 100, "seed": 5}
    for kind, name in enumerate(KINDS):
        layers = getattr(found, name)
        for row in range(3):
            projections, norms = scalars.projections()[kind, row], scalars.norms()[kind, row]
            coordinates = scalars.coordinates()[row][kind]
            rank = effective_rank(projections, norms, [8, 6, 14][row])
            expected = {
                "projection_stable": analysis.tail_index(projections, "mcculloch", **settings),
                "projection_hill": analysis.tail_index(projections, "hill", **settings),
                "coordinate_stable": analysis.tail_index(coordinates, "mcculloch", **settings),
                "coordinate_hill": analysis.tail_index(coordinates, "hill", **settings),
                "norm_hill": analysis.tail_index(norms, "hill", rank=rank, **settings),
            }
            for field, index in expected.items():
                if row == 2:
                    assert getattr(layers.total, field).value == pytest.approx(index.value, rel=1e-9)
                    continue
                for inner in dataclasses.fields(analysis.TailIndices):
                    got = float(getattr(getattr(layers, field), inner.name)[row])
                    assert got == pytest.approx(getattr(index, inner.name), rel=1e-6), (field, inner.name)
            for what, table in (("projection", projections), ("coordinate", coordinates)):
                of = layers.total if row == 2 else layers
                got = [getattr(of, f"{what}_kurtosis{end}") for end in ("", "_standard_error")]
                got = [float(value if row == 2 else value[row]) for value in got]
                assert got == pytest.approx(analysis.noise.kurtosis.excess_kurtosis(table.numpy()), rel=1e-6)
            assert float(layers.total.effective_rank if row == 2 else layers.effective_rank[row]) == pytest.approx(rank)
        assert_close(layers.total.projections, scalars.projections()[kind, 2].T, relative=1e-12)
        assert_close(layers.total.norms, scalars.norms()[kind, 2], relative=1e-12)
    assert found.layers == ("0", "2")
    assert (found.num_samples, found.num_gradients, found.batch_size, found.seed) == (40, 40, 1, 5)
    assert (found.method, found.status) == ("vmap", Status.COMPLETE)


def test_gaussian_gradients_are_found_gaussian() -> None:
    rows = np.random.default_rng(0).standard_normal((600, 40)) * np.linspace(1, 2, 40) + 5.0
    total = gradient_tails(linear(rows)).raw.total
    for index in (total.projection_stable, total.coordinate_stable):
        assert index.interval_low < 2 <= index.interval_high
        assert index.interval_low > 1.8
        assert index.gaussian_low <= index.value <= index.gaussian_high
    for index in (total.projection_hill, total.coordinate_hill, total.norm_hill):
        # 95 % ranges, and a fixed seed: a little room beyond
        assert index.gaussian_low * 0.95 <= index.value <= index.gaussian_high * 1.05
    for what in ("projection", "coordinate"):
        kurtosis, error = (getattr(total, f"{what}_kurtosis{end}") for end in ("", "_standard_error"))
        assert abs(kurtosis) < 4 * error < 0.4
    squares = np.linspace(1, 2, 40) ** 2
    assert total.effective_rank == pytest.approx(squares.sum() ** 2 / (squares**2).sum(), rel=0.25)


def test_stable_gradients_are_found_heavy_in_every_layer() -> None:
    rows = stable(1.5, (800, 30), np.random.default_rng(1))
    found = gradient_tails(linear(rows, layers=2), seed=2)
    for of in (found.raw.total, found.raw):
        for index in (of.projection_stable, of.coordinate_stable):
            low, high = torch.as_tensor(index.interval_low), torch.as_tensor(index.interval_high)
            assert bool(((low < 1.5) & (high > 1.5)).all())
            assert bool((high < 1.8).all())
            assert bool((torch.as_tensor(index.gaussian_low) > high).all())
        # of 800 such numbers Hill's reads 1.6, and 30 columns make the interval narrower than that bias
        assert bool(((torch.as_tensor(of.coordinate_hill.value) - 1.55).abs() < 0.2).all())
        assert bool((torch.as_tensor(of.norm_hill.interval_high) < torch.as_tensor(of.norm_hill.gaussian_low)).all())
        assert bool((torch.as_tensor(of.projection_kurtosis) > 10).all())


def test_projections_of_independent_heavy_coordinates_are_nearly_gaussian() -> None:
    """The central limit theorem, why coordinates are looked at too.

    Laplace numbers have excess kurtosis 3, a sum of D with weights u_j has 3 sum u_j^4, 9 / D on average.
    """
    rows = np.random.default_rng(2).laplace(size=(1000, 100))
    total = gradient_tails(linear(rows), num_projections=8).raw.total
    assert total.coordinate_kurtosis == pytest.approx(3.0, abs=4 * total.coordinate_kurtosis_standard_error)
    assert total.projection_kurtosis == pytest.approx(9 / 100, abs=4 * total.projection_kurtosis_standard_error)
    assert total.coordinate_stable.interval_high < 1.8 < total.projection_stable.interval_low


@pytest.mark.parametrize("batch_size", [2, 3])
def test_batches_are_random_and_their_gradients_the_means_of_theirs(batch_size: int) -> None:
    model, loss_fn, batches = small(61)
    found = gradient_tails(Objective(model, loss_fn, batches), batch_size=batch_size, seed=7, num_projections=2)
    (rows,) = [
        torch.cat(list(oracle.by_layer(gradients).values()), 1)
        for kind, gradients in oracle.projected(model, oracle.per_sample(model, loss_fn, batches), 7).items()
        if kind == "centralized"
    ]
    number = math.ceil(61 / batch_size)
    order = torch.randperm(61, generator=torch.Generator().manual_seed(7))
    means = torch.stack([rows[chosen].mean(0) for chosen in order.tensor_split(number)])
    assert (found.num_gradients, found.method, found.batch_size) == (number, "batches", batch_size)
    assert_close(found.centralized.total.norms, (means - rows.mean(0)).norm(dim=1), relative=1e-11)


def test_larger_batches_are_closer_to_the_gaussian() -> None:
    """Excess kurtosis falls like 1 / B; of Laplace numbers 3, so 3 / 8 for batches of eight."""
    rows = np.random.default_rng(3).laplace(size=(2400, 8))
    total = gradient_tails(linear(rows), batch_size=8, num_coordinates=8).raw.total
    assert total.coordinate_kurtosis == pytest.approx(3 / 8, abs=4 * total.coordinate_kurtosis_standard_error)
    assert total.norms.square().mean() == pytest.approx(8 * 2 / 8, rel=0.1)  # the variance of Laplace numbers is 2


def test_the_effective_rank_is_the_ratio_of_traces() -> None:
    """200 resamplings with known Sigma: the mean within 5 %.

    Fails if the scatter of single samples is left in: tr(Sigma^2) would be larger by tr(Sigma)^2 / n, a rank of 12 of
    60 samples 10.
    """
    rng, scales = np.random.default_rng(4), np.linspace(0.1, 2, 20)
    truth = np.square(scales).sum() ** 2 / (scales**4).sum()
    found = []
    for _ in range(200):
        rows = rng.standard_normal((60, 20)) * scales
        directions = rng.standard_normal((20, 16))
        directions /= np.linalg.norm(directions, axis=0)
        along, norms = torch.tensor(rows @ directions), torch.tensor(np.linalg.norm(rows, axis=1))
        found.append(1 / effective_rank(along, norms, 20))
    assert 1 / np.mean(found) == pytest.approx(truth, rel=0.05)


def test_the_effective_rank_is_a_mean_over_pairs() -> None:
    """Of different samples and of different directions, one by one."""
    rng, n, count, width = np.random.default_rng(4), 9, 3, 50
    along, norms = rng.standard_normal((n, count)), 6 * np.abs(rng.standard_normal(n))
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    directions = [(r, s) for r in range(count) for s in range(count) if r != s]
    square = np.mean([[along[i, r] * along[i, s] * along[j, r] * along[j, s] for i, j in pairs] for r, s in directions])
    expected = np.mean([norms[i] ** 2 * norms[j] ** 2 for i, j in pairs]) / (square * width**2)
    assert 1 < expected < n - 1
    assert effective_rank(torch.tensor(along), torch.tensor(norms), width) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("value", "rank"), [(0.0, math.nan), (math.nan, math.nan), (math.inf, math.nan)])
def test_nothing_has_no_rank(value: float, rank: float) -> None:
    assert math.isnan(effective_rank(torch.full((30, 4), value), torch.full((30,), value), 5))


def test_the_effective_rank_is_within_what_is_possible() -> None:
    one = torch.randn(30, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert effective_rank(one.expand(-1, 4), one[:, 0].abs(), 1) == 1.0
    apart = torch.eye(30, dtype=torch.float64)[:, :4]  # no two samples share a direction: no pair has a product
    assert effective_rank(apart, torch.ones(30, dtype=torch.float64), 100) == 29.0


def test_chunks_change_nothing_and_the_loop_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(*small())
    whole, cut = (gradient_tails(objective, chunk=chunk, num_projections=3) for chunk in (None, 7))
    assert_close(whole.raw.total.projections, cut.raw.total.projections, relative=1e-12)

    def refused(self: Any, samples: Any) -> Any:
        raise RuntimeError("no batching rule")

    monkeypatch.setattr(PerSampleGradients, "_by_vmap", refused)
    loop = gradient_tails(objective, num_projections=3)
    assert loop.method == "loop"
    assert_close(whole.raw.total.projections, loop.raw.total.projections, relative=1e-12)


def test_float32_is_near_float64() -> None:
    model, loss_fn, batches = small()
    exact = gradient_tails(Objective(model, loss_fn, batches), num_projections=3)
    rough = gradient_tails(Objective(model.float(), loss_fn, [(x.float(), y) for x, y in batches]), num_projections=3)
    # gradients of size 1 carry 1e-7 each; the models' weights differ by as much
    assert_close(rough.raw.total.projections, exact.raw.total.projections, relative=1e-5)


def test_means_over_tokens_weigh_samples_by_their_tokens() -> None:
    """g_i = N / tokens * gradient of sample i's sum."""
    torch.manual_seed(0)
    x, y = torch.randn(30, 4, 3, dtype=torch.float64), torch.randint(2, (30, 4))
    y[:10, 2:] = -100
    model = nn.Linear(3, 2, bias=False).double()

    def batch_loss(model: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100)
        return loss, (targets != -100).sum()

    rows = torch.stack([
        30 / 100 * torch.autograd.grad(batch_loss(model, (x[i : i + 1], y[i : i + 1]))[0], model.weight)[0].flatten()
        for i in range(30)
    ])
    found = gradient_tails(Objective(model, batch_loss=batch_loss, data=[(x, y)]), num_projections=2)
    assert_close(found.raw.total.norms, (rows - rows.mean(0)).norm(dim=1), relative=1e-11)


def test_a_layer_that_nothing_reaches_has_no_tails() -> None:
    model, loss_fn, batches = small()
    model.append(nn.Identity()).register_parameter("unused", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    found = gradient_tails(Objective(model, loss_fn, batches), num_projections=3)
    row = found.layers.index("Sequential")
    assert found.status is Status.COMPLETE
    for index in (found.raw.projection_stable, found.raw.coordinate_hill, found.raw.norm_hill):
        assert math.isnan(float(index.value[row]))
        assert int(index.num_left_out[row]) >= 1
        assert math.isfinite(float(index.value[1 - row]))
    assert math.isnan(float(found.raw.projection_kurtosis[row]))
    assert math.isnan(float(found.raw.effective_rank[row]))


def test_gradients_that_are_not_finite_are_told() -> None:
    rows = np.random.default_rng(5).standard_normal((30, 4))
    rows[7, 2] = math.inf
    found = gradient_tails(linear(rows, layers=2))
    assert found.status is Status.NOT_FINITE
    assert math.isnan(found.raw.total.projection_stable.value)
    assert math.isnan(float(found.raw.norm_hill.value[1]))
    assert math.isfinite(float(found.raw.norm_hill.value[0]))


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("does_raise", [False, True])
def test_everything_is_left_as_found(does_raise: bool, batch_size: int) -> None:
    model, loss_fn, batches = small()
    objective = Objective(model, loss_fn, batches)
    check_left_as_found(
        model,
        lambda stop: gradient_tails(objective, batch_size=batch_size, num_projections=2, progress=stop),
        does_raise=does_raise,
    )


@pytest.mark.parametrize(
    ("settings", "expected"), [({"chunk": 20}, [13, 33, 40]), ({"batch_size": 2}, [*range(2, 41, 2)])]
)
def test_progress_counts_samples(settings: dict[str, Any], expected: list[int]) -> None:
    seen: list[tuple[int, int]] = []
    objective = Objective(*small())
    gradient_tails(objective, num_projections=2, progress=lambda *at: seen.append(at), **settings)
    assert seen == [(done, 40) for done in expected]


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    found = gradient_tails(Objective(*small()), num_projections=2)
    found.save(tmp_path / "run.h5", "tails")
    loaded = analysis.load(tmp_path / "run.h5", "noise/tails")
    assert isinstance(loaded, GradientTails)
    assert loaded == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_projections": 1}, "num_projections must be a whole number >= 2, got 1"),
        ({"num_projections": math.nan}, "num_projections must be a whole number >= 2, got nan"),
        ({"num_coordinates": 0}, "num_coordinates must be a whole number >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
        ({"batch_size": math.nan}, "batch_size must be a whole number >= 1, got nan"),
        ({"batch_size": 3}, "tails need at least 20 gradients, got 14 of 3 samples each; give more data or a smaller"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"chunk": 0}, "chunk must be a whole number >= 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_tails(Objective(*small()), **settings)


def test_a_loss_that_compares_samples_is_refused() -> None:
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    objective = Objective(nn.Linear(2, 1), lambda output, _: (output - output.mean()).square().mean(), [(x, x)])
    with pytest.raises(ValueError, match="the loss must be a sum over samples"):
        gradient_tails(objective)
