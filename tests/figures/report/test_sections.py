"""What is in a report: sections in order, tables with the numbers of the files, and what a missing one leaves out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from analysis.store import write
from figures.reading import Run, load_runs
from figures.report.build import MISSING, build
from figures.report.content import Cell, Column, Picture, Report, Table
from tests.figures.report.conftest import CLAIMS, claim, runs_of, write_report_study, write_table, write_verdicts
from tests.figures.synthetic import bowl, measurement

ORDER = [
    "question",
    "answer",
    "verdicts",
    "surfaces",
    "eigenvalues",
    "sharpness",
    "training",
    "noise",
    "accuracy",
    "runs",
]


def tables(report: Report) -> dict[str, Table]:
    return {table.name: table for table in report.blocks(Table)}


def pictures(report: Report) -> dict[str, Picture]:
    return {picture.name: picture for picture in report.blocks(Picture)}


def test_sections_in_the_order_read(report: Report) -> None:
    names = [section.name for section in report.sections]
    assert [name for name in names if name != "noise"] == [name for name in (*ORDER, "methods") if name != "noise"]


def test_every_comparison_made_is_a_row_with_its_numbers(report: Report) -> None:
    table = tables(report)["verdicts"]
    assert len(table.rows) == sum(row["role"] != "untested" for row in CLAIMS)
    texts = [cell.text for cell in table.rows[2]]
    assert texts[:4] == ["3", "Hessian trace: GCSAM vs SGD", "inconclusive", "−60.0 % [−80.0, −20.0]"]
    assert texts[4:] == ["< 0.001", "0.5", "40.0 %", "2", "–"]
    assert "Every verdict here: 2 of the 5 seeds a verdict needs" in table.caption
    assert table.rows[1][-1].text == "not at matched train_loss"


def test_what_could_not_be_compared_is_told_once_for_each_reason(tmp_path: Path) -> None:
    """Fails if rows without a number stand among the effects, or are left out."""
    study = tmp_path / "study.h5"
    nothing = {"effect": math.nan, "low": math.nan, "high": math.nan, "reason": "no runs of method 'random'"}
    lost = [claim(3, name, "gcsam vs random", **nothing) for name in ("lambda_max", "trace")]
    write_verdicts(study, [*CLAIMS, *lost])
    found = tables(build(Run(study), []))
    assert len(found["verdicts"].rows) == sum(row["role"] != "untested" for row in CLAIMS)
    assert [[cell.text for cell in row] for row in found["without-numbers"].rows] == [
        ["3", "GCSAM vs random P", "largest Hessian eigenvalue, Hessian trace", "no runs of method 'random'"]
    ]
    assert found["without-numbers"].caption == "2 comparisons without a number."
    write_verdicts(study := tmp_path / "whole.h5")
    assert "without-numbers" not in tables(build(Run(study), []))


def test_a_new_claim_and_a_new_column_appear_by_themselves(tmp_path: Path) -> None:
    """Fails if a claim or a column must be known to be shown."""
    study = tmp_path / "study.h5"
    write_verdicts(study, [*CLAIMS, claim(12, "drift_speed", "gcsam vs sam", 7.0, 1.0, 13.0)])
    write_table(study, drift_speed=range(8))
    report = build(Run(study), [])
    assert "drift speed: GCSAM vs SAM" in [row[1].text for row in tables(report)["verdicts"].rows]
    runs = tables(report)["runs"]
    place = [column.title for column in runs.columns].index("drift speed")
    assert sorted(row[place].value for row in runs.rows) == list(range(8))  # type: ignore[type-var]
    assert "never" not in [column.title for column in runs.columns]  # a column without any number


def test_the_runs_are_in_order_with_accuracies_in_percent(report: Report) -> None:
    table = tables(report)["runs"]
    assert [cell.text for cell in table.rows[0]][:4] == ["SGD", "0", "90.00", "1e-5"]
    assert [row[1].value for row in table.rows] == [0, 1] * 4


@pytest.mark.parametrize("name", ["eigenvalues", "sharpness", "training", "surfaces"])
def test_a_missing_measurement_leaves_out_its_section_with_a_sentence(tmp_path: Path, name: str) -> None:
    kinds = {
        "eigenvalues": ["curvature/eigenvalues"],
        "sharpness": [f"sharpness/{kind}" for kind in ("worst", "average", "worst_adaptive", "average_adaptive")],
        "training": ["training/history"],
        "surfaces": ["surface/plane"],
    }
    study = write_report_study(tmp_path, kinds[name])
    report = build(Run(study), load_runs(runs_of(study)))
    assert name not in [section.name for section in report.sections]
    (sentence,) = [text for text in report.sentences() if text.startswith("Left out")]
    assert MISSING[name][0].lower() in sentence


def test_a_study_without_its_runs_and_runs_without_a_study(report_study: Path) -> None:
    alone = build(Run(report_study), [])
    assert [section.name for section in alone.sections] == ["question", "answer", "verdicts", "runs", "methods"]
    runs = build(None, load_runs(runs_of(report_study)))
    assert "answer" not in [section.name for section in runs.sections]
    assert any("the verdicts (a study has them" in text for text in runs.sentences())
    assert len(tables(runs)["runs"].rows) == 8


def test_files_that_hold_nothing_are_told(tmp_path: Path) -> None:
    write(tmp_path / "run.h5", "curvature", "other", measurement(value=1.0))
    with pytest.raises(ValueError, match=r"run\.h5 holds nothing to report yet; measure first"):
        build(None, load_runs([tmp_path / "run.h5"]))


def test_pictures_hold_the_numbers_of_the_runs(report: Report) -> None:
    drawn = pictures(report)
    top = drawn["eigenvalues"].panels[0].series[-1]
    assert (top.name, top.y[0], top.low[0]) == ("gcsam", pytest.approx(20.0), pytest.approx(19.5))
    curve = drawn["training"].panels[0].series[0]
    assert [curve.y[0], curve.low[0], curve.high[0]] == pytest.approx([1.05, 1.0, 1.1])
    surface = drawn["surfaces-surface"].panels[3]
    x, y, loss = (bowl(4.0)[name][0] for name in ("x", "y", "loss"))
    assert surface.z[2][1] == pytest.approx(loss[1, 2], rel=1e-5)  # rows along y
    assert (list(surface.x), list(surface.y)) == (pytest.approx(x), pytest.approx(y))
    mean = drawn["accuracy"].panels[1].series[0]
    assert mean.y[0] == pytest.approx(100 * (0.91 + 0.911) / 2)
    half = 12.7062047 * 0.1 / 2  # t of one degree of freedom, times the standard error of two numbers 0.1 apart
    assert mean.high[0] - mean.y[0] == pytest.approx(half, rel=1e-6)


def test_numbers_are_given_away_in_columns_of_one_length(report: Report) -> None:
    for picture in report.blocks(Picture):
        columns = picture.numbers()
        assert len({len(column) for column in columns.values()}) == 1
        assert not any(isinstance(v, float) and not math.isfinite(v) for column in columns.values() for v in column)
    surface = pictures(report)["surfaces-contours"].numbers()
    assert list(surface) == ["panel", "direction 2", "direction 1", "loss"]
    assert len(surface["loss"]) == 4 * 9 * 11


def test_a_table_is_rectangular() -> None:
    with pytest.raises(ValueError, match="a row of table 't' has 1 cells for 2 columns"):
        Table("t", "", (Column("a"), Column("b")), ((Cell("1"),),))
