"""One table on two media: rich text for the terminal, HTML for a notebook.

Right when both hold the same cells, escaped, one line each (`tests/analysis/report/test_show.py`). Cost: none.
"""

from __future__ import annotations

import html
import io
import math
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

WIDTH = 100  # without a terminal: one line for each row of a report
DIGITS = 4
STYLE = "text-align:{};padding:2px 10px;white-space:nowrap;font-variant-numeric:tabular-nums"


@dataclass(frozen=True)
class Column:
    """Heading of a column and how it is set.

    Args:
        title: Of the column.
        is_right: Whether it is set to the right.
        least: Width of the terminal below which it is left out.
        is_flexible: Whether it may be cut where there is no room.
    """

    title: str
    is_right: bool = False
    least: int = 0
    is_flexible: bool = False


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        title: Above it.
        columns: In order.
        rows: As many texts as columns each.
        notes: Lines below it.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


class Shown:
    """What can be printed, and shows itself in a notebook; a subclass says what its `grid` is."""

    def grid(self) -> Grid:
        """Return the table."""
        raise NotImplementedError

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from renderables(self.grid(), options.max_width)

    def __str__(self) -> str:
        is_terminal = sys.stdout.isatty()
        return text(self.grid(), shutil.get_terminal_size().columns if is_terminal else WIDTH, is_styled=is_terminal)

    def _repr_html_(self) -> str:
        return as_html(self.grid())


def text(grid: Grid, width: int, *, is_styled: bool = False) -> str:
    """Return a table as text.

    Args:
        grid: The table.
        width: Columns of the terminal.
        is_styled: Whether control characters for bold and dim are in it.
    """
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=is_styled, color_system="standard" if is_styled else None
    )
    for each in renderables(grid, width):
        console.print(each)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def renderables(grid: Grid, width: int) -> Iterator[RenderableType]:
    """Return what rich prints for a table: its title, itself, its notes.

    Args:
        grid: The table.
        width: Columns of the terminal.

    Yields:
        Each.
    """
    table = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    chosen = [i for i, column in enumerate(grid.columns) if column.least <= width]
    for i in chosen:
        column = grid.columns[i]
        table.add_column(
            column.title,
            justify="right" if column.is_right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if column.is_flexible else max(len(column.title), *(len(row[i]) for row in grid.rows)),
        )
    for row in grid.rows:
        table.add_row(*(Text(row[i]) for i in chosen))
    yield Text(grid.title, style="bold")
    yield table
    for note in grid.notes:
        yield Text(note, style="dim")


def as_html(grid: Grid) -> str:
    """Return a table as HTML that needs nothing but a browser, every text escaped.

    Args:
        grid: The table.
    """
    aligned = [STYLE.format("right" if column.is_right else "left") for column in grid.columns]
    head = "".join(
        f'<th style="{style};border-bottom:1px solid">{html.escape(column.title)}</th>'
        for style, column in zip(aligned, grid.columns, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{html.escape(cell.strip())}</td>' for style, cell in zip(aligned, row, strict=True)
        )
        + "</tr>"
        for row in grid.rows
    )
    notes = "<br>".join(html.escape(note) for note in grid.notes)
    return (
        f'<table style="border-collapse:collapse"><caption style="caption-side:top;text-align:left;font-weight:bold">'
        f"{html.escape(grid.title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n"
        f'<div style="opacity:0.7;font-size:90%">{notes}</div>'
    )


def numbers(values: list[float]) -> list[str]:
    """Return numbers in one form: four significant digits of the first, and as many decimals for the others.

    Args:
        values: The first sets the form; NaN and infinity are spelled.

    Example:
        >>> numbers([12.3456, 12.1, 12.6])
        ['12.35', '12.10', '12.60']
        >>> numbers([1.23456e-05, 1e-05])
        ['1.235e-05', '1.000e-05']
    """
    lead = values[0] if math.isfinite(values[0]) else 0.0
    if lead != 0 and not 1e-3 <= abs(lead) < 1e6:
        return [f"{value:.{DIGITS - 1}e}" if math.isfinite(value) else str(value) for value in values]
    exponent = math.floor(math.log10(abs(lead))) if lead else 0
    decimals = max(0, DIGITS - 1 - exponent)
    return [f"{value:.{decimals}f}" if math.isfinite(value) else str(value) for value in values]


def on_the_point(texts: list[str]) -> list[str]:
    """Return numbers padded so that their decimal points stand below each other.

    Args:
        texts: Numbers as text.

    Example:
        >>> on_the_point(["12.35", "0.1234", "7"])
        ['12.35  ', ' 0.1234', ' 7     ']
    """
    parts = [(whole, dot + rest) for whole, dot, rest in (each.partition(".") for each in texts)]
    before = max((len(whole) for whole, _ in parts), default=0)
    after = max((len(rest) for _, rest in parts), default=0)
    return [f"{whole:>{before}}{rest:<{after}}" for whole, rest in parts]
