"""What a report consists of: sections of sentences, claims, tables, figures and code; one model, rendered twice.

Nothing here knows HTML, Markdown, plotly or matplotlib. A number is a `Cell`: the text that is read and the value that
sorts, so that both renderings show the same digits. Right when the page and the appendix of one study hold the same
sentences and numbers (`tests/figures/report/test_renderings.py`). Cost: none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Number = float | int | None


@dataclass(frozen=True)
class Cell:
    """One entry of a table: what is read, and what it is sorted by (None for text; NaN comes last)."""

    text: str
    value: Number = None


@dataclass(frozen=True)
class Column:
    """Of a table: its title, what it holds in a few words ("" where the title says it), whether it holds numbers."""

    title: str
    description: str = ""
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under titled columns; the first column names the row.

    Args:
        name: Of the table, for links and files: letters, digits and hyphens.
        caption: One line above it.
        columns: At least one.
        rows: As many cells each as there are columns.

    Raises:
        ValueError: A row has another number of cells.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"a row of table {self.name!r} has {len(row)} cells for {len(self.columns)} columns: {row[:1]}"
                )


@dataclass(frozen=True)
class Text:
    """A paragraph: one or more sentences."""

    sentence: str


@dataclass(frozen=True)
class Code:
    """Lines to copy; the language colours nothing and names the block in Markdown."""

    text: str
    language: str = "sh"


@dataclass(frozen=True)
class Answer:
    """What the runs say about one numbered claim.

    Args:
        number: Of the claim.
        verdict: "supported", "contradicted", "inconclusive", "reported" or "not tested".
        statement: The claim.
        sentence: Verdict, effect and interval in plain words.
    """

    number: int
    verdict: str
    statement: str
    sentence: str


@dataclass(frozen=True)
class Answers:
    """The answers, in the order of their numbers."""

    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Series:
    """One line of a panel, or one group of its dots: of a method, or a kind.

    Args:
        name: Of the method as it is stored; it decides color and marker.
        x: Along the horizontal axis, numbers or categories.
        y: Up; NaN leaves a gap.
        low: Lower end of each error bar or of the band; empty for none.
        high: Upper end.
    """

    name: str
    x: Sequence[float | str]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        kind: "lines", "dots", "forest", "heat", "surface" or "contours".
        title: Above it.
        x_label: Of the horizontal axis.
        y_label: Of the vertical axis.
        series: For "lines", "dots" and "forest".
        x: Columns of a grid; for "heat" they may be names.
        y: Rows of a grid.
        z: z[row][column] of a grid, NaN is a hole.
        z_label: What z is.
        is_log: Whether the vertical axis (horizontal for "forest") is logarithmic.
        origin: Value without effect, of "lines" and "forest" the place on the horizontal axis of a line; NaN for none.
        floor: Where a logarithmic axis of "lines" ends, below which nothing is shown; NaN where the data end.
    """

    kind: str
    title: str
    x_label: str = ""
    y_label: str = ""
    series: tuple[Series, ...] = ()
    x: Sequence[float | str] = ()
    y: Sequence[float | str] = ()
    z: Sequence[Sequence[float]] = ()
    z_label: str = ""
    is_log: bool = False
    origin: float = math.nan
    floor: float = math.nan


@dataclass(frozen=True)
class ColorScale:
    """One scale shared by the panels of a picture.

    Args:
        label: What is colored, and where it is cut.
        low: Value at the lower end.
        high: Value at the upper end.
        is_log: Whether colors go by the logarithm.
        colors: "viridis", or "diverging" around 1 (the middle of a logarithmic scale).
    """

    label: str
    low: float
    high: float
    is_log: bool = False
    colors: str = "viridis"


@dataclass(frozen=True)
class Picture:
    """A figure: panels beside each other, a caption, and what it shows in words for who cannot see it.

    Args:
        name: For links and files.
        title: Short.
        caption: How to read it.
        words: Its main numbers in sentences.
        panels: At least one.
        png: Name of the matplotlib figure that draws the same, see `figures.study.FIGURES`.
        scale: Shared colors, where the panels are grids.
        legend: Names of the series, in order.
    """

    name: str
    title: str
    caption: str
    words: str
    panels: tuple[Panel, ...]
    png: str
    scale: ColorScale | None = None
    legend: tuple[str, ...] = ()

    def numbers(self) -> dict[str, list[Any]]:
        """Return every number drawn, column by column: of a grid a row for each cell, of a series one for each point.

        Returns:
            Columns of one length; a number that is missing or infinite is None.
        """
        rows = [row for panel in self.panels for row in _rows(panel)]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: [_plain(row.get(name)) for row in rows] for name in names}


Block = Text | Code | Answers | Table | Picture


@dataclass(frozen=True)
class Section:
    """A headed part of the report."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """All that is said.

    Args:
        title: The question in a few words.
        subtitle: Which study, how many runs.
        sections: In the order read.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]

    def blocks(self, *kinds: type[Any]) -> Iterator[Any]:
        """Yield the blocks of some kinds in the order read.

        Args:
            *kinds: For example `Table`.
        """
        for section in self.sections:
            yield from (block for block in section.blocks if isinstance(block, kinds))

    def sentences(self) -> list[str]:
        """Return every sentence of running text, captions included, in the order read."""
        found: list[str] = []
        for block in self.blocks(Text, Answers, Table, Picture):
            if isinstance(block, Text):
                found.append(block.sentence)
            elif isinstance(block, Answers):
                found += [answer.sentence for answer in block.answers]
            else:
                found += [block.caption] if isinstance(block, Table) else [block.caption, block.words]
        return found


def _rows(panel: Panel) -> Iterator[Mapping[str, Any]]:
    if panel.kind in {"heat", "surface", "contours"}:
        names = panel.y_label or "y", panel.x_label or "x", panel.z_label or "value"
        for y, cells in zip(panel.y, panel.z, strict=True):
            for x, z in zip(panel.x, cells, strict=True):
                yield {"panel": panel.title, **dict(zip(names, (y, x, z), strict=True))}
        return
    for series in panel.series:
        ends = zip(series.low, series.high, strict=True) if len(series.low) else [(None, None)] * len(series.y)
        for x, y, (low, high) in zip(series.x, series.y, ends, strict=True):
            yield {"panel": panel.title, "series": series.name, "x": x, "y": y, "low": low, "high": high}


def _plain(value: Any) -> Any:
    """Return what JSON can hold: None for NaN and infinities, which it has no words for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
