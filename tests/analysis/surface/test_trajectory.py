"""Trajectories: known coordinates, dense singular vectors, what lies outside the plane, several runs, degenerate paths.

Oracles: coordinates chosen beforehand, `numpy.linalg.svd` of the dense matrix, losses of models that hold the weights.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import analysis
from analysis import Objective, Status, loss_surface, trajectory
from analysis.surface import trajectory as module
from tests.analysis.surface.test_scan import network, stop_at
from tests.analysis.test_objective import assert_same, everything
from tests.cases import CASES


def objective(dtype: torch.dtype = torch.float64) -> Objective:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)
    model(torch.randn(16, 3, generator=generator, dtype=dtype))  # running statistics that are not 0 and 1
    x, y = (torch.randn(10, n, generator=generator, dtype=dtype) for n in (3, 1))
    return Objective(model, nn.MSELoss(), [(x[:4], y[:4]), (x[4:], y[4:])])


def random(count: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_known_coordinates_come_back_on_directions_that_are_neither_unit_nor_orthogonal() -> None:
    """Fails if a projection is divided by one norm alone, or axes are taken for orthogonal."""
    found_on = objective()
    size = found_on.num_parameters
    directions = random(2, size) * torch.tensor([[3.0], [0.2]]) + random(1, size, seed=2)
    outside = random(1, size, seed=3)[0]
    outside -= torch.linalg.lstsq(directions.T, outside[:, None]).solution[:, 0] @ directions
    wanted = torch.tensor([[1.5, -0.5], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    w = found_on.weights()
    points = [
        w + a * directions[0] + b * directions[1] + c * outside
        for (a, b), c in zip(wanted, (0.0, 2.0, 0.0), strict=True)
    ]
    found = trajectory(found_on, points, directions)
    # rounding of a 2x2 system of condition number under 1e4
    torch.testing.assert_close(found.coordinates, wanted, rtol=0, atol=1e-11)
    expected = torch.tensor([0.0, 2 * float(outside.norm()), 0.0], dtype=torch.float64)
    torch.testing.assert_close(found.distance, expected, rtol=1e-11, atol=1e-11)
    assert (found.source, found.rank, found.run_names) == ("given", 2, ("run",))


@pytest.mark.parametrize("piece", [1 << 20, 5])
def test_principal_axes_are_those_of_a_dense_decomposition(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if differences are taken to their mean, the Gram matrix is summed wrongly, or signs are left to chance."""
    monkeypatch.setattr(module, "PIECE", piece)
    found_on = objective()
    w = found_on.weights()
    steps = random(7, found_on.num_parameters) * torch.tensor([5.0, 3, 1, 1, 1, 1, 0])[:, None] + 0.5
    found = trajectory(found_on, list(w + steps))
    u, s, vt = np.linalg.svd(steps.numpy(), full_matrices=False)
    del u
    axes = vt[:2] * np.sign(vt[:2][np.arange(2), np.abs(vt[:2]).argmax(1)])[:, None]
    # rounding over the gap of the squared singular values
    np.testing.assert_allclose(found.directions.numpy(), axes, atol=1e-10)
    np.testing.assert_allclose(found.explained_variance.numpy(), (s**2 / (s**2).sum())[:2], rtol=1e-10)
    assert found.in_plane == pytest.approx((s[:2] ** 2).sum() / (s**2).sum(), rel=1e-10)
    np.testing.assert_allclose(found.coordinates.numpy(), steps.numpy() @ axes.T, atol=1e-9)
    assert found.rank == 2


def test_true_loss_is_that_of_the_checkpoint_and_plane_loss_that_of_the_surface() -> None:
    """Fails if a checkpoint is measured with the last one's batch-norm statistics, or off its projection."""
    found_on = objective()
    generator = torch.Generator().manual_seed(5)
    states = []
    for scale in (0.8, 0.3, 0.0):
        state = copy.deepcopy(found_on.model.state_dict())
        for name in state:
            if state[name].is_floating_point():
                state[name] += scale * torch.rand(state[name].shape, generator=generator, dtype=torch.float64)
        states.append(state)
    found = trajectory(found_on, states)
    for state, loss in zip(states, found.loss.tolist(), strict=True):
        moved = copy.deepcopy(found_on.model)
        moved.load_state_dict(state)
        assert Objective(moved, nn.MSELoss(), found_on.data).loss() == loss
    assert float(found.loss[-1]) == float(found.plane_loss[-1]) == found.origin_loss
    for (a, b), loss in zip(found.coordinates.tolist(), found.plane_loss.tolist(), strict=True):
        around = loss_surface(found_on, found.directions, "none", ((a, a + 1), (b, b + 1)), 2)
        assert float(around.loss[0, 0]) == pytest.approx(loss, rel=1e-13)
    assert float((found.loss - found.plane_loss).abs().max()) > 1e-3  # else the test could not tell them apart


