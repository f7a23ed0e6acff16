"""`landscape report`: what a study found, as a page or as Markdown.

Right when a study's file, its folder and single run files give a report of all that is beside them, and mistakes are
one line (`tests/landscape/commands/test_report.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def report(
    paths: Annotated[
        Optional[list[Path]],  # noqa: UP045  # typer 0.12 does not read `list[Path] | None`
        typer.Argument(
            metavar="STUDY.h5 | FOLDER | RUN.h5 ...",
            help="A study's file or folder, or result files of runs; default: runs/digits.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="To write: .html, one page that needs no network; .md, Markdown and a folder of figures. "
            "Default: report.html beside the first file.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write what a study found: question, answers, evidence, figures, provenance.

    A page to open in a browser:  [bold]landscape report runs/digits/study.h5 -o report.html[/bold]

    For an appendix, with PNG figures:  landscape report runs/digits/study.h5 -o report.md
    """
    from figures.report import FORMS, write_report
    from landscape.tables.printing import show

    given = paths or [Path("runs/digits")]
    study, runs = _sources(given)
    folder = given[0] if given[0].is_dir() else given[0].parent
    target = output or folder / "report.html"
    if target.suffix not in FORMS:  # said before anything is drawn, in the words of the option
        raise ValueError(f"--output must end in {' or '.join(FORMS)}, got {target}; give for example report.html")
    written = write_report(target, runs, study_path=study)
    show(*map(str, written[:1]))


def _sources(paths: list[Path]) -> tuple[Path | None, list[Path]]:
    """Return the study's file and the run files behind what was given."""
    from analysis.store import list_measurements
    from landscape.records.layout import RUN_FILE, STUDY_FILE, find_runs
    from landscape.study.results import VERDICTS

    study: Path | None = None
    runs: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder; give a study.h5, a study's folder or run files")
        if path.is_dir() and not (path / RUN_FILE).is_file():
            file = path / STUDY_FILE
            runs += find_runs(path)
        else:
            file = path / RUN_FILE if path.is_dir() else path
        if file.is_file() and VERDICTS in list_measurements(file):
            if study is not None:
                raise ValueError(f"a report is of one study, got {study} and {file}; give one, or run files alone")
            study = file
            runs += _beside(file) if path.is_file() else []
        elif path.is_file() or file.name == RUN_FILE:
            runs.append(file)
    return study, list(dict.fromkeys(runs))


def _beside(study: Path) -> list[Path]:
    """Return the runs beside a study's file; none where it was moved away from them."""
    from landscape.records.layout import find_runs

    try:
        return find_runs(study.parent)
    except FileNotFoundError:
        return []
