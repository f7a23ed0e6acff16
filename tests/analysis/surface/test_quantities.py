"""Means and their errors from sums over units; metrics of every form.

Oracles: textbook formulas in numpy, and, for padded sequences, the spread over data drawn anew. Blind to samples that
are not independent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis import Objective
from analysis.surface.quantities import Quantities, accuracy, mean_error, named_metrics, unit_of, weighted_mean

BATCH = (
    torch.randn(7, 4, generator=torch.Generator().manual_seed(1)).double(),
    torch.tensor([0, 1, 2, 1, 0, 2, 1]),
)


@pytest.fixture(autouse=True)
def _without_gradients() -> Any:
    with torch.no_grad():
        yield


def scores(loss_fn: Any = F.cross_entropy) -> Objective:
    torch.manual_seed(2)
    return Objective(nn.Linear(4, 3).double(), loss_fn, [BATCH])


def test_the_error_of_a_mean_is_the_deviation_over_the_root_of_the_number() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 50)
    assert mean_error(values, np.ones(50)) == pytest.approx(values.std(ddof=1) / np.sqrt(50), rel=1e-13)
    assert weighted_mean(values, np.ones(50)) == pytest.approx(values.mean(), rel=1e-13)


def test_what_cannot_be_known_is_nan_without_a_warning() -> None:
    one, none = np.ones(1), np.zeros(3)
    assert np.isnan(mean_error(one, one))
    assert np.isnan(mean_error(none, none))
    assert np.isnan(weighted_mean(none, none))
    assert np.isnan(mean_error(np.array([1.0, np.inf, 2.0]), np.ones(3)))


def test_the_error_of_uneven_units_is_that_of_data_drawn_anew() -> None:
    """A ratio of sums over sequences of 1 to 20 tokens; fails if tokens are taken as independent."""
    rng = np.random.default_rng(3)
    means, errors = [], []
    for _ in range(2000):
        lengths = rng.integers(1, 21, 200)
        shift = rng.normal(0.0, 1.0, 200)  # shared by the tokens of a sequence
        sums = lengths * (1.0 + shift) + rng.normal(0.0, 1.0, 200) * np.sqrt(lengths)
        means.append(weighted_mean(sums, lengths))
        errors.append(mean_error(sums, lengths))
    # the spread of 2000 draws is known to 1 / sqrt(4000) = 1.6 percent, z = 4; the formula is linearized, another 1 / U
    assert np.mean(errors) == pytest.approx(np.std(means), rel=4 * 0.016 + 0.005)


@pytest.mark.parametrize(
    "loss_fn",
    [
        F.cross_entropy,
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]).double(), label_smoothing=0.1, ignore_index=2),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.MultiMarginLoss(),
        F.multi_margin_loss,
        lambda output, target: (output.gather(1, target[:, None]) ** 2).mean(),
    ],
    ids=["function", "weighted, smoothed, ignoring", "sum", "module", "functional", "own"],
)
def test_what_samples_add_is_the_whole(loss_fn: Any) -> None:
    objective = scores(loss_fn)
    assert unit_of(objective, objective.model, BATCH) == "sample"
    total, count, [(sums, counts)] = Quantities(objective, {}, "sample")(objective.model, BATCH)
    assert sums.shape == counts.shape == (7,)
    assert float(sums.sum()) == pytest.approx(float(total), rel=1e-12)
    assert float(counts.sum()) == pytest.approx(float(count), rel=1e-12)
    alone = [
        Quantities(objective, {}, "sample")(objective.model, (BATCH[0][i : i + 1], BATCH[1][i : i + 1]))
        for i in range(7)
    ]
    assert [float(one[0]) for one in alone] == pytest.approx(sums.tolist(), rel=1e-12)


def test_tokens_add_to_their_sequence() -> None:
    class Tokens(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).transpose(1, 2)  # [B, classes, tokens]

    target = torch.tensor([[0, 1, -100], [2, -100, -100]])
    batch = (torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)), target)
    objective = Objective(Tokens(4, 3), nn.CrossEntropyLoss(), [batch])
    _, _, [(sums, counts)] = Quantities(objective, {}, "sample")(objective.model, batch)
    assert counts.tolist() == [2.0, 1.0]
    expected = F.cross_entropy(objective.model(batch[0]), target, reduction="none").sum(1)
    torch.testing.assert_close(sums, expected.double(), rtol=1e-6, atol=0)


def test_a_loss_that_is_no_sum_over_samples_has_batches_as_units() -> None:
    """Fails if a loss that compares samples with each other is cut into samples."""
    contrast = scores(lambda output, target: (output - output.mean(0)).square().mean() + 0 * target.sum())
    assert unit_of(contrast, contrast.model, BATCH) == "batch"
    total, count, [(sums, counts)] = Quantities(contrast, {}, "batch")(contrast.model, BATCH)
    assert (sums.tolist(), counts.tolist()) == ([float(total)], [float(count)])

    def loops(output: Tensor, target: Tensor) -> Tensor:
        return sum(row[int(label)] for row, label in zip(output, target, strict=True)) / len(target)

    looping = scores(loops)
    assert unit_of(looping, looping.model, BATCH) == "batch"  # vmap cannot read a label
    own = Objective(nn.Linear(4, 3).double(), batch_loss=lambda m, b: (m(b[0]).sum(), 7), data=[BATCH])
    assert unit_of(own, own.model, BATCH) == "batch"


def test_metrics_of_samples_and_of_batches() -> None:
    objective = scores()
    metrics = named_metrics({"accuracy": accuracy, "largest": lambda output, _: output.max()})
    _, count, units = Quantities(objective, metrics, "sample")(objective.model, BATCH)
    output = objective.model(BATCH[0])
    assert units[1][0].tolist() == (output.argmax(1) == BATCH[1]).double().tolist()
    assert units[1][1].tolist() == [1.0] * 7
    assert units[2][0].tolist() == pytest.approx([float(output.max()) * 7])  # weighted by what the loss counts
    assert (units[2][1].tolist(), float(count)) == ([7.0], 7.0)


def test_a_metric_of_a_batch_loss_gets_the_output_and_the_batch() -> None:
    seen = []

    def metric(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
        seen.append((output.shape, set(batch)))
        return output[:, 0]

    batch = {"x": torch.ones(5, 4)}
    objective = Objective(nn.Linear(4, 3), batch_loss=lambda m, b: (m(b["x"]).sum(), 5), data=batch)
    Quantities(objective, {"first": metric}, "batch")(objective.model, batch)
    assert seen == [((5, 3), {"x"})]


def test_accuracy_of_tokens_is_their_share() -> None:
    output = torch.zeros(2, 3, 4)
    output[:, 1] = 1.0
    assert accuracy(output, torch.tensor([[1, 1, 0, 2], [1, 1, 1, 1]])).tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["acuracy"], r"metrics must be a mapping .* or names of accuracy, got 'acuracy'"),
        ({"a/b": accuracy}, r"metrics must map a name without '/' .* got 'a/b'"),
        ({"loss": accuracy}, "other than 'loss'"),
        ({"rate": 3}, r"got 'rate': int"),
    ],
)
def test_wrong_metrics_are_one_line(metrics: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_metrics(metrics)


def test_a_metric_of_the_wrong_shape_is_one_line() -> None:
    objective = scores()
    with pytest.raises(ValueError, match=r"metric 'all' must return one number per sample .* got shape \(7, 3\)"):
        Quantities(objective, {"all": lambda output, _: output}, "sample")(objective.model, BATCH)
    with pytest.raises(ValueError, match="got float"):
        Quantities(objective, {"all": lambda output, _: 1.0}, "sample")(objective.model, BATCH)
