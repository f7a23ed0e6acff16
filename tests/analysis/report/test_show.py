"""What is shown: one line for each row at every width, aligned numbers, the same cells escaped in HTML."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from analysis.report.measure import Setup
from analysis.report.rows import Line, SharpnessReport, report_of
from analysis.report.show import as_html, numbers, on_the_point, text
from analysis.report.words import duration

LINES = (
    Line(
        "loss", "magnitudes", "loss", "loss", 0.01838, meaning="exact", status="COMPLETE", is_invariant=True, spent=1.3
    ),
    Line(
        "lambda_max",
        "eigenvalues",
        "largest Hessian eigenvalue",
        "loss/weight^2",
        1234.5,
        1230.1,
        1238.9,
        "residual bound",
        "CONVERGED",
        spent=20.0,
    ),
    Line(
        "trace", "trace", "Hessian trace", "loss/weight^2", 32.9, 29.6, 36.2, "t, 100 probes", "MAX_HVPS", spent=200.0
    ),
    Line("worst", "worst", "worst, L2, rho 0.05", "loss", 0.01215, 0.01215, math.nan, "lower bound", "CONVERGED"),
    Line("tiny", "tiny", "tiny", "loss", 1.23456e-7, 1e-7, 1.5e-7, "t, 9 pairs", "COMPLETE"),
    Line("average", "average", "average, rho 0.05", "loss", status="LEFT_OUT", expected=67.0),
    Line("fisher", "fisher", "Fisher <b>&", "loss", status="NOT_AVAILABLE", note="no <samples> & no way"),
    Line("bad", "bad", "not finite", "loss", math.nan, status="NOT_FINITE"),
)
SHARED = {"seconds_per_gradient": 0.02, "budget": "100", "weights_sha256": "ab", "data_fingerprint": "0 1"}


def report() -> SharpnessReport:
    return report_of(LINES, Setup(num_samples=500, num_parameters=1898, m=128), **SHARED)


def row(shown: str, title: str) -> str:
    (found,) = [line for line in shown.splitlines() if line.startswith(title + " ")]
    return found


@pytest.mark.parametrize("width", [80, 100, 140])
def test_each_row_is_one_line_that_fits(width: int) -> None:
    shown = text(report().grid(), width)
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "…" not in shown
    for line in LINES:
        row(shown, line.title)
    assert ("residual bound" in shown) == (width >= 96)
    assert shown.splitlines()[0].startswith("Sharpness of 1,898 weights on 500 samples, seed 0: 225 gradients")


def test_each_cell_says_what_the_row_holds() -> None:
    shown = text(report().grid(), 140)
    assert re.search(r"^loss +=  +0\.01838 +exact +loss +exact +1$", shown, flags=re.M)
    assert re.search(r"1234 +\[1230, 1239\] +loss/w² +residual bound +20$", row(shown, "largest Hessian eigenvalue"))
    assert re.search(r"0\.01215 +at least +loss +lower bound$", row(shown, "worst, L2, rho 0.05"))
    assert re.search(r"1\.235e-07 +\[1\.000e-07, 1\.500e-07\]", row(shown, "tiny"))
    assert re.search(r"rho 0\.05 +left out \(67\)$", row(shown, "average, rho 0.05"))
    assert re.search(r"& +not available$", row(shown, "Fisher <b>&"))
    assert re.search(r"nan +loss$", row(shown, "not finite"))


def test_notes_name_reasons_statuses_and_what_intervals_are_about() -> None:
    shown = text(report().grid(), 140).splitlines()
    notes = shown[shown.index(row("\n".join(shown), "not finite")) + 1 :]
    assert notes == [
        "Hessian trace: ran out of Hessian products before its tolerance; the interval stands",
        "Fisher <b>&: no <samples> & no way",
        "not finite: the loss or its gradient was not finite",
        "Left out (n): the budget was spent, n gradients would be needed.",
        "=: unchanged when a ReLU network is rescaled without changing its function.",
        "Intervals are 95 % and about these data, not about the population. At least: the most that a search found.",
    ]


def test_decimal_points_stand_below_each_other() -> None:
    shown = text(report().grid(), 100)
    columns = {row(shown, title).index(".", 32) for title in ("worst, L2, rho 0.05", "tiny", "Hessian trace", "loss")}
    assert len(columns) == 1


class Cells(HTMLParser):
    """Collects the texts of a table's cells, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["td"]:
            self.cells[-1] += data.strip()


def test_html_has_the_same_cells_escaped() -> None:
    found = Cells()
    shown = report()._repr_html_()
    found.feed(shown)
    assert found.cells == [cell.strip() for row in report().grid().rows for cell in row]
    assert set(found.tags) == {"table", "caption", "thead", "tr", "th", "tbody", "td", "div", "br"}  # no <b> of a title
    assert "Fisher &lt;b&gt;&amp;" in shown
    assert "no &lt;samples&gt; &amp; no way" in shown
    assert as_html(report().grid()) == shown


def test_print_and_rich_show_the_table() -> None:
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(report())
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert lines == text(report().grid(), 100).splitlines()
    assert str(report()) == text(report().grid(), 100)  # no terminal under test


def test_a_terminal_gets_bold_and_dim() -> None:
    styled = text(report().grid(), 100, is_styled=True)
    assert "\x1b[1m" in styled
    assert re.sub(r"\x1b\[[0-9;]*m", "", styled).splitlines()[0] == text(report().grid(), 100).splitlines()[0]
    assert "\x1b" not in text(report().grid(), 100)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0], ["0.000"]),
        ([-0.05, -0.06, math.nan], ["-0.05000", "-0.06000", "nan"]),
        ([99999.6, 1.0], ["100000", "1"]),
        ([1e6, math.inf], ["1.000e+06", "inf"]),
        ([math.nan, 1.0, 2.0], ["nan", "1.000", "2.000"]),
        ([0.000999], ["9.990e-04"]),
    ],
)
def test_four_significant_digits(values: list[float], expected: list[str]) -> None:
    assert numbers(values) == expected


def test_nothing_to_align() -> None:
    assert on_the_point([]) == []
    assert on_the_point(["", "1.5"]) == ["   ", "1.5"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0996, "100 ms"), (0.9996, "1 s"), (9.96, "10 s"), (59.6, "60 s"), (100.0, "1 min 40 s"), (3599.7, "1 h 0 min")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