def test_runs_share_a_plane_whatever_their_order() -> None:
    found_on = objective()
    w = found_on.weights()
    one, other = (list(w + random(count, len(w), seed)) for count, seed in ((3, 1), (4, 2)))
    a, b = trajectory(found_on, {"one": one, "other": other}), trajectory(found_on, {"other": other, "one": one})
    assert a.run.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert a.run_names == ("one", "other")
    # rounding of sums in another order, over the gap
    torch.testing.assert_close(a.coordinates, torch.cat([b.coordinates[4:], b.coordinates[:4]]), rtol=0, atol=1e-9)
    shared = trajectory(found_on, other, a)  # a result that has directions is a plane
    torch.testing.assert_close(shared.coordinates, a.coordinates[3:], rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_points_on_a_line_give_rank_one_and_no_nan(dtype: torch.dtype) -> None:
    found_on = objective(dtype)
    w, step = found_on.weights(), random(1, found_on.num_parameters)[0].to(dtype)
    found = trajectory(found_on, [w - step, w - 0.3 * step, w])
    assert found.rank == 1
    assert bool(found.directions.isfinite().all())
    gram = (found.directions.double() @ found.directions.double().T).numpy()
    rounding = 8 * torch.finfo(dtype).eps
    np.testing.assert_allclose(gram, np.eye(2), atol=rounding)
    assert found.explained_variance.tolist() == pytest.approx([1.0, 0.0], abs=100 * rounding)
    assert found.distance.tolist() == pytest.approx([0.0] * 3, abs=1e3 * rounding)


def test_the_range_shows_every_point_and_the_origin() -> None:
    found_on = objective()
    w = found_on.weights()
    found = trajectory(found_on, list(w + random(2, len(w)) + 3.0), random(2, len(w), seed=4))
    (low_x, high_x), (low_y, high_y) = found.extent()
    for x, y in [*found.coordinates.tolist(), [0.0, 0.0]]:
        assert low_x < x < high_x
        assert low_y < y < high_y


def test_a_diverged_checkpoint_is_said_and_the_result_comes_back_from_a_file(tmp_path: Path) -> None:
    found_on = objective()
    w = found_on.weights()
    big = w.clone()
    big[-1] = 1e200  # its square is infinite
    found = trajectory(found_on, [w + 1.0, big, w])
    assert found.status is Status.NOT_FINITE
    assert found.loss.isinf().tolist() == [False, True, False]
    found.save(tmp_path / "run.h5", "path")
    assert analysis.load(tmp_path / "run.h5") == found


def test_nothing_is_left_behind() -> None:
    found_on = objective()
    before = everything(found_on.model)
    trajectory(found_on, [found_on.weights() + 1, found_on.weights()])
    assert_same(before, everything(found_on.model))


def test_checkpoints_given_by_name_are_copied() -> None:
    """Fails if the live weights of the model are aliased."""
    found_on = objective()
    live = dict(found_on.model.state_dict())
    found = found_on.flat(live)
    with torch.no_grad():
        next(found_on.model.parameters()).add_(1.0)
    assert not torch.equal(found, found_on.flat(live))


def wrong(kind: str) -> tuple[list[object], object]:
    w = objective().weights()
    state = dict(objective().model.state_dict())
    renamed = {f"net.{name}": tensor for name, tensor in state.items()}
    return {
        "one": ([w], "pca"),
        "none": ([], "pca"),
        "equal": ([w, w.clone()], "pca"),
        "name": ([w, w + 1], "svd"),
        "parallel": ([w, w + 1], torch.stack([w, 2 * w])),
        "three": ([w, w + 1], random(3, len(w))),
        "short": ([w[:-1], w], "pca"),
        "nan": ([w * float("nan"), w], "pca"),
        "renamed": ([renamed, w], "pca"),
        "shape": ([{**state, "0.weight": torch.zeros(4, 7)}, w], "pca"),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("one", "needs at least two different checkpoints, got 1"),
        ("none", "needs at least two different checkpoints, got 0"),
        ("equal", "got 2 that are all equal"),
        ("name", "plane must be 'pca', .* got 'svd'"),
        ("parallel", "must span a plane"),
        ("three", r"needs two directions \[2, D\], got 3"),
        ("short", r"must be a flat vector of shape \(29,\)"),
        ("nan", "hold NaN or infinity"),
        ("renamed", r"'0.weight' \(4, 3\) is missing; .* it has 9 names the model has not, first 'net.0.weight'"),
        ("shape", r"'0.weight' is \(4, 7\), not \(4, 3\)"),
    ],
)
def test_mistakes_are_one_line(kind: str, message: str) -> None:
    points, plane = wrong(kind)
    with pytest.raises(ValueError, match=message) as raised:
        trajectory(objective(), points, plane)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_a_stopped_trajectory_goes_on_where_it_was(tmp_path: Path) -> None:
    """Fails if points are kept in memory, measured twice, or those of another run are taken for them."""
    measured = network(CASES[2], torch.float64)
    runs = {name: around(measured, seed) for seed, name in enumerate(("one", "two"))}
    arguments: dict[str, Any] = {"splits": {"half": [measured.data[0]]}, "metrics": "accuracy"}
    whole = trajectory(measured, runs, **arguments)
    path = tmp_path / "run.h5"
    with pytest.raises(KeyboardInterrupt):
        trajectory(measured, runs, **arguments, path=path, progress=stop_at(3))
    part = analysis.load(path, "trajectory")
    assert (int(part.done.sum()), part.status) == (3, Status.INTERRUPTED)
    seen: list[int] = []
    found = trajectory(measured, runs, **arguments, path=path, progress=lambda done, _: seen.append(done))
    assert found == whole == analysis.load(path, "trajectory")
    assert seen == [4, 5, 6]
    assert found.metric_names == ("accuracy", "half/loss", "half/accuracy")
    half = measured.on([measured.data[0]])
    # the same twelve or fewer losses, summed in another order
    expected = [half.loss(point) for points in runs.values() for point in points]
    torch.testing.assert_close(found.metrics[1], torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=0)
    with pytest.raises(ValueError, match=r"begun with another configuration .*points_sha256"):
        trajectory(measured, {**runs, "two": around(measured, 7)}, **arguments, path=path)


def around(measured: Objective, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = measured.weights()
    return [weights + torch.randn(len(weights), generator=generator, dtype=weights.dtype) for _ in range(3)]
