"""The language of criteria: each form against the comparison written out by hand, each mistake in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.claims.run_numbers import CORRUPTED
from analysis.claims.success import FRIENDLY, POINTS, SUMMARY, Criterion, is_fraction, parse_success
from analysis.claims.table import DERIVED, collect
from landscape.records import trained as training
from tests.analysis.claims.runs import write_run


def one(text: str, *columns: str) -> Criterion:
    (found,) = parse_success(text, columns)
    assert found.text == text
    return found


@pytest.mark.parametrize(
    ("text", "column", "scale", "bound", "is_above", "unit"),
    [
        ("accuracy >= baseline - 0.2%", "test_accuracy", "difference", -0.2, True, POINTS),
        ("accuracy > baseline-0.2pp", "test_accuracy", "difference", -0.2, True, POINTS),
        ("accuracy >= baseline - 0.002", "test_accuracy", "difference", -0.2, True, POINTS),
        ("Accuracy >= baseline + .5 %", "test_accuracy", "difference", 0.5, True, POINTS),
        ("validation accuracy<=baseline", "validation_accuracy", "difference", 0.0, False, POINTS),
        ("accuracy larger by 1%", "test_accuracy", "difference", 1.0, True, POINTS),
        ("gap smaller", "generalization_gap", "difference", 0.0, False, POINTS),
        ("raw_ascent_cosine higher by 2 pp", "raw_ascent_cosine", "difference", 2.0, True, POINTS),
        ("spread smaller", "test_accuracy", "spread", 0.0, False, "%"),
        ("spread <= baseline + 20%", "test_accuracy", "spread", 20.0, False, "%"),
        ("spread of loss smaller by 10%", "test_loss", "spread", -10.0, False, "%"),
        ("lambda_max lower by 10%", "lambda_max", "log-ratio", -10.0, False, "%"),
        ("lambda_max <= baseline - 10%", "lambda_max", "log-ratio", -10.0, False, "%"),
        ("step time < baseline + 1e2%", "step_seconds_median", "log-ratio", 100.0, False, "%"),
        ("epochs to target smaller", "epochs_to_target", "log-ratio", 0.0, False, "%"),
        ("test_loss <= baseline + 0.01", "test_loss", "difference", 0.01, False, ""),
        ("trace larger", "trace", "log-ratio", 0.0, True, "%"),
        ("ascent_ratio.head.1 lower", "ascent_ratio.head.1", "log-ratio", 0.0, False, "%"),
        ("mine smaller", "mine", "difference", 0.0, False, ""),
        ("mine smaller by 3%", "mine", "log-ratio", -3.0, False, "%"),
        ("mine >= baseline - 3", "mine", "difference", -3.0, True, ""),
    ],
)
def test_each_form(text: str, column: str, scale: str, bound: float, is_above: bool, unit: str) -> None:
    assert one(text, "mine") == Criterion(text, column, scale, pytest.approx(bound), is_above, unit)


def test_criteria_are_separated_by_commas_and_keep_their_order() -> None:
    found = parse_success(" spread  smaller ,accuracy >= baseline - 0.2%")
    assert [each.text for each in found] == ["spread smaller", "accuracy >= baseline - 0.2%"]


HOW = (
    r"write QUANTITY >= baseline - 0\.2% \(or <=, >, <; \+ or -; in %, pp or without a unit\), or QUANTITY smaller "
    r"\(lower, larger, higher; by 10%\)"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            r"success must be criteria separated by commas, got ''; for example \"accuracy >= baseline - 0\.2%, spread",
        ),
        ("accuracy larger,", r"success must be criteria separated by commas, got 'accuracy larger,'; for example"),
        ("accuracy == baseline", rf"criterion 'accuracy == baseline' is not understood; {HOW}$"),
        ("accuracy >= basline - 1%", rf"is not understood; {HOW}; did you mean 'baseline' for 'basline'\?$"),
        ("spread smalle", rf"is not understood; {HOW}; did you mean 'smaller' for 'smalle'\?$"),
        ("accuracy >= baseline - nan%", rf"criterion 'accuracy >= baseline - nan%' is not understood; {HOW}$"),
        ("accuracy >= baseline - 0", None),
        ("accuracy >= baseline - 1e999%", r"criterion .*: the margin must be a finite number, got 1e999$"),
        (
            "acuracy larger",
            r"criterion 'acuracy larger': quantity 'acuracy' is unknown; choose one of accuracy, loss, gap, .*, "
            r"spread, or a column of the run table; did you mean 'accuracy'\?$",
        ),
        ("spread of lamda_max smaller", r"quantity 'lamda_max' is unknown; .*; did you mean 'lambda_max'\?$"),
        ("zzz smaller", r"quantity 'zzz' is unknown; choose .*, or a column of the run table$"),
        (
            "lambda_max smaller by 3pp",
            r"criterion 'lambda_max smaller by 3pp': pp \(percentage points\) are for accuracies; give -3% of the "
            r"baseline instead, or -3 in the unit of lambda_max$",
        ),
        ("spread smaller by 3pp", r"pp \(percentage points\) are for accuracies; give -3% of the baseline instead$"),
        ("spread <= baseline - 0.1", r"a spread is compared as a ratio; give its margin in % of the baseline$"),
        ("loss smaller by 100%", r"a margin of -100% leaves nothing; it must be above -100%$"),
    ],
)
def test_mistakes_are_told_in_one_line(text: str, message: str | None) -> None:
    if message is None:
        assert one(text).bound == 0
        return
    with pytest.raises(ValueError, match=message) as caught:
        parse_success(text)
    assert "\n" not in str(caught.value)


def test_the_known_columns_are_those_of_a_run(tmp_path: Path) -> None:
    """Fails if the summary gets a number that a criterion cannot name before there are runs."""
    numbers = {name for name, (units, _) in training.SUMMARY.items() if units} - {"seed"}
    assert set(SUMMARY) == numbers
    write_run(tmp_path / "run.h5")
    columns = collect([tmp_path / "run.h5"]).columns
    assert {name for name in columns if not name.startswith(CORRUPTED)} <= {
        *SUMMARY,
        *DERIVED,
        "ascent_ratio.a.weight",
        "ascent_ratio.b.weight",
    }
    assert set(FRIENDLY.values()) <= {*SUMMARY, *DERIVED}


def test_percentage_points_are_for_differences_of_fractions() -> None:
    fractions = {name for name in (*SUMMARY, *DERIVED) if is_fraction(name)}
    assert fractions == {
        *(f"{split}_accuracy" for split in ("train", "validation", "test")),
        *(f"{kind}_ascent_cosine" for kind in ("raw", "centralized", "control")),
        *("corrupted_accuracy", "online_accuracy"),
        *("generalization_gap", "corruption_gap", "loss_spikes"),
    }
