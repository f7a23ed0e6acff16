"""The report as Markdown for an appendix, with a folder of PNG files drawn by matplotlib.

Right when it says what the page says, sentence by sentence and number by number
(`tests/figures/report/test_renderings.py`). Cost: about a second per figure.
"""

from __future__ import annotations

from collections.abc import Mapping

from figures.report.content import Answers, Block, Code, Report, Table, Text


def render(report: Report, images: Mapping[str, str]) -> str:
    """Return the report as Markdown.

    Args:
        report: What is said.
        images: Path of the image of each picture, by its name; a picture without one keeps its words.

    Returns:
        The whole file.
    """
    parts = [f"# {_text(report.title)}", f"*{_text(report.subtitle)}*"]
    for section in report.sections:
        parts += [f"## {_text(section.title)}", *(_block(block, images) for block in section.blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block, images: Mapping[str, str]) -> str:
    if isinstance(block, Text):
        return _text(block.sentence)
    if isinstance(block, Code):
        return f"```{block.language}\n{block.text}\n```"
    if isinstance(block, Answers):
        return "\n".join(
            f"{a.number}. **{a.verdict.capitalize()}** {_text(a.statement)}. {_text(a.sentence)}" for a in block.answers
        )
    if isinstance(block, Table):
        return _table(block)
    image = [f"![{_text(block.title)}]({images[block.name]})"] if block.name in images else []
    return "\n\n".join([f"### {_text(block.title)}", *image, _text(block.caption), _text(block.words)])


def _table(table: Table) -> str:
    lines = [
        _row([column.title for column in table.columns]),
        _row(["---:" if column.is_number else "---" for column in table.columns]),
        *(_row([cell.text for cell in row]) for row in table.rows),
    ]
    notes = [f"- {_text(column.title)}: {_text(column.description)}" for column in table.columns if column.description]
    return "\n\n".join(filter(None, [_text(table.caption), "\n".join(lines), "\n".join(notes)]))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(_text(cell) for cell in cells)} |"


def _text(text: str) -> str:
    """Return text that Markdown shows as it is."""
    for character in "\\`*_|<[":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
