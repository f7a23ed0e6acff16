"""Values at points: the loss against `Objective.loss`, errors against numpy, every plan against the data as given."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from analysis import Objective, Plan
from analysis.surface import evaluate
from analysis.surface.points import Points, points_of
from tests.analysis.surface.test_evaluate import Counting, points_around
from tests.analysis.test_objective import assert_same, everything
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close

PLANS = [Plan(batch_size=4), Plan(batch_size=50), Plan(channels_last=True), Plan(stacked=2), Plan(5, True, 3)]


def of_case(case: Case, dtype: torch.dtype = torch.float64) -> Objective:
    model, loss_fn, batches = case.make(dtype)
    return Objective(model, loss_fn, batches)


def values_at(points: Points, weights: list[Tensor]) -> list[dict[str, Any]]:
    return points([points.state(at) for at in weights])


def losses(output: Tensor, target: Tensor) -> Tensor:
    if target.is_floating_point():
        return ((output - target) ** 2).mean(1)
    return F.cross_entropy(output, target, reduction="none")


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("num_bytes", [2**30, 0], ids=["held", "read anew"])
def test_the_loss_is_the_objectives_bit_for_bit_and_its_errors_are_those_of_means(
    case: Case, num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if the errors are those of single samples, of the sum, or of losses that do not share their samples."""
    monkeypatch.setattr(evaluate, "HELD_BYTES", num_bytes)
    objective = of_case(case)
    before = everything(objective.model)
    weights = points_around(objective)
    with points_of(objective, metrics={"own": losses}) as points:
        found = values_at(points, weights)
    assert_same(before, everything(objective.model))
    assert points.unit == "sample"
    assert [values["loss"] for values in found] == [objective.loss(at) for at in weights]
    samples = [_samples(case, at) for at in (objective.weights(), *weights)]
    for values, own in zip(found, samples[1:], strict=True):
        # rounding of twelve losses of order 1 in float64
        assert_close(values["standard_error"], own.std(ddof=1) / np.sqrt(12), relative=1e-12)
        assert_close(values["rise_error"], (own - samples[0]).std(ddof=1) / np.sqrt(12), relative=1e-12)
        assert_close(values["metrics"], [own.mean()], relative=1e-12)
        assert_close(values["metric_errors"], [own.std(ddof=1) / np.sqrt(12)], relative=1e-12)
        assert values["diverged"] is False


def _samples(case: Case, at: Tensor) -> np.ndarray:
    model, _, batches = case.make()
    nn.utils.vector_to_parameters(at, [p for p in model.parameters() if p.requires_grad])
    model.eval()
    with torch.no_grad():
        return torch.cat([losses(model(x), y) for x, y in batches]).numpy()


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_plan_changes_nothing_beyond_rounding(case: Case, plan: Plan) -> None:
    """Fails if a batch is lost, weights are not stacked in their own places, or errors compare other samples."""
    objective = of_case(case)
    if case.name == "lstm":
        plan = dataclasses.replace(plan, stacked=1)  # torch.vmap has no rule for it
    weights = points_around(objective)
    x, y = objective.data[0]
    with points_of(objective, {"test": [(x[:3], y[:3])]}, {"own": losses}) as points:
        given = values_at(points, weights)
        points.follow(plan)
        found = values_at(points, weights)
    for key in ("loss", "standard_error", "rise_error", "metrics", "metric_errors"):
        # float64 through a few layers, sums of twelve losses of order 1
        assert_close([v[key] for v in found], [v[key] for v in given], relative=1e-11)
    assert points.metric_names == ("own", "test/loss", "test/own")


