"""`landscape report`: what is read for what is given, and mistakes in one line; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.figures.report.conftest import report_study as report_study
from tests.landscape.conftest import Done


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[Path], Path | None]]:
    calls: list[tuple[Path, list[Path], Path | None]] = []

    def write(output: Path, runs: list[Path], *, study_path: Path | None) -> list[Path]:
        calls.append((output, runs, study_path))
        return [output]

    monkeypatch.setattr("figures.report.write_report", write)
    return calls


def test_a_study_by_file_or_folder_comes_with_its_runs(
    cli: Callable[..., Done], report_study: Path, asked: list[tuple[Path, list[Path], Path | None]]
) -> None:
    folder = report_study.parent
    done = cli("report", report_study, "-o", "some.html")
    assert (done.status, done.out) == (0, "some.html\n")
    assert cli("report", folder).status == 0
    runs = sorted(folder.glob("runs/*/run.h5"))
    assert asked == [(Path("some.html"), runs, report_study), (folder / "report.html", runs, report_study)]


def test_single_runs_have_no_study(
    cli: Callable[..., Done], report_study: Path, asked: list[tuple[Path, list[Path], Path | None]]
) -> None:
    first, second = sorted(report_study.parent.glob("runs/*"))[:2]
    assert cli("report", first, second / "run.h5", "-o", "two.md").status == 0
    assert asked == [(Path("two.md"), [first / "run.h5", second / "run.h5"], None)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none.h5"], "none.h5: no such file or folder; give a study.h5, a study's folder or run files"),
        (["{study}", "-o", "x.pdf"], "--output must end in .html or .md, got x.pdf; give for example report.html"),
        (["{study}", "{study}"], "a report is of one study, got {study} and {study}; give one, or run files alone"),
    ],
)
def test_mistakes_are_one_line(
    cli: Callable[..., Done], report_study: Path, arguments: list[str], expected: str
) -> None:
    done = cli("report", *(text.format(study=report_study) for text in arguments))
    assert (done.status, done.err) == (2, f"landscape report: {expected.format(study=report_study)}\n")


def test_plotly_is_imported_by_the_report_alone() -> None:
    from tests.test_house import ROOT, SOURCES, imports

    users = {path for path in SOURCES for module, _ in imports(path) if module.split(".")[0] == "plotly"}
    assert users
    assert {path.parent for path in users} == {ROOT / "figures" / "report"}
