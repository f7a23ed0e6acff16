"""Page and Markdown say the same: equal sentences, equal numbers; nothing of a file's texts becomes markup."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from figures.report import html, markdown, write_report
from figures.report.content import (
    Answer,
    Answers,
    Cell,
    Code,
    Column,
    Panel,
    Picture,
    Report,
    Section,
    Series,
    Table,
    Text,
)
from figures.report.panels import figure_json
from tests.figures.report.conftest import NASTY, built, runs_of

NUMBER = re.compile(r"[−+]?\d+(?:\.\d+)?(?:e-?\d+)?")


class Visible(HTMLParser):
    """The text of the main part without scripts, tools and what only the page has; a line for each block."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self._skipped: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        classes = set((dict(attributes).get("class") or "").split())
        skipped = tag in {"script", "style", "nav", "noscript", "summary", "title"} or classes & {
            "tools",
            "legend",
            "bar",
            "panel",
        }
        if (skipped or self._skipped) and tag not in {"meta", "link", "br", "img"}:
            self._skipped.append(tag)
        if tag in {"p", "h1", "h2", "h3", "li", "td", "th", "caption", "dt", "dd", "code"}:
            self.lines.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._skipped and self._skipped[-1] == tag:
            self._skipped.pop()
        if tag in {"span", "p"}:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.lines[-1] += data


def of_page(report: Report) -> list[str]:
    reader = Visible()
    reader.feed(html.render(report))
    return [line.strip() for line in reader.lines if line.strip()]


def of_markdown(report: Report) -> str:
    text = markdown.render(report, {picture.name: f"figures/{picture.name}.png" for picture in report.blocks(Picture)})
    text = re.sub(r"!\[[^\n]*\]\([^)]*\)", "", text)
    return re.sub(r"\\([\\`*_|<\[])", r"\1", text)


def test_both_say_every_sentence_and_every_cell(report: Report) -> None:
    page, text = of_page(report), of_markdown(report)
    cells = [cell.text for table in report.blocks(Table) for row in table.rows for cell in row]
    for said in [*report.sentences(), *cells]:
        assert said in page
        assert said in text


def test_both_hold_the_same_numbers(report: Report) -> None:
    """Fails if one of them adds, drops or rounds a number."""
    text = re.sub(r"^\|[-:| ]+\|$", "", of_markdown(report), flags=re.MULTILINE)
    page, appendix = (Counter(NUMBER.findall(said)) for said in ("\n".join(of_page(report)), text))
    assert page == appendix
    assert page["1e-5"]


def nasty() -> Report:
    panel = Panel("dots", NASTY, series=(Series(NASTY, [NASTY], [1.0]),))
    return Report(
        NASTY,
        NASTY,
        (
            Section(
                "all",
                NASTY,
                (
                    Text(NASTY),
                    Code("x < 1 && y"),
                    Answers((Answer(1, "supported", NASTY, NASTY),)),
                    Table("t", NASTY, (Column(NASTY, NASTY),), ((Cell(NASTY),),)),
                    Picture("p", NASTY, NASTY, NASTY, (panel,), "training", legend=(NASTY,)),
                ),
            ),
        ),
    )


def test_names_are_text_and_never_markup() -> None:
    """Fails if a method's name could run a script, open a tag or end a cell."""
    page = html.render(nasty())
    assert "a<b>" not in re.sub(r'<script type="application/json".*?</script>', "", page)
    assert [line for line in of_page(nasty()) if line == NASTY]
    (numbers,) = re.findall(r'<script type="application/json" id="numbers-p">(.*?)</script>', page)
    assert json.loads(numbers)["series"] == [NASTY]
    assert "&lt;b&gt;" in figure_json(next(nasty().blocks(Picture)).panels[0], next(nasty().blocks(Picture)))
    text = markdown.render(nasty(), {})
    (row,) = [line for line in text.splitlines() if line.startswith("| a") and r"\[y" in line][1:]
    assert len(re.findall(r"(?<!\\)\|", row)) == 2


def test_the_page_is_one_file_that_asks_for_nothing(report_study: Path, tmp_path: Path) -> None:
    (path,) = write_report(tmp_path / "new" / "report.html", runs_of(report_study), study_path=report_study)
    page = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 10e6
    assert list(path.parent.iterdir()) == [path]
    ids = re.findall(r'\sid="([^"]+)"', re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert "default-src &#x27;none&#x27;" in page
    assert not re.findall(r'<(?:script|img|iframe)[^>]*\ssrc=|<link[^>]*href="(?!data:)', page)


@pytest.mark.slow
def test_the_markdown_has_its_figures(report_study: Path, tmp_path: Path) -> None:
    written = write_report(tmp_path / "report.md", runs_of(report_study), study_path=report_study)
    text = written[0].read_text(encoding="utf-8")
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert images
    assert all((tmp_path / image).is_file() for image in images)
    assert {tmp_path / image for image in images} == set(written[1:])
    assert len(images) == len(list(built(report_study).blocks(Picture)))


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_another_ending_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"a report ends in \.html or \.md, got '{name}'; give for example report.html"
    ):
        write_report(tmp_path / name)