def test_a_plan_changes_how_the_model_is_called() -> None:
    """Fails if a plan is stored and not followed."""
    seen: list[tuple[int, bool]] = []

    class Watching(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
            seen.append((len(x), is_last))
            return super().forward(x).flatten(1)

    x, y = torch.randn(10, 2, 3, 3), torch.zeros(10, 4)
    objective = Objective(Watching(2, 4, 3), nn.MSELoss(), [(x[:6], y[:6]), (x[6:], y[6:])])
    with points_of(objective) as points:
        seen.clear()
        points([points.state()])
        assert seen == [(6, False), (4, False)]
        points.follow(Plan(batch_size=3, channels_last=True))
        seen.clear()
        points([points.state()])
        assert seen == [(3, True), (3, True), (3, True), (1, True)]
        points.follow(Plan(stacked=2))
        seen.clear()
        points([points.state(at) for at in points_around(objective)])
        assert len(seen) == 2 * 2  # two groups, of two points and of one, over two batches


def test_channels_last_lays_out_the_weights_of_convolutions() -> None:
    seen: list[bool] = []

    class Watching(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(
                self.weight.is_contiguous(memory_format=torch.channels_last) and not self.weight.is_contiguous()
            )
            return super().forward(x).flatten(1)

    data = (torch.randn(3, 2, 3, 3), torch.zeros(3, 4))
    with points_of(Objective(Watching(2, 4, 3), nn.MSELoss(), data)) as points:
        points.follow(Plan(channels_last=True))
        points([points.state()])
    assert (seen[0], seen[-1]) == (False, True)


def test_bfloat16_is_near_and_not_equal() -> None:
    objective = of_case(CASES[1], torch.float32)
    with points_of(objective, precision="bfloat16") as points:
        found = points.anchors[0]["loss"]
    # seven bits of mantissa: 2^-8 for each product, of sums of up to six of order 1
    assert 0 < abs(found - objective.loss()) < 6 * 2**-8


def test_the_error_of_a_batch_loss_is_that_of_its_batches() -> None:
    data = Counting([torch.full((n, 1), float(value)) for n, value in ((2, 1), (4, 3), (3, 8))])
    objective = Objective(nn.Linear(1, 1, bias=False), batch_loss=lambda m, x: (m(x).sum(), len(x)), data=data)
    with points_of(objective) as points:
        values = values_at(points, [torch.ones(1)])[0]
    mean = (2 + 12 + 24) / 9
    left = np.array([2 - 2 * mean, 12 - 4 * mean, 24 - 3 * mean])
    assert points.unit == "batch"
    assert values["standard_error"] == pytest.approx(np.sqrt(3 / 2 * (left**2).sum()) / 9, rel=1e-6)


def test_the_data_of_every_split_are_read_once() -> None:
    model, loss_fn, batches = CASES[1].make()
    own, test = Counting(batches), Counting(batches[:1])
    objective = Objective(model, loss_fn, own)
    objective.loss()
    own.passes = 0
    with points_of(objective, {"test": test}) as points:
        values_at(points, points_around(objective))
    assert own.passes == 1
    assert test.passes == 2  # one of them the first batch alone, to see that its loss repeats


def test_data_too_large_to_hold_follow_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "HELD_BYTES", 0)
    with points_of(of_case(CASES[1])) as points:
        assert points.fastest(10**9) == Plan()
        with pytest.raises(ValueError, match=r"data too large to hold keep their batches; give plan='given'"):
            points.follow(Plan(batch_size=4))


@pytest.mark.parametrize(("shuffle", "num_bytes"), [(True, 0), (False, 0), (True, 2**30)])
def test_samples_are_compared_only_where_their_order_is_known(
    shuffle: bool, num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if losses of different samples are taken for those of one."""
    monkeypatch.setattr(evaluate, "HELD_BYTES", num_bytes)
    model, loss_fn, batches = CASES[1].make()
    pairs = TensorDataset(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
    objective = Objective(model, loss_fn, DataLoader(pairs, 5, shuffle=shuffle))
    at = points_around(objective)[0]
    with points_of(objective) as points:
        found = values_at(points, [at])[0]
    own = _samples(CASES[1], at) - _samples(CASES[1], objective.weights())
    if shuffle and not num_bytes:
        assert np.isnan(found["rise_error"])
    else:
        assert found["rise_error"] == pytest.approx(own.std(ddof=1) / np.sqrt(12), rel=1e-12)


def test_a_point_without_a_finite_loss_says_so() -> None:
    objective = Objective(
        nn.Linear(1, 1, bias=False), batch_loss=lambda m, x: (m(x).log().sum(), 1), data=torch.ones(1, 1)
    )
    with points_of(objective) as points:
        found = values_at(points, [torch.tensor([value]) for value in (-1.0, 0.0, 1.0)])
    assert [values["diverged"] for values in found] == [True, True, False]
    assert np.isnan(found[0]["loss"])
    assert found[1]["loss"] == -np.inf


def test_a_model_that_cannot_be_stacked_says_so() -> None:
    with points_of(of_case(CASES[4])) as points:
        points.follow(Plan(stacked=2))
        with pytest.raises(ValueError, match=r"cannot be evaluated at 2 points together \(.*lstm.*\); give a plan"):
            values_at(points, points_around(of_case(CASES[4])))


def test_mistakes_are_one_line() -> None:
    objective = of_case(CASES[1])
    for arguments, message in (
        ({"precision": "half"}, "precision must be one of full, bfloat16, got 'half'"),
        ({"splits": {"": objective.data}}, "a split needs a name without '/', got ''"),
        ({"splits": {"test": []}}, "data must hold at least one batch"),
    ):
        with pytest.raises(ValueError, match=message), points_of(objective, **arguments):
            pass
