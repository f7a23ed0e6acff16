"""Linear paths: exact ends with their batch-norm statistics, closed-form barriers, resuming, splits and metrics.

Oracles: a double well in closed form, models that hold the checkpoints, a model moved by hand.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import analysis
from analysis import Objective, Status, linear_path
from analysis.surface.path import largest
from tests.analysis.test_objective import assert_same, everything


def well(model: nn.Linear) -> Objective:
    """L(w) = (w^2 - 1)^2: minima at -1 and 1, a barrier of 1 between them."""

    def batch_loss(net: Any, batch: Tensor) -> tuple[Tensor, int]:
        return ((net(batch) ** 2 - 1) ** 2).sum(), len(batch)

    return Objective(model, batch_loss=batch_loss, data=torch.ones(2, 1, dtype=torch.float64))


def double_well() -> Objective:
    return well(nn.Linear(1, 1, bias=False, dtype=torch.float64))


def normed(batchnorm: str = "eval") -> tuple[Objective, dict[str, Tensor], dict[str, Tensor]]:
    """A batch-norm network in float64 and two checkpoints of it, with statistics of their own."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(10, n, generator=generator, dtype=torch.float64) for n in (3, 1))
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).double()
        model(seed * x)
        states.append(model.state_dict())
    return Objective(model, nn.MSELoss(), [(x[:4], y[:4]), (x[4:], y[4:])], batchnorm=batchnorm), states[0], states[1]


def holding(state: dict[str, Tensor], like: Objective) -> Objective:
    model = copy.deepcopy(like.model)
    model.load_state_dict(state)
    return Objective(model, nn.MSELoss(), like.data, batchnorm=like.batchnorm)


def test_a_double_well_has_its_barrier() -> None:
    objective = double_well()
    start, end = (torch.tensor([value], dtype=torch.float64) for value in (-1.0, 1.0))
    found = linear_path(objective, start, end, (-0.5, 1.5), 33)
    w = 2 * found.t - 1
    # rounding of a handful of operations on numbers up to 9
    torch.testing.assert_close(found.loss, (w**2 - 1) ** 2, rtol=1e-13, atol=1e-14)
    assert (found.barrier, found.barrier_at) == (pytest.approx(1.0, rel=1e-14), 0.5)
    assert (found.distance, found.cosine) == (2.0, -1.0)
    assert found.status is Status.COMPLETE
    down = linear_path(objective, torch.zeros(1), end, points=9)  # convex enough: below the chord
    assert (down.barrier, down.barrier_at) == (pytest.approx(float(_excess(down))), float(down.t[_excess_at(down)]))


def _excess(path: analysis.LinearPath) -> Tensor:
    return (path.loss - (1 - path.t)).max()


def _excess_at(path: analysis.LinearPath) -> int:
    return int((path.loss - (1 - path.t)).argmax())


