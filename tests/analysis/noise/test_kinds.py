"""Ranks and projections of the three kinds; their operators are met by the contract of all operators."""

from __future__ import annotations

import pytest
import torch

from analysis import Centralized, Objective, RandomlyProjected
from analysis.noise.kinds import checked_kinds, projected, rank, seen
from analysis.noise.scalars import KINDS
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_rank_is_the_trace_of_the_projection(kind: str, case: Case) -> None:
    objective = Objective(*case.make())
    matrix = projected(kind, objective, 2, torch.eye(objective.num_parameters, dtype=torch.float64))
    assert rank(kind, objective) == pytest.approx(float(matrix.trace()), abs=1e-12)
    assert_close(matrix @ matrix, matrix, absolute=1e-14)


def test_each_kind_is_seen_through_its_own_projection() -> None:
    objective = Objective(*CASES[1].make())
    assert seen("raw", objective, 0) is objective
    assert isinstance(seen("centralized", objective, 0), Centralized)
    v = torch.ones(objective.num_parameters)
    first, other = (seen("control", objective, seed) for seed in (1, 2))
    assert isinstance(first, RandomlyProjected)
    assert torch.equal(first.hvp(v), RandomlyProjected(objective, 1).hvp(v))
    assert not torch.equal(first.hvp(v), other.hvp(v))


def test_raw_is_always_among_the_kinds() -> None:
    assert checked_kinds(["control"]) == ["raw", "control"]
    assert checked_kinds(KINDS) == list(KINDS)
    with pytest.raises(ValueError, match="kinds must be some of raw, centralized, control, got 'random'"):
        checked_kinds(["raw", "random"])
