"""The report of a study: one self-contained HTML page, or Markdown with images; both from one model of what is said.

The only package that imports plotly. Right when both renderings say the same, and a browser shows the page as it should
(`tests/figures/report`). Cost: a second for the page, half a minute for the images of the Markdown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from figures.reading import Run, load_runs
from figures.report.build import build
from figures.report.content import Picture, Report
from figures.study import figure_named, save_figure
from figures.style import context

__all__ = ["FORMS", "write_report"]

FORMS = (".html", ".md")


def write_report(
    output: str | os.PathLike[str],
    run_paths: Iterable[str | os.PathLike[str]] = (),
    *,
    study_path: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write a report.

    Args:
        output: File to write, .html for the page, .md for Markdown beside a folder of its figures.
        run_paths: Result files, of one run each; any measurement may be missing.
        study_path: The study's own file, for its verdicts and its table of runs.

    Returns:
        The files written, the report first.

    Raises:
        ValueError: The name ends in neither .html nor .md, or the files hold nothing to report.
        FileNotFoundError: A result file is missing.
        SchemaError: One is not a result file of this version.
    """
    target = Path(output)
    if target.suffix not in FORMS:
        raise ValueError(f"a report ends in {' or '.join(FORMS)}, got {target.name!r}; give for example report.html")
    runs, study = load_runs(run_paths), Run(Path(study_path)) if study_path is not None else None
    report = build(study, runs)
    if target.suffix == ".html":
        from figures.report import html  # plotly takes a second to load

        return [_write(target, html.render(report))]
    from figures.report import markdown

    folder = target.with_name(f"{target.stem}-figures")
    images = _draw(report, study, runs, folder)
    text = markdown.render(report, {name: f"{folder.name}/{path.name}" for name, path in images.items()})
    return [_write(target, text), *images.values()]


def _draw(report: Report, study: Run | None, runs: list[Run], folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    with context():
        for picture in report.blocks(Picture):
            for path in save_figure(figure_named(picture.png, runs, study), folder, picture.png, ("png",)):
                found[picture.name] = path
    return found


def _write(target: Path, text: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, target)
    return target
