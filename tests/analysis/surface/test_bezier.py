"""A trained curve: closed forms of a ring, gradients by finite differences, resuming, batch norm, no trace left."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import analysis
from analysis import BezierPath, Objective, Status, bezier_path, linear_path
from analysis.batchnorm import batch_statistics
from analysis.surface.bend import Training, on_curve
from tests.analysis.surface.test_path import holding, normed
from tests.analysis.test_objective import assert_same, everything
from tests.compare import assert_close

START, END = (torch.tensor(point, dtype=torch.float64) for point in ([-1.0, 0.0], [1.0, 0.0]))


def ring(lean: float = 0.0) -> Objective:
    """L(w) = (|w|^2 - 1)^2 + lean w_2: a valley along the unit circle, a barrier of 1 on the diameter."""
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)

    def loss(model: Any, batch: Tensor) -> tuple[Tensor, int]:
        return ((model.weight.square().sum() - 1) ** 2 + lean * model.weight[0, 1]) * len(batch), len(batch)

    return Objective(model, batch_loss=loss, data=torch.ones(4, 1))


def test_the_curve_goes_round_where_the_line_meets_a_barrier() -> None:
    """Fails if the bend is not trained, or trained by another loss than the one measured."""
    objective = ring(lean=-0.01)  # off the line of symmetry, where no side is down
    line, curve = linear_path(objective, START, END, points=9), bezier_path(objective, START, END, points=9)
    assert line.barrier == pytest.approx(1.0)
    assert curve.barrier < 0.1
    assert float(curve.bend[1]) > 1
    assert curve.status is Status.COMPLETE
    for t, loss in zip(curve.t.tolist(), curve.loss.tolist(), strict=True):
        x, y = ((1 - t) ** 2 * START + 2 * t * (1 - t) * curve.bend + t**2 * END).tolist()
        assert loss == pytest.approx((x * x + y * y - 1) ** 2 - 0.01 * y, rel=1e-9, abs=1e-12)
    # the arc length of a polygon through many points of the curve, from below by less than 1e-6
    t = np.linspace(0, 1, 4001)[:, None]
    points = (1 - t) ** 2 * START.numpy() + 2 * t * (1 - t) * curve.bend.numpy() + t**2 * END.numpy()
    assert curve.length == pytest.approx(np.linalg.norm(np.diff(points, axis=0), axis=1).sum(), rel=1e-6)
    assert curve.length > curve.distance


def test_the_steps_are_those_of_adam_with_a_falling_rate() -> None:
    """A loss linear in the weights, so that gradients are known: c times 2 t (1 - t); fails if the rate stays."""
    slope = torch.tensor([1.0, -2.0], dtype=torch.float64)
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    linear = Objective(model, batch_loss=lambda m, _: ((m.weight[0] * slope).sum(), 1), data=torch.ones(1, 1))
    found = bezier_path(linear, START, END, points=2, steps=5, lr=0.1, seed=3)
    bend = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([bend])
    for step, t in enumerate(torch.rand(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)):
        adam.param_groups[0]["lr"] = 0.1 * (1 - step / 5)
        bend.grad = 2 * t * (1 - t) * slope
        adam.step()
    torch.testing.assert_close(found.bend, bend.detach(), rtol=1e-12, atol=0)


def test_batches_normalize_themselves_where_statistics_are_recalibrated() -> None:
    """Fails if the training sees the statistics between those of the ends."""
    for batchnorm in ("eval", "recalibrate"):
        objective, start, end = normed(batchnorm)
        found = bezier_path(objective, start, end, points=2, steps=1)
        t = float(torch.rand(1, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
        first, last = objective.flat(start), objective.flat(end)
        at = on_curve(first, (first + last) / 2, last, t)
        between = {k: (1 - t) * v + t * end[k] if v.is_floating_point() else v for k, v in start.items()}
        model = holding({**between, **objective.layout.split(at)}, objective).model.eval()
        model[1].train(batchnorm == "recalibrate")
        x, y = objective.data[0]
        with torch.no_grad():
            assert float(found.training_loss[0]) == pytest.approx(float(nn.functional.mse_loss(model(x), y)), rel=1e-12)


def test_the_training_loss_falls_and_is_kept() -> None:
    curve = bezier_path(ring(-0.01), START, END, steps=200)
    assert curve.training_loss.shape == (200,)
    assert float(curve.training_loss[-50:].mean()) < 0.2 * float(curve.training_loss[:50].mean())


@pytest.mark.parametrize("batchnorm", ["eval", "recalibrate"])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.8])
def test_the_gradient_is_that_of_a_finite_difference(batchnorm: str, t: float) -> None:
    """Fails if the factor 2 t (1 - t) is left out, or batches are normalized otherwise in loss and gradient."""
    objective, start, end = normed(batchnorm)
    flat = objective.flat(start), objective.flat(end)
    tensors = {k: (1 - t) * v + t * end[k] if v.is_floating_point() else v for k, v in start.items()}
    training = Training(objective, *flat, lambda _: tensors, 1, 0.1, 0)
    batch = objective.data[0]

    def loss(bend: Tensor) -> float:
        at = on_curve(flat[0], bend, flat[1], t)
        state = {**tensors, **objective.layout.split(at)}
        model = holding(state, objective).model.eval()
        if batchnorm == "recalibrate":
            model[1].train()
        with torch.no_grad():
            return float(nn.functional.mse_loss(model(batch[0]), batch[1]))

    with objective.measuring(with_grad=True):
        if batchnorm == "recalibrate":
            with batch_statistics(objective.model):
                found, gradient = training.gradient(objective, batch, t)
        else:
            found, gradient = training.gradient(objective, batch, t)
    assert found == pytest.approx(loss(training.bend), rel=1e-12)
    direction = torch.randn(len(gradient), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-5  # near the cube root of eps
    slope = (loss(training.bend + step * direction) - loss(training.bend - step * direction)) / (2 * step)
    assert_close(gradient @ direction, slope, relative=1e-6)


def test_both_ends_are_the_checkpoints_and_everything_is_left_as_found() -> None:
    objective, start, end = normed("recalibrate")
    before = everything(objective.model)
    found = bezier_path(objective, start, end, points=5, steps=10, splits={"half": [objective.data[0]]})
    assert float(found.loss[0]) == holding(start, objective).loss()
    assert float(found.loss[-1]) == holding(end, objective).loss()
    assert found.metric_names == ("half/loss",)
    assert_same(before, everything(objective.model))


def test_what_is_not_measured_does_not_bend() -> None:
    """Fails if the curve replaces weights that the objective does not measure, or leaves them behind."""
    whole, start, end = normed()
    objective = Objective(whole.model, nn.MSELoss(), whole.data, ["3.*"])
    curve = bezier_path(objective, start, end, points=3, steps=5)
    assert len(curve.bend) == 5
    middle = {k: (v + end[k]) / 2 if v.is_floating_point() else v for k, v in start.items()}
    at = on_curve(objective.flat(start), curve.bend, objective.flat(end), 0.5)
    expected = holding({**middle, **objective.layout.split(at)}, whole).loss()
    assert float(curve.loss[1]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("stop", [30, 60, 103])
def test_a_stopped_training_goes_on_to_the_same_curve(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if Adam's moments, the t of a step or its batch are not those of an uninterrupted training."""
    monkeypatch.setattr("analysis.surface.bend.KEPT_EVERY", 25)
    objective, start, end = normed("recalibrate")
    arguments: dict[str, Any] = {"points": 5, "steps": 101}
    whole = bezier_path(objective, start, end, **arguments)
    path = tmp_path / "run.h5"

    def stopping(done: int, total: int) -> None:
        assert total == 106
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bezier_path(objective, start, end, **arguments, path=path, progress=stopping)
    seen: list[int] = []
    found = bezier_path(objective, start, end, **arguments, path=path, progress=lambda done, _: seen.append(done))
    assert found == whole == analysis.load(path, "bezier_path")
    assert seen == list(range((stop // 25) * 25 + 1 if stop < 101 else stop + 1, 107))
    assert bezier_path(objective, start, end, **arguments, path=path) == whole
    with pytest.raises(
        ValueError, match=r"bezier_path_training in .* begun with another configuration \(seed: given 1"
    ):
        bezier_path(objective, start, end, **arguments, seed=1, path=path)
    with pytest.raises(ValueError, match=r"configuration \(ends: given"):
        bezier_path(objective, end, start, **arguments, path=path)


def test_the_knobs_turn() -> None:
    base = bezier_path(ring(-0.01), START, END, points=3, steps=20)
    assert isinstance(base, BezierPath)
    assert base.lr == pytest.approx(0.02 * 2 / math.sqrt(2))
    for change in ({"seed": 1}, {"lr": 0.5}, {"steps": 21}):
        assert not torch.equal(
            bezier_path(ring(-0.01), START, END, **{"points": 3, "steps": 20, **change}).bend, base.bend
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"lr": -1.0}, r"lr must be a finite number > 0 or None, got -1\.0"),
        ({"lr": math.nan}, "lr must be a finite number > 0 or None, got nan"),
        ({"points": 1}, "points must be"),
    ],
)
def test_mistakes_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bezier_path(ring(), START, END, **settings)
