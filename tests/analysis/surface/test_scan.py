"""Surfaces and lines: closed forms in every cell, the origin, invariance, resuming, what is left behind.

A quadratic cannot show an error that is odd in the perturbation; the network cases, compared with a model moved there,
can.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import analysis
from analysis import Objective, Plan, Status, loss_line, loss_surface
from analysis.store import read
from analysis.surface import points
from analysis.surface.points import Points
from tests.analysis.test_objective import assert_same, everything
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles import dense

ROOT = Path(__file__).parents[3]


def quadratic() -> tuple[Objective, np.ndarray, np.ndarray]:
    """Linear regression with different curvatures, off its minimum: the objective, its inputs and targets."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 3)) * [5.0, 1.0, 0.2], rng.normal(size=(9, 1))
    model = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    return Objective(model, nn.MSELoss(), [(inputs[:4], targets[:4]), (inputs[4:], targets[4:])]), x, y


def network(case: Case = CASES[1], dtype: torch.dtype = torch.float32) -> Objective:
    model, loss_fn, batches = case.make(dtype)
    return Objective(model, loss_fn, batches)


def stop_at(number: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == number:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("points", [(5, 8), (4, 3)])
@pytest.mark.parametrize("extent", [0.7, ((-0.5, 2.0), (1.0, 1.5))])
def test_a_quadratic_is_exact_in_every_cell(points: tuple[int, int], extent: Any) -> None:
    """Fails if rows are misaligned, the axes swapped, or a non-square grid stored in another order."""
    objective, x, y = quadratic()
    directions = torch.tensor([[1.0, 0.5, -1.0], [0.0, 0.3, 1.0]], dtype=torch.float64)
    found = loss_surface(objective, directions, "none", extent, points)
    assert found.loss.shape == found.done.shape == (len(found.x), len(found.y)) == points
    w = objective.weights().numpy()
    for i, a in enumerate(found.x.tolist()):
        for j, b in enumerate(found.y.tolist()):
            at = w + a * directions[0].numpy() + b * directions[1].numpy()
            expected = np.mean((x @ at[:, None] - y) ** 2)
            # rounding of sums of 9 terms of size up to the loss itself
            assert_close(found.loss[i, j], expected, relative=1e-13)
    assert bool(found.done.all())
    assert found.status is Status.COMPLETE


def test_the_first_index_runs_along_the_first_direction() -> None:
    """Fails if the result is transposed: curvature is 25 times larger along the first direction."""
    objective, _, _ = quadratic()
    found = loss_surface(objective, torch.eye(3, dtype=torch.float64)[:2], "none", 1.0, 3)
    second = (
        found.loss[0] + found.loss[2] - 2 * found.loss[1],
        found.loss[:, 0] + found.loss[:, 2] - 2 * found.loss[:, 1],
    )
    assert float(second[0].min()) > 5 * float(second[1].max())


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_origin_is_the_loss_and_the_rest_a_model_moved_there(case: Case) -> None:
    """Fails if the surface is constant, accumulates steps, or perturbs buffers."""
    objective = network(case)
    found = loss_surface(objective, points=(5, 3), extent=0.5)
    assert float(found.loss[2, 1]) == objective.loss() == found.origin_loss
    assert len(found.loss.unique()) == 15
    w = objective.weights()
    for i, j in ((0, 0), (4, 1), (1, 2)):
        model, loss_fn, batches = case.make(torch.float32)
        at = w + found.x[i].float() * found.directions[0] + found.y[j].float() * found.directions[1]
        nn.utils.vector_to_parameters(at, [p for p in model.parameters() if p.requires_grad])
        moved = _loss(model, loss_fn, batches)
        assert_close(found.loss[i, j], moved, relative=2e-6)  # float32 through a few layers, another order of sums


def _loss(model: nn.Module, loss_fn: Any, batches: list) -> Tensor:
    model.eval()
    with torch.no_grad():
        return loss_fn(model(torch.cat([x for x, _ in batches])), torch.cat([y for _, y in batches]))


def test_an_even_count_has_no_origin() -> None:
    objective = network()
    found = loss_surface(objective, points=4)
    assert 0.0 not in found.x
    assert objective.loss() not in found.loss
    assert found.origin_loss == objective.loss()


@pytest.mark.parametrize("source", ["random", "hessian", "given"])
def test_a_line_is_a_row_of_the_surface(source: str) -> None:
    objective = network()
    vectors = torch.randn(2, objective.num_parameters, generator=torch.Generator().manual_seed(2))
    plane = loss_surface(objective, vectors if source == "given" else source, points=5, seed=3)
    line = {
        "random": lambda: loss_line(objective, points=5, seed=3),
        "hessian": lambda: loss_line(objective, plane.directions[0], "none", points=5, seed=3),
        "given": lambda: loss_line(objective, vectors[0], points=5, seed=3),
    }[source]()
    assert torch.equal(line.direction, plane.directions[0])
    assert torch.equal(line.t, plane.x)
    assert torch.equal(line.loss, plane.loss[:, 2])
    assert line.status is Status.COMPLETE


def test_a_line_along_the_first_eigenvector() -> None:
    objective = network(dtype=torch.float64)
    line, plane = loss_line(objective, "hessian", points=2), loss_surface(objective, "hessian", points=2)
    # the sine of the angle to the true eigenvector is at most 0.01 * lambda / gap for both
    assert abs(float(line.direction @ plane.directions[0])) > 0.999
    assert (line.source, line.normalize) == ("hessian", "none")


def test_a_line_between_two_checkpoints_has_both_ends() -> None:
    objective = network()
    start = objective.weights()
    end = start + torch.randn(len(start), generator=torch.Generator().manual_seed(7))
    line = loss_line(objective, end - start, "none", (0, 1), 4)
    assert float(line.loss[0]) == objective.loss()
    assert_close(line.loss[-1], objective.loss(end), relative=1e-5)  # start + (end - start) rounds


def test_eigenvector_axes_show_the_eigenvalues() -> None:
    objective = network(dtype=torch.float64)
    model, loss_fn, batches = CASES[1].make()
    eigenvalues = torch.linalg.eigvalsh(dense.hessian(model, loss_fn, batches))
    step = 1e-3
    found = loss_surface(objective, "hessian", extent=step, points=3)
    assert (found.source, found.normalize) == ("hessian", "none")
    along_x = (found.loss[0, 1] + found.loss[2, 1] - 2 * found.loss[1, 1]) / step**2
    along_y = (found.loss[1, 0] + found.loss[1, 2] - 2 * found.loss[1, 1]) / step**2
    # the Rayleigh quotient of a vector is off by the square of its residual; third order terms cancel
    assert_close(along_x, eigenvalues[-1], relative=0.01)
    assert_close(along_y, eigenvalues[-2], relative=0.01)


def test_a_rescaled_relu_network_has_the_same_surface() -> None:
    """Fails if filters are not normalized; biases are part of the rescaled layer."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    data = (torch.randn(20, 1, 4, 4), torch.randint(3, (20,)))
    objective = Objective(model, F.cross_entropy, data)
    for zero_1d in (True, False):
        before = {
            name: loss_surface(objective, "random", name, points=5, zero_1d=zero_1d) for name in ("filter", "none")
        }
        with torch.no_grad():
            model[3].weight.mul_(10), model[3].bias.mul_(10), model[5].weight.div_(10)
        after = {
            name: loss_surface(objective, "random", name, points=5, zero_1d=zero_1d) for name in ("filter", "none")
        }
        assert_close(after["filter"].loss, before["filter"].loss, relative=1e-5)
        assert float((after["none"].loss / before["none"].loss - 1).abs().max()) > 0.1
        with torch.no_grad():
            model[3].weight.div_(10), model[3].bias.div_(10), model[5].weight.mul_(10)


def test_a_network_with_batch_norm_has_no_nan() -> None:
    """Fails if running variances are perturbed: they would turn negative."""
    objective = network(CASES[2])
    found = loss_surface(objective, points=9, extent=3.0, zero_1d=False)
    assert bool(found.loss.isfinite().all())
    assert not any("running" in name for name in found.names)


def test_cells_that_are_not_finite_are_kept_and_done(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    loss = Objective(model, batch_loss=lambda m, x: (torch.log(m(x)).sum(), 1), data=torch.ones(1, 1))
    line = loss_line(loss, torch.ones(1), "none", (-2, 0), 5, path=tmp_path / "run.h5")  # log of -1, -0.5, 0, 0.5, 1
    assert_close(line.loss, [np.nan, np.nan, -np.inf, np.log(0.5), 0.0], absolute=1e-6)
    assert bool(line.done.all())
    assert line.status is Status.NOT_FINITE
    assert loss_line(loss, torch.ones(1), "none", (-2, 0), 5, path=tmp_path / "run.h5", progress=stop_at(1)) == line


def test_losses_of_zero_and_below_are_done_too(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    objective = Objective(model, batch_loss=lambda m, x: (m(x).sum(), 1), data=torch.ones(1, 1))
    line = loss_line(objective, torch.ones(1), "none", 1.0, 3, path=tmp_path / "run.h5")
    assert line.loss.tolist() == [-1.0, 0.0, 1.0]
    again = loss_line(objective, torch.ones(1), "none", 1.0, 3, path=tmp_path / "run.h5", progress=stop_at(1))
    assert again == line


@pytest.mark.parametrize("scan", [loss_surface, loss_line])
def test_a_result_survives_the_file(scan: Any, tmp_path: Path) -> None:
    objective = network()
    found = scan(objective, points=3)
    found.save(tmp_path / "run.h5", "plane")
    assert analysis.load(tmp_path / "run.h5", "plane") == found
    in_place = scan(objective, points=3, path=tmp_path / "run.h5")
    assert in_place == found == analysis.load(tmp_path / "run.h5", "surface" if scan is loss_surface else "line")


@pytest.mark.parametrize("stop", [1, 11, 34])
def test_a_stopped_scan_goes_on_and_equals_an_uninterrupted_one(stop: int, tmp_path: Path) -> None:
    """Fails if cells are kept in memory, if finished ones are computed again, or if the model is left in eval mode."""
    objective = network(CASES[2])
    before = everything(objective.model)
    whole = loss_surface(objective, points=(5, 7))
    path = tmp_path / "run.h5"
    with pytest.raises(KeyboardInterrupt):
        loss_surface(objective, points=(5, 7), path=path, name="plane", progress=stop_at(stop))
    assert_same(before, everything(objective.model))
    part = analysis.load(path, "plane")
    assert part.status is Status.INTERRUPTED
    assert int(part.done.sum()) == stop
    assert torch.equal(part.loss[part.done], whole.loss[part.done])
    assert bool(part.loss[~part.done].isnan().all())
    computed = []
    resumed = loss_surface(objective, points=(5, 7), path=path, name="plane", progress=lambda *n: computed.append(n))
    assert resumed == whole == analysis.load(path, "plane")
    assert computed == [(number, 35) for number in range(stop + 1, 36)]


def test_a_scan_goes_on_with_the_plan_it_was_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a new trial decides: half of the cells would be rounded in another way."""
    path = tmp_path / "run.h5"
    monkeypatch.setattr(Points, "fastest", lambda self, num_points: Plan(batch_size=num_points // 3))
    with pytest.raises(KeyboardInterrupt):
        loss_surface(network(), points=(3, 5), path=path, progress=stop_at(4))
    whole = loss_surface(network(), points=(3, 5))
    monkeypatch.setattr(Points, "fastest", lambda *_: pytest.fail("a second trial"))
    found = loss_surface(network(), points=(3, 5), path=path)
    assert (found.batch_size, found.stacked, found.channels_last) == (5, 1, False)
    assert found == whole
    with pytest.raises(ValueError, match=r"begun with another configuration \(batch_size: given 4, stored 5\)"):
        loss_surface(network(), points=(3, 5), path=path, plan=Plan(batch_size=4))
    with pytest.raises(ValueError, match=r"configuration \(batch_size: given 0, stored 5\)"):
        loss_surface(network(), points=(3, 5), path=path, plan="given")


def test_a_long_scan_finds_a_plan_by_itself_and_a_short_one_keeps_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the trial is never made, or made where it costs more than it saves."""
    asked: list[int] = []

    def fastest(batches: Any, num_points: int, *_: Any) -> Plan:
        asked.append(num_points)
        return Plan(batch_size=4)

    monkeypatch.setattr(points, "fastest", fastest)
    assert loss_surface(network(), points=3).batch_size == 0
    assert asked == []
    monkeypatch.setattr(points, "WORTH_A_TRIAL", 0.0)
    assert loss_surface(network(), points=3).batch_size == 4
    assert loss_surface(network(), points=3, plan="given").batch_size == 0
    assert asked == [9]


def test_a_real_trial_ends_with_a_plan_that_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "WORTH_A_TRIAL", 0.0)
    given = loss_surface(network(), points=5, plan="given")
    # float32 through two layers, sums of twelve losses in another order
    assert_close(loss_surface(network(), points=5).loss, given.loss, relative=1e-6)


def test_further_splits_and_metrics_of_a_surface() -> None:
    """Fails if a split is the data themselves, or a metric is of another cell."""
    objective = network(dtype=torch.float64)
    half = [objective.data[0]]
    found = loss_surface(objective, points=(3, 4), splits={"half": half}, metrics=["accuracy"])
    alone = loss_surface(objective.on(half), points=(3, 4), metrics=["accuracy"])
    assert found.metric_names == ("accuracy", "half/loss", "half/accuracy")
    # the same sums of five losses
    assert_close(found.metrics[1], alone.loss, relative=1e-14)
    assert torch.equal(found.metrics[2], alone.metrics[0])
    assert_close(found.metric_errors[1], alone.standard_error, relative=1e-14)
    assert not torch.equal(found.metrics[0], found.metrics[2])


def test_recalibrated_statistics_are_those_of_each_cell() -> None:
    """Fails if batch norm keeps the model's statistics, or those of the origin."""
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, [(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))])
    objective = Objective(model, loss_fn, objective.data, batchnorm="recalibrate")
    found = loss_surface(objective, points=3, extent=0.5)
    assert found.batchnorm == "recalibrate"
    twin, _, _ = CASES[2].make()
    x, y = objective.data[0]
    for i, j in ((0, 0), (1, 1), (2, 1)):
        at = objective.weights() + found.x[i] * found.directions[0] + found.y[j] * found.directions[1]
        nn.utils.vector_to_parameters(at, twin.parameters())
        twin.eval()
        twin[1].train()
        twin[1].momentum = 1.0  # in train mode the variance that normalizes is that of the batch, without n - 1
        with torch.no_grad():
            twin(x)
            twin[1].eval()
            expected = F.cross_entropy(twin(x), y)
        assert_close(found.loss[i, j], expected, relative=1e-12)


def test_a_finished_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    found = loss_surface(network(), points=3, path=path)
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert loss_surface(network(), points=3, path=path) == found
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_a_scan_killed_half_way_loses_nothing_that_was_done(tmp_path: Path) -> None:
    """The real thing: SIGKILL in another process; fails if cells wait in a buffer."""
    path = tmp_path / "run.h5"
    code = (
        "import os, signal, sys\n"
        "from tests.analysis.surface.test_scan import loss_surface, network\n"
        "kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 20 else None\n"
        "loss_surface(network(), points=(5, 8), path=sys.argv[1], progress=kill)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert ended.returncode == -9
    whole = loss_surface(network(), points=(5, 8))
    part = analysis.load(path)
    assert int(part.done.sum()) == 20
    assert torch.equal(part.loss[part.done], whole.loss[part.done])
    assert loss_surface(network(), points=(5, 8), path=path) == whole


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "directions: .*seed: given 1, stored 0"),
        ({"normalize": "layer"}, "normalize: given 'layer', stored 'filter'"),
        ({"extent": 2.0}, "extent: "),
        ({"points": 5}, "points: "),
        ({"zero_1d": False}, "zero_1d: given True|zero_1d: given False, stored True"),
        ({"weights": 1e-3}, "state_sha256: "),
        ({"buffer": 1e-3}, "state_sha256: "),
        ({"data": 1e-3}, "data_fingerprint: "),
        ({"loss": F.multi_margin_loss}, r"loss function \(origin_loss was"),
    ],
)
def test_another_configuration_is_refused_by_name(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    settings: dict[str, Any] = {"points": 3}

    def objective(
        weights: float = 0.0, buffer: float = 0.0, data: float = 0.0, loss: Any = F.cross_entropy
    ) -> Objective:
        model, _, batches = CASES[2].make()
        model[0].weight.data[0] += weights
        model[1].running_mean[0] += buffer
        batches[0][0][0] += data
        return Objective(model, loss, batches)

    first = loss_surface(objective(), **settings, path=path)
    of_objective = {key: value for key, value in change.items() if key in ("weights", "buffer", "data", "loss")}
    settings |= {key: value for key, value in change.items() if key not in of_objective}
    with pytest.raises(ValueError, match=rf"surface/surface in .*run\.h5 was begun with another .*({named})"):
        loss_surface(objective(**of_objective), **settings, path=path)
    assert analysis.load(path) == first


def test_a_shuffling_loader_is_the_same_data(tmp_path: Path) -> None:
    """Fails if the fingerprint is compared to the last bit: its sum depends on the order."""
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x -= x.mean()  # the sum is 0 but for rounding
    model = nn.Linear(3, 1, dtype=torch.float64)
    orders = [torch.randperm(64, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    for order in orders:
        objective = Objective(model, nn.MSELoss(), [(x[part], x[part, :1]) for part in order.split(10)])
        loss_line(objective, points=3, path=tmp_path / "run.h5")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_cells() -> None:
    """Fails if the weights of cells are kept: 96 more of them are 768 MB; measured in a process of its own."""

    def peak(points: int) -> int:
        code = (
            "import resource, sys, torch\n"
            "from analysis import Objective, loss_surface\n"
            "model = torch.nn.Linear(2000, 1000)\n"
            "data = (torch.ones(2, 2000), torch.zeros(2, 1000))\n"
            "loss_surface(Objective(model, torch.nn.MSELoss(), data), points=int(sys.argv[1]))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        )
        command = [sys.executable, "-c", code, str(points)]
        return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)

    assert peak(10) - peak(2) < 100_000  # kB: a dozen vectors of 8 MB


def test_progress_counts_every_cell() -> None:
    seen = []
    loss_surface(network(), points=(2, 3), progress=lambda *numbers: seen.append(numbers))
    assert seen == [(number, 6) for number in range(1, 7)]


def test_the_cost_is_what_the_docstring_says() -> None:
    """Fails if a cell costs more than one pass, or the data are read again for each."""
    calls = {"forward": 0}
    model, _, batches = CASES[1].make()

    def batch_loss(model: Any, batch: Any) -> tuple[Tensor, int]:
        calls["forward"] += 1
        return F.cross_entropy(model(batch[0]), batch[1], reduction="sum"), len(batch[1])

    objective = Objective(model, batch_loss=batch_loss, data=batches)
    objective.loss()  # checks once that the loss repeats
    calls["forward"] = 0
    loss_surface(objective, points=(3, 4))
    assert calls["forward"] == len(batches) * (1 + 3 * 4)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_everything_is_left_as_found(case: Case, tmp_path: Path) -> None:
    model, loss_fn, batches = case.make()
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    list(model.modules())[-1].eval()
    before = everything(model)
    objective = Objective(model, loss_fn, batches)
    loss_surface(objective, points=3)
    loss_line(objective, points=3, path=tmp_path / "run.h5")
    assert_same(before, everything(model))


def test_the_callers_modes_do_not_matter() -> None:
    objective = network()
    expected = loss_surface(objective, points=3)
    for mode in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
        with mode:
            found = loss_surface(objective, points=3)
        assert found == expected
        assert not found.loss.is_inference()
        assert not found.loss.requires_grad


def test_later_training_does_not_change_a_result() -> None:
    """Fails if directions or weights in the result share memory with the model."""
    objective = network()
    found = loss_surface(objective, objective.weights().expand(2, -1), "none", points=3)
    kept = {name: value.clone() for name, value in vars(found).items() if isinstance(value, Tensor)}
    with torch.no_grad():
        for parameter in objective.model.parameters():
            parameter.add_(1.0)
    assert_same(kept, {name: value for name, value in vars(found).items() if isinstance(value, Tensor)})


def test_the_file_says_what_the_axes_are(tmp_path: Path) -> None:
    loss_surface(network(), points=(3, 5), path=tmp_path / "run.h5")
    stored = read(tmp_path / "run.h5", "surface/surface")
    assert stored.variables["loss"].dims == ("x", "y")
    assert stored.variables["x"].dims == ("x",)
    assert stored.variables["directions"].dims == ("direction", "parameter")
    assert all(variable.description for variable in stored.variables.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extent": 0}, "extent must be a finite number > 0"),
        ({"extent": float("nan")}, "extent must be"),
        ({"extent": -1.0}, "extent must be"),
        ({"points": 1}, "points must be a whole number >= 2"),
        ({"normalize": "filters"}, "normalize must be one of filter, layer, model, none, got 'filters'"),
        ({"directions": "uniform"}, "directions must be one of random, hessian"),
        ({"directions": torch.ones(2, 3)}, r"direction 1 must be a flat vector .* got \(3,\)"),
    ],
)
def test_mistakes_are_refused_before_any_work(settings: dict[str, Any], message: str) -> None:
    def never(model: Any, batch: Any) -> Any:
        raise AssertionError("the loss was computed")

    model, _, batches = CASES[1].make()
    with pytest.raises(ValueError, match=message):
        loss_surface(Objective(model, batch_loss=never, data=batches), **settings)