@pytest.mark.parametrize("batchnorm", ["eval", "recalibrate"])
def test_both_ends_are_the_checkpoints_bit_for_bit(batchnorm: str) -> None:
    """Fails if buffers are the model's at both ends, or the end is reached by adding steps."""
    objective, start, end = normed(batchnorm)
    before = everything(objective.model)
    found = linear_path(objective, start, end, (-0.25, 1.25), 7)
    assert found.t.tolist() == [-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert float(found.loss[1]) == holding(start, objective).loss()
    assert float(found.loss[5]) == holding(end, objective).loss()
    assert bool(found.loss.isfinite().all())
    assert_same(before, everything(objective.model))


def test_statistics_lie_between_those_of_the_ends_and_are_held_beyond() -> None:
    objective, start, end = normed()
    found = linear_path(objective, start, end, (-1.0, 2.0), 7)
    parameters = dict(objective.model.named_parameters())
    for t, loss in zip(found.t.tolist(), found.loss.tolist(), strict=True):
        state = {}
        for name, first in start.items():
            share = t if name in parameters else min(max(t, 0.0), 1.0)
            state[name] = (
                first + share * (end[name] - first) if first.is_floating_point() else (first if t < 0.5 else end[name])
            )
        # rounding of the interpolation, through a network of two layers
        assert holding(state, objective).loss() == pytest.approx(loss, rel=1e-12)


class Counting(nn.Module):
    """Multiplies by a weight and by an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.register_buffer("number", torch.tensor(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight * self.number


def test_an_integer_buffer_is_that_of_the_nearer_end() -> None:
    """Fails if it is the start's all the way, or a fraction."""
    one = torch.ones(1, 1, dtype=torch.float64)
    objective = Objective(Counting(), nn.MSELoss(), (one, 0 * one))
    start, end = ({"weight": weight * one[0], "number": torch.tensor(n)} for weight, n in ((1.0, 1), (2.0, 3)))
    found = linear_path(objective, start, end, points=5)
    weights = torch.tensor([1.0, 1.25, 1.5 * 3, 1.75 * 3, 2.0 * 3], dtype=torch.float64)
    torch.testing.assert_close(found.loss, weights**2, rtol=1e-14, atol=0)


def sign_error(output: Tensor, target: Tensor) -> Tensor:
    """Share of each sample's signs that are wrong, [B]."""
    return ((output > 0) != (target > 0)).double().reshape(len(target), -1).mean(1)


def test_splits_and_metrics_are_those_of_the_same_points() -> None:
    """Fails if a split is evaluated on other data or weights, or a metric is not a mean over samples."""
    objective, start, end = normed()
    half = [objective.data[0]]
    found = linear_path(objective, start, end, points=5, splits={"test": half}, metrics={"error": sign_error})
    alone = linear_path(objective.on(half), start, end, points=5)
    assert found.metric_names == ("error", "test/loss", "test/error")
    # a mean over 4 samples, by another order of the same sums
    torch.testing.assert_close(found.metrics[1], alone.loss, rtol=1e-14, atol=0)
    assert float(found.metric_rises[1]) == pytest.approx(alone.barrier, abs=1e-14)
    for i, t in enumerate(found.t.tolist()):
        state = {k: v + t * (end[k] - v) if v.is_floating_point() else v for k, v in start.items()}
        model = holding(state, objective).model.eval()
        with torch.no_grad():
            wrong = torch.cat([sign_error(model(x), y) for x, y in objective.data])
        assert float(found.metrics[0, i]) == pytest.approx(float(wrong.mean()), rel=1e-14)
        assert float(found.metric_errors[0, i]) == pytest.approx(float(wrong.std() / 10**0.5), rel=1e-12, abs=1e-15)
    chord = (1 - found.t) * found.metrics[0, 0] + found.t * found.metrics[0, -1]
    assert float(found.metric_rises[0]) == pytest.approx(max(0.0, float((found.metrics[0] - chord).max())))
    assert float(found.metric_falls[0]) == pytest.approx(max(0.0, float((chord - found.metrics[0]).max())))


def test_a_metric_that_sinks_falls_and_does_not_rise() -> None:
    ends = -torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    found = linear_path(double_well(), *ends, points=5, metrics={"square": lambda output, _: output[:, 0] ** 2})
    assert (found.metric_rises.tolist(), found.metric_falls.tolist()) == ([0.0], [1.0])  # w^2 from 1 to 0 and back


def test_recalibrated_statistics_of_a_split_are_those_of_the_training_data() -> None:
    """Fails if each split is normalized by its own statistics."""
    objective, start, end = normed("recalibrate")
    found = linear_path(objective, start, end, points=3, splits={"test": [objective.data[0]]})
    model = copy.deepcopy(objective.model)
    model.load_state_dict({k: (v + end[k]) / 2 if v.is_floating_point() else v for k, v in start.items()})
    x, y = (torch.cat(parts) for parts in zip(*objective.data, strict=True))
    layer = model[1]
    layer.reset_running_stats()
    layer.momentum = 0.4  # of 4 samples, then of 10: the mean over both batches weighted by length
    model.train()
    with torch.no_grad():
        layer.momentum = 1.0
        model(x[:4])
        layer.momentum = 0.6
        model(x[4:])
        model.eval()
        expected = nn.functional.mse_loss(model(x[:4]), y[:4])
    assert float(found.metrics[0, 1]) == pytest.approx(float(expected), rel=1e-12)


def test_the_excess_has_the_error_of_samples_that_are_shared() -> None:
    """Fails if the three losses are taken as independent, or the mean's own error is given."""
    objective, start, end = normed()
    found = linear_path(objective, start, end, points=3, plan="given")
    losses = []
    for state in (start, {k: (v + end[k]) / 2 if v.is_floating_point() else v for k, v in start.items()}, end):
        model = holding(state, objective).model.eval()
        with torch.no_grad():
            losses.append(torch.cat([(model(x) - y) ** 2 for x, y in objective.data])[:, 0])
    above = losses[1] - (losses[0] + losses[2]) / 2
    assert float(found.excess[1]) == pytest.approx(float(above.mean()), rel=1e-12)
    assert float(found.excess_error[1]) == pytest.approx(float(above.std() / 10**0.5), rel=1e-12)
    assert found.excess_error[[0, 2]].tolist() == [0.0, 0.0]  # the ends lie on the chord whatever the samples


def test_a_stopped_path_goes_on_where_it_was(tmp_path: Path) -> None:
    objective, start, end = normed()
    splits = {"half": [objective.data[0]]}
    whole = linear_path(objective, start, end, points=9, splits=splits)
    target = tmp_path / "run.h5"

    def stop(done: int, total: int) -> None:
        del total
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        linear_path(objective, start, end, points=9, splits=splits, path=target, progress=stop)
    half = analysis.load(target)
    assert isinstance(half, analysis.LinearPath)
    assert int(half.done.sum()) == 4
    assert half.status is Status.INTERRUPTED
    seen: list[int] = []
    found = linear_path(
        objective, start, end, points=9, splits=splits, path=target, progress=lambda done, _: seen.append(done)
    )
    assert seen == [5, 6, 7, 8, 9]
    assert found == whole == analysis.load(target)
    with pytest.raises(ValueError, match=r"begun with another configuration .*end_sha256"):
        linear_path(objective, start, {**end, "0.bias": end["0.bias"] + 1}, points=9, splits=splits, path=target)


def test_what_is_not_finite_is_kept_and_said() -> None:
    t = torch.tensor([-1.0, 0.0, 0.5, 1.0])
    assert largest(t, torch.tensor([9.0, 0.0, math.nan, 0.0])) == (math.inf, 2)
    assert largest(t, torch.tensor([9.0, 0.0, -math.inf, 0.0])) == (0.0, None)
    assert largest(t, torch.tensor([9.0, 0.0, -0.5, 0.0])) == (0.0, None)
    objective = double_well()
    huge = torch.tensor([1e200], dtype=torch.float64)
    found = linear_path(objective, torch.ones(1), huge, points=3)
    assert found.status is Status.NOT_FINITE
    assert found.loss.isinf().tolist() == found.diverged.tolist() == [False, True, True]
    assert math.isnan(found.barrier)


def test_the_chord_is_between_the_ends_whether_they_are_points_or_not() -> None:
    found = linear_path(double_well(), -torch.ones(1), torch.ones(1), (-0.5, 1.5), 4)  # t = -0.5, 1/6, 5/6, 1.5
    assert found.barrier == pytest.approx((1 - (2 / 3) ** 2) ** 2, rel=1e-12)
    assert (found.start_loss, found.end_loss) == (0.0, 0.0)
    assert found.status is Status.COMPLETE


def test_another_loss_function_is_refused(tmp_path: Path) -> None:
    objective, start, end = normed()
    linear_path(objective, start, end, points=3, path=tmp_path / "run.h5")
    other = Objective(objective.model, nn.L1Loss(), objective.data)
    with pytest.raises(ValueError, match=r"begun with another loss function \(start_loss was"):
        linear_path(other, start, end, points=3, path=tmp_path / "run.h5")


def test_mistakes_are_one_line() -> None:
    objective, start, end = normed()
    with pytest.raises(ValueError, match="start and end must differ, got equal weights"):
        linear_path(objective, start, dict(start))
    with pytest.raises(ValueError, match=r"'0.weight' is \(4, 9\), not \(4, 3\)"):
        linear_path(objective, start, {**end, "0.weight": torch.zeros(4, 9)})
    with pytest.raises(ValueError, match=r"a split needs a name without '/', got 'a/b'"):
        linear_path(objective, start, end, splits={"a/b": objective.data})
    with pytest.raises(ValueError, match="points must be"):
        linear_path(objective, start, end, points=1)
    with pytest.raises(ValueError, match="extent must be"):
        linear_path(objective, start, end, (1.0, 1.0))
