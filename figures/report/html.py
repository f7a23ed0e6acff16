"""The report as one HTML file that needs nothing else: style, script, plotly.js and all numbers are in it.

A content security policy in the page forbids every request. Right when a browser draws it without an error, a request
or a page wider than the screen (`tests/figures/report/test_browser.py`), and it says what the model says
(`tests/figures/report/test_renderings.py`). Cost: 5 MB, most of it plotly.js, and a second.
"""

from __future__ import annotations

import html
import json
import math
from importlib.resources import files

from figures.report.content import Answers, Block, Cell, Code, Column, Picture, Report, Section, Table, Text
from figures.report.grids import stops
from figures.report.panels import color, figure_json, javascript, series_look
from figures.report.wording import number

ASSETS = files("figures.report").joinpath("assets")
# 'unsafe-inline' is this file's own script, 'unsafe-eval' what plotly.js compiles; nothing may be fetched.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
# What is black or dark on white is as light on black; other colors of the house are seen on both.
IN_DARK = {"#000000": "#E9E7E2", "#666666": "#A3A19B", "#0072B2": "#3A7FC8", "#7B3F00": "#B98A5E"}
TALL = 14  # rows of a table that scroll in a box of their own


def render(report: Report) -> str:
    """Return the report as HTML.

    Args:
        report: What is said.

    Returns:
        The whole file.
    """
    sections = "\n".join(_section(section) for section in report.sections)
    links = "".join(f'<li><a href="#part-{s.name}">{_text(s.title)}</a></li>' for s in report.sections)
    style = ASSETS.joinpath("style.css").read_text(encoding="utf-8") + _colors(report)
    script = ASSETS.joinpath("page.js").read_text(encoding="utf-8")
    title = _text(report.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the text</a>
<header>
<h1>{title}</h1>
<p class="subtitle">{_text(report.subtitle)}</p>
<button id="theme" type="button">Dark theme</button>
</header>
<nav aria-label="Contents"><ol>{links}</ol></nav>
<main id="main" tabindex="-1">
<noscript><p>Figures are drawn by a script; without one their captions hold the main numbers in words.</p></noscript>
{sections}
</main>
<footer><p id="told" role="status"></p></footer>
{"".join(_numbers(picture) for picture in report.blocks(Picture))}
<script>{javascript()}</script>
<script>{script}</script>
</body>
</html>
"""


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f'<section id="part-{section.name}" aria-labelledby="part-{section.name}-title">\n<h2 id="part-{section.name}-title">{_text(section.title)}</h2>\n{blocks}\n</section>'  # noqa: E501


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return f"<p>{_text(block.sentence)}</p>"
    if isinstance(block, Code):
        return f'<pre tabindex="0" aria-label="To copy: {block.language}"><code>{_text(block.text)}</code></pre>'
    if isinstance(block, Answers):
        return _answers(block)
    return _table(block) if isinstance(block, Table) else _figure(block)


def _answers(block: Answers) -> str:
    items = [
        f'<li id="claim-{a.number}"><span class="number">{a.number}</span><div><p class="claim">{_verdict(a.verdict)}'
        f'{_text(a.statement)}</p><p class="told">{_text(a.sentence)}</p></div></li>'
        for a in block.answers
    ]
    return f'<ol class="answers">{"".join(items)}</ol>'


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {verdict.replace(" ", "-")}">{_text(verdict.capitalize())}</span> '


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col" aria-sort="none"{_side(column)}><button type="button">{_text(column.title)}</button></th>'
        for column in table.columns
    )
    body = "".join(
        "<tr>"
        + "".join(
            _cell(cell, column, is_first=i == 0)
            for i, (cell, column) in enumerate(zip(row, table.columns, strict=True))
        )
        + "</tr>"
        for row in table.rows
    )
    described = [column for column in table.columns if column.description]
    notes = "".join(f"<dt>{_text(column.title)}</dt><dd>{_text(column.description)}</dd>" for column in described)
    more = f"<details><summary>What the columns hold</summary><dl>{notes}</dl></details>" if notes else ""
    tall = " tall" if len(table.rows) > TALL else ""
    return (
        f'<div class="scroll{tall}" role="region" tabindex="0" aria-labelledby="{table.name}-caption">'
        f'<table id="table-{table.name}">'
        f'<caption id="{table.name}-caption"><span>{_text(table.caption)}</span></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
    )


def _cell(cell: Cell, column: Column, *, is_first: bool) -> str:
    tag, scope = ("th", ' scope="row"') if is_first else ("td", "")
    value = "" if cell.value is None else f' data-value="{_value(float(cell.value))}"'
    inside = _text(cell.text)
    if column.title == "Verdict":
        inside = f'<span class="verdict {cell.text.replace(" ", "-")}">{inside}</span>'
    return f"<{tag}{scope}{_side(column)}{value}>{inside}</{tag}>"


def _value(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "NaN" if math.isnan(value) else repr(value)


def _side(column: Column) -> str:
    return ' class="number-cell"' if column.is_number else ""


def _figure(picture: Picture) -> str:
    name = picture.name
    panels = "".join(
        f'<div class="panel"><p class="panel-title">{_text(panel.title)}</p><div class="plot-box">'
        f'<div class="plot" role="group" '
        f'aria-label="{html.escape(f"{picture.title}: {panel.title}")}" data-figure="{name}-{i}"></div></div></div>'
        for i, panel in enumerate(picture.panels)
    )
    is_surface = any(panel.kind == "surface" for panel in picture.panels)
    shape = " wide" if any(panel.kind == "forest" for panel in picture.panels) else ""
    shape += " even" if len(picture.panels) in {2, 4} and not shape else ""
    shape += " single" if len(picture.panels) == 1 and not shape else ""
    keys = (
        f' tabindex="0" role="group" aria-label="{html.escape(picture.title)}: arrow keys turn them"'
        if is_surface
        else ""
    )
    turns = (
        ("ArrowLeft", "Turn left"),
        ("ArrowRight", "Turn right"),
        ("ArrowUp", "Look from above"),
        ("ArrowDown", "Look from below"),
    )
    kinds = (*(turns if is_surface else ()), *((kind, kind.upper()) for kind in ("svg", "png", "csv", "json")))
    tools = "".join(_tool(picture, kind, text) for kind, text in kinds)
    return (
        f'<figure id="{name}" aria-labelledby="{name}-title" aria-describedby="{name}-words">'
        f'<h3 id="{name}-title">{_text(picture.title)}</h3>'
        f'{_legend(picture)}{_bar(picture)}<div class="panels{shape}"{keys}>{panels}</div>'
        f'<figcaption><p>{_text(picture.caption)}</p><p class="words" id="{name}-words">{_text(picture.words)}</p>'
        f'<div class="tools">{tools}</div></figcaption></figure>'
    )


def _tool(picture: Picture, kind: str, text: str) -> str:
    said = text if kind.startswith("Arrow") else f"Download {picture.title} as {text}"
    return f'<button type="button" data-kind="{kind}" aria-label="{html.escape(said)}">{text}</button>'


def _legend(picture: Picture) -> str:
    if not picture.legend:
        return ""
    items = []
    for name in picture.legend:
        label, *_ = series_look(name)
        dot = f'<circle cx="7" cy="7" r="5" fill="var({color(name)})"/>'
        swatch = f'<svg width="14" height="14" aria-hidden="true">{dot}</svg>'
        items.append(
            f'<li><button type="button" aria-pressed="true" data-series="{html.escape(name)}" '
            f'data-color="{color(name)}">'
            f"{swatch}{_text(label)}</button></li>"
        )
    return f'<ul class="legend" aria-label="Shown in this figure">{"".join(items)}</ul>'


def _bar(picture: Picture) -> str:
    scale = picture.scale
    if scale is None:
        return ""
    how = ", logarithmic" if scale.is_log else ""
    words = f"{scale.label}{how}: {number(scale.low)} to {number(scale.high)}"
    gradient = f"background:linear-gradient(90deg,{','.join(stops(scale))})"
    return (
        f'<div class="bar" data-words="{html.escape(words)}"><span>{_text(scale.label)}{how}</span>'
        f"<span>{number(scale.low)}</span>"
        f'<i style="{gradient}"></i><span>{number(scale.high)}</span></div>'
    )


def _numbers(picture: Picture) -> str:
    data = {f"numbers-{picture.name}": json.dumps(picture.numbers(), separators=(",", ":"), ensure_ascii=False)}
    data |= {f"{picture.name}-{i}": figure_json(panel, picture) for i, panel in enumerate(picture.panels)}
    # "</script>" inside a text would end the script
    return "\n".join(
        f'<script type="application/json" id="{key}">{text.replace("</", chr(60) + chr(92) + "/")}</script>'
        for key, text in data.items()
    )


def _colors(report: Report) -> str:
    names = dict.fromkeys(name for picture in report.blocks(Picture) for name in picture.legend)
    light = {name: series_look(name)[1] for name in names}
    dark = {name: IN_DARK.get(value.upper(), value) for name, value in light.items()}

    def rules(colors: dict[str, str]) -> str:
        return "".join(f"{color(n)}:{value};{color(n)}-band:{_faint(value)};" for n, value in colors.items())

    return (
        f':root{{{rules(light)}}}\n:root[data-theme="dark"]{{{rules(dark)}}}\n'
        f'@media (prefers-color-scheme: dark){{:root:not([data-theme="light"]){{{rules(dark)}}}}}'
    )


def _faint(value: str) -> str:
    red, green, blue = (int(value[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def _text(text: str) -> str:
    return html.escape(text, quote=False)
