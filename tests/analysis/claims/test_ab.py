"""The whole verdict: rows are the single answers, looks count, and the result comes back from the file."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

import analysis
from analysis.claims import RunTable, SuccessVerdict, judge_success, parse_success
from analysis.claims.answer import judge_criterion
from tests.analysis.claims.runs import table

TEXT = "accuracy >= baseline - 0.2%, spread smaller, lambda_max smaller by 10%"


@pytest.fixture
def runs() -> RunTable:
    old = {"test_accuracy": [0.90, 0.94, 0.91, 0.95, 0.93, 0.89], "lambda_max": [5.0, 7.0, 6.0, 4.0, 5.0, 6.0]}
    new = {"test_accuracy": [0.95, 0.95, 0.97, 0.96, 0.97, 0.93], "lambda_max": [4.0, 6.0, 5.0, 4.5, 4.0, 6.5]}
    return table({"sgd": old, "gcsam": new})


def test_rows_are_the_answers_of_the_criteria(runs: RunTable) -> None:
    found = judge_success(runs, "sgd", "gcsam", TEXT)
    assert (found.baseline, found.candidate, found.success) == ("sgd", "gcsam", TEXT)
    for row, criterion in enumerate(parse_success(TEXT)):
        answer = judge_criterion(criterion, runs, "sgd", "gcsam", 1)
        assert (found.criterion[row], found.quantity[row]) == (criterion.text, criterion.column)
        assert (found.scale[row], found.unit[row]) == (criterion.scale, criterion.unit)
        assert found.side[row] == ("above" if criterion.is_above else "below")
        assert (found.answers[row], found.reason[row]) == (answer.answer, answer.reason)
        for column, number in [
            (found.bound, criterion.bound),
            (found.effect, answer.effect.estimate),
            (found.interval_low, answer.effect.low),
            (found.interval_high, answer.effect.high),
            (found.baseline_mean, answer.baseline_mean),
            (found.candidate_mean, answer.candidate_mean),
            (found.seeds_needed, answer.needed.total),
            (found.seeds_low, answer.needed.low),
            (found.seeds_high, answer.needed.high),
        ]:
            assert column.dtype == torch.float64
            assert float(column[row]) == pytest.approx(number, nan_ok=True, rel=1e-15)
    assert found.answers == ("yes", "not yet", "not yet")
    assert (found.answer, found.num_seeds, found.min_seeds) == ("not yet", 6, 5)


def test_the_further_seeds_are_those_of_the_slowest_open_criterion(runs: RunTable) -> None:
    found = judge_success(runs, "sgd", "gcsam", TEXT)
    assert found.further_seeds == float(found.seeds_needed[1:].max()) - 6 > 0
    assert judge_success(runs, "sgd", "gcsam", "accuracy >= baseline - 0.2%").further_seeds == 0
    # one criterion that fails settles the whole, whatever is open
    failed = judge_success(runs, "sgd", "gcsam", "accuracy smaller, spread smaller")
    assert (failed.answer, failed.answers, failed.further_seeds) == ("no", ("no", "not yet"), 0)
    unknown = judge_success(runs, "sgd", "gcsam", "loss smaller, spread smaller")
    assert (unknown.answers, math.isnan(unknown.further_seeds)) == (("not yet", "not yet"), True)


def test_every_look_at_other_seeds_costs_some_confidence(runs: RunTable) -> None:
    first, second, again = (judge_success(runs, "sgd", "gcsam", TEXT, looks=looks) for looks in ((), (3, 5), (5, 6)))
    assert first.looks.tolist() == [6]
    assert second.looks.tolist() == again.looks.tolist() == [5, 6]
    assert (first.look_confidence, second.look_confidence) == (0.975, 0.9875)
    assert second == again
    assert (second.interval_high > first.interval_high).all()


def test_few_seeds_are_no_look_yet() -> None:
    small = table({"sgd": {"test_accuracy": [0.9, 0.91]}, "gcsam": {"test_accuracy": [0.95, 0.955]}})
    found = judge_success(small, "sgd", "gcsam", "accuracy larger")
    assert (found.answer, found.looks.tolist(), found.look_confidence, found.further_seeds) == ("not yet", [], 0.975, 3)


def test_it_comes_back_from_the_file(runs: RunTable, tmp_path: Path) -> None:
    found = judge_success(runs, "sgd", "gcsam", TEXT + ", loss smaller", looks=(5,))
    found.save(tmp_path / "study.h5", "ab")
    loaded = analysis.load(tmp_path / "study.h5", "ab")
    assert isinstance(loaded, SuccessVerdict)
    assert loaded == found
    assert loaded.further_seeds == found.further_seeds or math.isnan(found.further_seeds)
    other = dataclasses.replace(found, answers=("no",) * 4)
    assert other != found


def test_the_public_names() -> None:
    assert analysis.judge_success is judge_success
    assert analysis.SuccessVerdict is SuccessVerdict


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (("sgd", "sam"), r"no runs of method 'sam'; the table has runs of sgd, gcsam$"),
        (("adam", "gcsam"), r"no runs of method 'adam'; the table has runs of sgd, gcsam$"),
        (("sgd", "sgd"), r"baseline and candidate must differ, got 'sgd' twice$"),
    ],
)
def test_methods_that_cannot_be_compared(runs: RunTable, methods: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge_success(runs, *methods, TEXT)


def test_an_empty_table() -> None:
    with pytest.raises(ValueError, match=r"no runs of method 'a'; the table has runs of none"):
        judge_success(RunTable((), (), {}), "a", "b", TEXT)


def test_confidence_out_of_range(runs: RunTable) -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got nan"):
        judge_success(runs, "sgd", "gcsam", TEXT, confidence=math.nan)
