"""Directions as they are added to the weights: how they are drawn, that they stay orthogonal, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import Objective, Status, trajectory
from analysis.surface.directions import Directions, choose
from analysis.surface.normalize import NORMALIZATIONS
from tests.analysis.surface.test_scan import network
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles import dense

LARGE = 20_000


def plane(objective: Objective, directions: Any = "random", normalize: str = "filter", **options: Any) -> Directions:
    return choose(objective, directions, 2, normalize, **{"zero_1d": True, "seed": 0} | options)


def layer(bias: bool = False, dtype: torch.dtype = torch.float32) -> Objective:
    model = nn.Linear(LARGE // 100, 100, bias=bias, dtype=dtype)
    return Objective(model, nn.MSELoss(), (torch.zeros(1, LARGE // 100, dtype=dtype), torch.zeros(1, 100, dtype=dtype)))


def test_random_directions_are_gaussian() -> None:
    """Fails if they are uniform (mean 0.5 or kurtosis 1.8) or not of variance 1."""
    for vector in plane(layer(), normalize="none").vectors.double():
        # standard errors of mean, variance and kurtosis of D normal numbers: 1, sqrt(2), sqrt(24) over sqrt(D); z = 4
        assert abs(float(vector.mean())) < 4 / math.sqrt(LARGE)
        assert abs(float(vector.var()) - 1) < 4 * math.sqrt(2 / LARGE)
        assert abs(float((vector**4).mean() / vector.var() ** 2) - 3) < 4 * math.sqrt(24 / LARGE)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_two_random_directions_are_orthogonal_after_normalization(case: Case, normalize: str) -> None:
    model, loss_fn, batches = case.make(torch.float32)
    objective = Objective(model, loss_fn, batches)
    for zero_1d in (True, False):
        found = plane(objective, normalize=normalize, zero_1d=zero_1d)
        a, b = found.vectors.double()
        assert_close(found.cosine, a @ b / (a.norm() * b.norm()), absolute=1e-15)
        assert abs(found.cosine) < 1e-6 + found.single_share
        assert found.single_share == 0


def test_the_share_of_filters_of_one_element_is_reported() -> None:
    objective = Objective(nn.Linear(1, 4), nn.MSELoss(), (torch.zeros(1, 1), torch.zeros(1, 4)))
    found = plane(objective)
    assert found.single_share == pytest.approx(1)
    assert abs(found.cosine) <= 1 + 1e-12


def test_a_seed_fixes_the_directions_whatever_the_dtype_and_leaves_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    narrow, wide = layer(), layer(dtype=torch.float64)
    found = plane(narrow, normalize="none").vectors
    assert torch.equal(found, plane(narrow, normalize="none").vectors)
    assert torch.equal(found, plane(wide, normalize="none").vectors.float())
    other = plane(narrow, normalize="none", seed=1).vectors
    # four unrelated Gaussian vectors: cosines of a few 1/sqrt(D)
    cosines = nn.functional.normalize(torch.cat([found, other])) @ nn.functional.normalize(torch.cat([found, other])).T
    assert float((cosines - torch.eye(4)).abs().max()) < 5 / math.sqrt(LARGE)
    assert not torch.equal(state, torch.get_rng_state())  # building the layers drew from it
    state = torch.get_rng_state()
    plane(narrow)
    assert torch.equal(state, torch.get_rng_state())


def test_the_first_direction_is_the_one_of_a_line_with_the_same_seed() -> None:
    objective = layer(bias=True)
    line = choose(objective, "random", 1, "filter", zero_1d=True, seed=4)
    assert torch.equal(line.vectors[0], plane(objective, seed=4).vectors[0])
    assert math.isnan(line.cosine)
    assert math.isnan(line.single_share)


def test_biases_and_norm_parameters_are_zero_unless_kept() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.LayerNorm([3, 4, 4]), nn.Flatten(), nn.Linear(48, 2)
    )
    objective = Objective(model, nn.MSELoss(), (torch.zeros(1, 2, 6, 6), torch.zeros(1, 2)))
    for normalize in NORMALIZATIONS:
        left_out, kept = (plane(objective, normalize=normalize, zero_1d=zero_1d) for zero_1d in (True, False))
        assert (left_out.zero_1d, kept.zero_1d) == (True, False)
        moved = {name for name, piece in objective.layout.split(left_out.vectors[0]).items() if piece.any()}
        assert moved == {"0.weight", "4.weight"}  # the 3-D parameters of the LayerNorm are norm parameters too
        moved = {name for name, piece in objective.layout.split(kept.vectors[0]).items() if piece.any()}
        expected = set(objective.names)
        if normalize in ("filter", "layer"):  # a fresh norm layer has a bias of 0: its direction has that norm
            expected -= {"1.bias", "2.bias"}
        assert moved == expected


def test_the_users_vectors_are_taken_as_they_are_or_normalized() -> None:
    objective = layer(bias=True, dtype=torch.float64)
    given = torch.randn(2, objective.num_parameters, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    given[1] += given[0]  # far from orthogonal
    kept = given.clone()
    for form in (given, list(given), tuple(given.float().double())):
        found = plane(objective, form, "none")
        assert_close(found.vectors, given, relative=1e-6)
        assert (found.source, found.normalize, found.zero_1d) == ("given", "none", False)
    assert torch.equal(plane(objective, given, "none").vectors, given)
    a, b = given
    assert_close(plane(objective, given, "none").cosine, a @ b / (a.norm() * b.norm()), relative=1e-14)
    found = plane(objective, given, "model")
    assert_close(found.vectors.norm(dim=1), objective.weights().norm().expand(2), relative=1e-14)
    assert not bool(found.vectors[:, -100:].any())  # biases are left out of what is normalized
    assert torch.equal(given, kept)


def test_eigenvectors_are_those_of_the_dense_hessian_and_are_not_scaled() -> None:
    """Fails if they are normalized filter by filter: cosines of 0.9 with the true ones."""
    model, loss_fn, batches = CASES[1].make()
    found = plane(Objective(model, loss_fn, batches), "hessian")
    assert (found.source, found.normalize, found.zero_1d, found.status) == ("hessian", "none", False, Status.COMPLETE)
    vectors = torch.linalg.eigh(dense.hessian(model, loss_fn, batches)).eigenvectors[:, [-1, -2]].T
    assert_close(found.vectors.norm(dim=1), [1.0, 1.0], absolute=1e-12)
    # the sine of the angle is at most residual / gap = 0.01 * lambda / gap
    assert float((found.vectors * vectors).sum(1).abs().min()) > 0.999


def test_eigenvectors_that_did_not_converge_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.surface import directions

    full = directions.hessian_eigenvalues
    monkeypatch.setattr(directions, "hessian_eigenvalues", lambda o, k, seed: full(o, k=k, seed=seed, max_hvps=2))
    model, loss_fn, batches = CASES[1].make()
    assert plane(Objective(model, loss_fn, batches), "hessian").status is Status.MAX_HVPS


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        ("gaussian", r"directions must be one of random, hessian or two vectors \[D\], got 'gaussian'"),
        (torch.ones(3, 20_000), r"directions must be 'random' or 'hessian', or two vectors \[D\], got 3"),
        (torch.ones(20_000), r"two vectors \[D\], got 20000"),
        ([torch.ones(20_000)], r"two vectors \[D\], got 1"),
        ([[1.0], [2.0]], r"two vectors \[D\], got 2"),
        (torch.ones(2, 7), r"direction 1 must be a flat vector of shape \(20000,\), .* got \(7,\)"),
        ([torch.ones(20_000), torch.ones(7)], r"direction 2 must be a flat vector"),
        (torch.zeros(2, 20_000), r"direction 1 is zero everywhere after normalize='filter' and zero_1d=True"),
        ([torch.ones(20_000), torch.full((20_000,), math.nan)], r"direction 2 holds NaN or infinity"),
        ([torch.full((20_000,), math.inf), torch.ones(20_000)], r"direction 1 holds NaN or infinity"),
    ],
)
def test_wrong_vectors_are_refused(directions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plane(layer(), directions)


@pytest.mark.parametrize("fill", [0.0, math.nan])
def test_weights_that_scale_every_direction_away_are_refused(fill: float) -> None:
    objective = layer()
    nn.init.constant_(objective.model.weight, fill)
    with pytest.raises(ValueError, match=r"direction 1 (is zero everywhere|holds NaN)"):
        plane(objective)


def test_a_model_of_biases_alone_needs_them_kept() -> None:
    model = nn.Linear(3, 4)
    objective = Objective(model, nn.MSELoss(), (torch.zeros(1, 3), torch.zeros(1, 4)), parameters="bias")
    with pytest.raises(ValueError, match=r"nothing would move; zero_1d=False keeps biases and norm parameters"):
        plane(objective)
    assert bool(plane(objective, zero_1d=False).vectors.any())


def test_one_vector_for_a_line_in_both_forms() -> None:
    objective = layer()
    vector: Tensor = torch.arange(1.0, LARGE + 1)
    for form in (vector, vector[None], [vector]):
        found = choose(objective, form, 1, "none", zero_1d=True, seed=0)
        assert torch.equal(found.vectors, vector[None])
    with pytest.raises(ValueError, match=r"or one vector \[D\], got 2"):
        choose(objective, torch.ones(2, LARGE), 1, "none", zero_1d=True, seed=0)


def test_vectors_by_name_are_those_in_the_order_of_the_parameters() -> None:
    """Fails if a mapping is read in its own order, or a difference of checkpoints is moved by."""
    objective = network()
    end = {name: tensor + 1.0 + i for i, (name, tensor) in enumerate(objective.model.state_dict().items())}
    weights = dict(objective.model.named_parameters())
    difference = {name: end[name] - weights[name].detach() for name in reversed(objective.names)}
    found = choose(objective, difference, 1, "none", zero_1d=True, seed=0)
    expected = objective.flat({**objective.model.state_dict(), **end}) - objective.weights()
    torch.testing.assert_close(found.vectors[0], expected, rtol=0, atol=1e-6)  # float32 differences of numbers to 5
    assert (found.source, found.zero_1d) == ("given", False)


def test_a_result_that_has_directions_gives_them() -> None:
    objective = network()
    weights = objective.weights()
    generator = torch.Generator().manual_seed(0)
    steps = [weights + torch.randn(len(weights), generator=generator) for _ in range(3)]
    plane = trajectory(objective, steps)
    assert torch.equal(choose(objective, plane, 2, "none", zero_1d=True, seed=0).vectors, plane.directions)


def test_vectors_with_the_wrong_parameters_say_which() -> None:
    objective = network()
    good = {name: torch.ones_like(p) for name, p in objective.model.named_parameters()}
    first, *others = good
    for wrong, message in (
        ({name: good[name] for name in others}, rf"'{first}' \(6, 4\) is missing"),
        ({**good, first: torch.ones(2, 2)}, rf"'{first}' is \(2, 2\), not \(6, 4\)"),
        ({**good, "head.weight": torch.ones(1)}, "'head.weight' is no measured parameter"),
        ({}, r"is missing; .*; and 1 more; see objective\.names"),
    ):
        with pytest.raises(ValueError, match=f"direction 1 must hold a tensor for each measured parameter .*{message}"):
            choose(objective, wrong, 1, "none", zero_1d=True, seed=0)
