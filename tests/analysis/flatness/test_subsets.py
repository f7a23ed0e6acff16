"""m-sharpness: the data cut at random into subsets, each sample in exactly one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis import Objective, sharpness
from analysis.flatness.subsets import num_samples, subsets
from tests.analysis.flatness.regression import problem
from tests.cases import CASES
from tests.oracles.trust_region import maximum


def rows(objective: Objective) -> list[tuple[float, ...]]:
    with objective.measuring(with_grad=False):
        return [tuple(row.tolist()) for x, _ in objective.batches() for row in x]


@pytest.mark.parametrize(
    ("m", "sizes"), [(24, [24]), (12, [12, 12]), (7, [6, 6, 6, 6]), (5, [5, 5, 5, 5, 4]), (1, [1] * 24)]
)
def test_every_sample_is_in_one_subset_of_even_size(m: int, sizes: list[int]) -> None:
    objective, _, _ = problem(n=24)
    found = subsets(objective, m, seed=0)
    assert [size for _, size in found] == sizes
    assert [num_samples(part) for part, _ in found] == sizes
    assert sorted(row for part, _ in found for row in rows(part)) == sorted(rows(objective))


def test_the_seed_decides_the_cut() -> None:
    objective, _, _ = problem()
    first, again, other = ([rows(part) for part, _ in subsets(objective, 6, seed)] for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first != [rows(objective)[i : i + 6] for i in range(0, 24, 6)]  # not in the order of the data


def test_batches_of_a_subset_are_no_larger_than_those_given() -> None:
    objective, _, _ = problem(n=24)  # in batches of 8 and 16
    (part, _), *_ = subsets(objective, 24, seed=0)
    with part.measuring(with_grad=False):
        assert max(len(x) for x, _ in part.batches()) <= 16


def test_any_form_of_batch() -> None:
    def batch_loss(model: Any, batch: dict[str, Any]) -> tuple[Tensor, int]:
        assert batch["flag"] == "same"
        return F.mse_loss(model(batch["x"]), batch["y"][0], reduction="sum"), len(batch["x"])

    data = [{"x": torch.randn(n, 2), "y": [torch.randn(n, 1)], "flag": "same"} for n in (3, 5)]
    objective = Objective(nn.Linear(2, 1), batch_loss=batch_loss, data=data)
    losses = [(part.loss(), size) for part, size in subsets(objective, 3, seed=0)]
    mean = sum(loss * size for loss, size in losses) / 8
    assert mean == pytest.approx(objective.loss(), rel=1e-5)


def test_value_is_the_mean_of_the_worst_rises_of_the_subsets() -> None:
    objective, _, _ = problem(n=24)
    found = sharpness(objective, rho=0.2, m=8, tol=1e-5, steps=100)
    expected = []
    for part, size in subsets(objective, 8, seed=0):
        with part.measuring(with_grad=False):
            x, y = (torch.cat(list(column)) for column in zip(*part.batches(), strict=True))
        gradient = 2 / size * x.T @ (x @ objective.weights() - y[:, 0])
        expected.append(maximum(2 / size * x.T @ x, gradient, 0.2)[0])
    assert found.samples.tolist() == pytest.approx(expected, rel=1e-7)
    assert found.value == pytest.approx(sum(expected) / 3, rel=1e-7)
    assert found.standard_error == pytest.approx(float(torch.tensor(expected).std()) / 3**0.5, rel=1e-5)
    assert found.base_loss == pytest.approx(objective.loss(), rel=1e-12)
    assert found.m == 8


def test_all_samples_in_one_subset_is_the_whole() -> None:
    objective, _, _ = problem(n=24)
    whole, one = sharpness(objective, rho=0.2), sharpness(objective, rho=0.2, m=24)
    assert one.value == pytest.approx(whole.value, rel=1e-4)  # tol 1e-2, squared
    assert whole.m == one.m == 24


def test_smaller_subsets_are_never_flatter() -> None:
    """The largest of a mean is at most the mean of the largest; 1e-3 for ascents that end at a residual of 1e-2."""
    objective = Objective(*CASES[1].make())
    values = [sharpness(objective, rho=0.3, m=m, steps=50).value for m in (12, 6, 3, 1)]
    assert all(b >= a * (1 - 1e-3) for a, b in itertools.pairwise(values))


X, Y = torch.randn(4, 2), torch.randn(4, 1)


@pytest.mark.parametrize(
    ("data", "m", "message"),
    [
        ([(X, Y)], 0, "m must be a whole number of samples from 1 to 4, all there are, got 0"),
        ([(X, Y)], 5, "from 1 to 4, all there are, got 5"),
        ([(X, Y)], float("nan"), "from 1 to 4, all there are, got nan"),
        ([(X, Y[0])], 2, r"samples along their first axis, got lengths \[1, 4\]"),
        ([(X, Y), (X[:, :1].expand(4, 3), Y)], 2, r"samples of one shape to mix batches, got \[\(2,\), \(3,\)\]"),
    ],
)
def test_data_that_cannot_be_cut_are_refused(data: list, m: Any, message: str) -> None:
    def loss(model: Any, batch: Any) -> tuple[Tensor, int]:
        return batch[0].sum() * model.weight.sum(), 1

    objective = Objective(nn.Linear(2, 1), batch_loss=loss, data=data)
    with pytest.raises(ValueError, match=message) as caught:
        sharpness(objective, m=m)
    assert "\n" not in str(caught.value)


def test_other_things_that_differ_between_batches_are_refused() -> None:
    data = [{"x": X, "name": "a"}, {"x": X, "name": "b"}]
    objective = Objective(nn.Linear(2, 1), batch_loss=lambda model, batch: (model(batch["x"]).sum(), 4), data=data)
    with pytest.raises(ValueError, match="got a str that differs between batches"):
        sharpness(objective, m=2)
