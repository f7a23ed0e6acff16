"""Answers in words: verdict, effect, interval; with few seeds what was seen and what could have been seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from figures.reading import Run
from figures.report.content import Answer
from figures.report.sentences import answers, compared_with, comparison, read_rows, seen
from tests.figures.report.conftest import CLAIMS, claim, write_verdicts
from tests.figures.synthetic import measurement


def told(tmp_path: Path, *claims: dict[str, object], **overall: str) -> Answer:
    write_verdicts(tmp_path / "study.h5", claims, {int(name[1:]): verdict for name, verdict in overall.items()})
    (answer,) = answers(Run(tmp_path / "study.h5"))
    return answer


def test_too_few_seeds_say_what_was_seen_and_what_could_have_been(tmp_path: Path) -> None:
    answer = told(tmp_path, claim(3, "lambda_max", "gcsam vs sam", 20.4, -5.6, 53.7))
    assert answer.sentence == (
        "Inconclusive, for want of seeds. Seen: the largest Hessian eigenvalue is 20 % higher with GCSAM than with SAM "
        "(95 % interval −5.6 % to +53.7 %). 2 seeds could have seen, in four studies of five, a difference of 40 % or "
        "more."
    )


def test_enough_seeds_give_the_verdict_its_p_and_its_caveat(tmp_path: Path) -> None:
    rows = [
        claim(3, "trace", "gcsam vs sgd", -60.0, -80.0, -20.0, num_seeds=5, verdict="supported", p_corrected=0.0004),
        claim(3, "trace", "gcsam vs sam", 5.0, -8.0, 20.0, num_seeds=5, verdict="inconclusive"),
    ]
    rows[0]["caveat"] = "not at matched train_loss"
    answer = told(tmp_path, *rows, c3="inconclusive")
    assert answer == Answer(
        3,
        "inconclusive",
        "Claim 3 holds",
        "Inconclusive: the Hessian trace is 60 % lower with GCSAM than with SGD (95 % interval −80.0 % to −20.0 %), "
        "corrected p below 0.001. Of its 2 comparisons 1 is supported and 1 is inconclusive. Beware: not at matched "
        "train_loss.",
    )


@pytest.mark.parametrize("verdict", ["supported", "contradicted", "inconclusive"])
def test_the_verdict_is_that_of_the_file(tmp_path: Path, verdict: str) -> None:
    row = claim(
        4, "test_accuracy", "gcsam vs sam", 0.42, 0.2, 0.7, unit="percentage points", num_seeds=5, verdict=verdict
    )
    answer = told(tmp_path, row, c4=verdict)
    assert answer.verdict == verdict
    assert answer.sentence.startswith(f"{verdict.capitalize()}: test accuracy is 0.42 percentage points higher")
    assert "+0.20 pp to +0.70 pp" in answer.sentence


def test_what_is_not_tested_and_what_is_only_reported(tmp_path: Path) -> None:
    assert told(tmp_path, CLAIMS[4]).sentence == "Not tested here: it needs runs over a grid of rho."
    answer = told(tmp_path, CLAIMS[5])
    assert answer.verdict == "reported"
    assert answer.sentence.startswith("No bound. The time of a step is 100 % higher with GCSAM than with SGD (95 %")


@pytest.mark.parametrize(
    ("quantity", "who", "unit", "effect", "expected"),
    [
        ("ascent_ratio", "gcsam vs 1", "%", -13.5, "the ratio q = ‖Pg‖ / ‖g‖ is 14 % lower than 1 ("),
        ("raw_noise_scale", "gcsam, vs control_noise_scale", "%", 5.0, "5.0 % higher than the relative noise of ra"),
        ("test_accuracy", "spread over seeds, gcsam vs gc", "%", 300.0, "is 4.0 times as high with GCSAM as with"),
        ("seconds", "a vs b", "%", 0.0, "seconds is no different between a and b ("),
        ("trace", "new form", "%", 5.0, "the Hessian trace is 5.0 % higher (new form) ("),
        ("trace", "with generalization_gap, all runs", "rank correlation", 0.37, "correlation of +0.37 with the gener"),
    ],
)  # fmt: skip
def test_forms_of_comparison(tmp_path: Path, quantity: str, who: str, unit: str, effect: float, expected: str) -> None:
    write_verdicts(tmp_path / "study.h5", [claim(1, quantity, who, effect, -99.0, 900.0, unit=unit)])
    (row,) = read_rows(Run(tmp_path / "study.h5"))
    assert expected in seen(row)
    assert compared_with(row)
    assert "gcsam" not in comparison(row)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("gcsam vs sam-matched", "GCSAM vs SAM at qρ"),
        ("gcsam vs sgd-long", "GCSAM vs SGD, 2x epochs"),
        ("gcsam-published vs sam-mine", "GCSAM published vs sam-mine"),
        ("spread over seeds, sam-gc vs gc", "spread over seeds, SAM + GC vs SGD + GC"),
        ("with lambda_max, all runs", "with largest Hessian eigenvalue, all runs"),
    ],
)  # fmt: skip
def test_a_name_with_a_hyphen_is_replaced_as_a_whole(tmp_path: Path, who: str, expected: str) -> None:
    """Fails if "sam-matched" becomes "SAM-matched", a method that is nowhere explained."""
    write_verdicts(tmp_path / "study.h5", [claim(1, "trace", who, 5.0, -9.0, 9.0)])
    (row,) = read_rows(Run(tmp_path / "study.h5"))
    assert comparison(row) == expected


def test_an_effect_that_is_missing_or_does_not_vary(tmp_path: Path) -> None:
    none = told(tmp_path, claim(3, "trace", "gcsam vs sam", np.nan, np.nan, np.nan, detectable=np.nan))
    assert "no effect to report for the Hessian trace" in none.sentence
    assert "nan" not in none.sentence
    still = told(tmp_path, claim(3, "trace", "gcsam vs sam", 1.0, 1.0, 1.0, detectable=0.0))
    assert "without an interval: the numbers do not vary" in still.sentence
    assert "could have seen is not known" in still.sentence


def test_a_file_of_an_earlier_version_has_what_it_has(tmp_path: Path) -> None:
    from analysis.store import write

    columns = {name: ([CLAIMS[1][name]], "claim") for name in ("number", "quantity", "comparison", "effect", "unit")}
    write(tmp_path / "old.h5", "claims", "verdicts", measurement(**columns))
    (answer,) = answers(Run(tmp_path / "old.h5"))
    assert "20 % higher with GCSAM than with SAM" in answer.sentence
