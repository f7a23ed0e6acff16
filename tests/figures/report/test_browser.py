"""The page in a browser: no error, no request, no page wider than the screen; keys, themes, tables, downloads, turning.

Blind to how it looks; that was judged by eye. Skipped where there is no chromium.
"""

# ruff: noqa: E501  # scripts that the page runs are one line each

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from figures.report import write_report
from tests.figures.report.conftest import CLAIMS, runs_of

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,  # a page of 25 figures without a graphics card
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
]
ARGUMENTS = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader"),
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
)
READY = "html[data-ready]"
# Relative luminance and contrast as WCAG 2.1 defines them; the background is that of the nearest painted ancestor.
CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => { for (; node; node = node.parentElement) { const c = parse(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const nodes = [...document.querySelectorAll('p, a, li, td, th, button, h1, h2, h3, caption, dt, dd, code, span, summary')];
  return nodes.filter((node) => node.textContent.trim() && node.checkVisibility()).map((node) => {
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), node.tagName + '.' + node.className];
  }).sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    os.environ.setdefault("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(report_study: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    target = tmp_path_factory.mktemp("page") / "report.html"
    write_report(target, runs_of(report_study), study_path=report_study)
    return target.as_uri()


class Opened:
    """A page with what it complained about and asked for."""

    def __init__(self, browser: Any, address: str, width: int, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, accept_downloads=True
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector(READY, timeout=120_000)


@pytest.fixture(scope="module")
def wide(browser: Any, address: str) -> Iterator[Opened]:
    opened = Opened(browser, address, 1280)
    yield opened
    opened.context.close()


def test_nothing_is_asked_for_and_nothing_goes_wrong(wide: Opened, address: str) -> None:
    assert wide.complaints == []
    assert [url for url in wide.requests if not url.startswith(("data:", "blob:"))] == [address]


def test_every_figure_is_drawn_and_has_a_name(wide: Opened) -> None:
    page = wide.page
    assert page.locator(".plot").count() >= 20
    assert page.evaluate(
        "[...document.querySelectorAll('.plot')].every((p) => p.querySelector('.main-svg, canvas') && p.ariaLabel)"
    )
    named = "[...document.querySelectorAll('figure, [role=region], section')].every((f) => document.getElementById(f.getAttribute('aria-labelledby'))?.textContent.trim())"
    assert page.evaluate(named)
    assert page.evaluate(
        "[...document.querySelectorAll('figure')].every((f) => document.getElementById(f.getAttribute('aria-describedby')).textContent.length > 20)"
    )
    assert page.evaluate("[...document.querySelectorAll('button')].every((b) => (b.ariaLabel || b.textContent).trim())")


def test_headings_landmarks_and_table_heads(wide: Opened) -> None:
    page = wide.page
    levels = [
        int(name[1]) for name in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => h.tagName)")
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for name in ("header", "nav", "main", "footer"):
        assert page.locator(name).count() == 1
    assert page.evaluate(
        "[...document.querySelectorAll('table')].every((t) => t.caption && [...t.tHead.rows[0].cells].every((c) => c.scope === 'col') && [...t.tBodies[0].rows].every((r) => r.cells[0].scope === 'row'))"
    )


def column(page: Any, place: int) -> list[float]:
    script = (
        f"[...document.querySelector('#table-runs').tBodies[0].rows].map((r) => Number(r.cells[{place}].dataset.value))"
    )
    return list(page.evaluate(script))


def test_tables_sort_by_click_and_by_enter(wide: Opened) -> None:
    page = wide.page
    head = page.locator("#table-runs thead th", has_text="largest Hessian eigenvalue")
    place = head.evaluate("(cell) => cell.cellIndex")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, place) == sorted(column(page, place))
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, place) == sorted(column(page, place), reverse=True)
    page.locator("#table-verdicts thead button", has_text="Seen from").click()
    page.locator("#table-verdicts thead button", has_text="Seen from").click()
    last = page.locator("#table-verdicts tbody tr").last.locator("td").nth(5).inner_text()
    assert last == "–"  # a number that is missing comes last, either way
    assert page.locator("#table-verdicts th[aria-sort=descending]").count() == 1


def camera(page: Any, place: int) -> dict[str, float]:
    return dict(page.evaluate(f"document.querySelectorAll('#surfaces-surface .plot')[{place}].layout.scene.camera.eye"))


def test_surfaces_turn_together_by_dragging_and_by_keys(wide: Opened) -> None:
    page = wide.page
    before = camera(page, 0)
    plot = page.locator("#surfaces-surface .plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 10, steps=5)
    page.mouse.up()
    page.wait_for_function(
        f"document.querySelector('#surfaces-surface .plot').layout.scene.camera.eye.x !== {before['x']}"
    )
    dragged = camera(page, 0)
    page.wait_for_function(
        f"Math.abs(document.querySelectorAll('#surfaces-surface .plot')[1].layout.scene.camera.eye.x - {dragged['x']}) < 1e-6"
    )
    page.locator("#surfaces-surface .panels").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        f"Math.abs(document.querySelectorAll('#surfaces-surface .plot')[2].layout.scene.camera.eye.x - {dragged['x']}) > 0.01"
    )


@pytest.mark.parametrize("kind", ["csv", "json", "svg", "png"])
def test_figures_and_their_numbers_can_be_taken_away(wide: Opened, kind: str, tmp_path: Path) -> None:
    with wide.page.expect_download() as waiting:
        wide.page.locator(f"#sharpness .tools [data-kind={kind}]").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.name == f"sharpness.{kind}"
    content = path.read_bytes()
    if kind == "csv":
        lines = content.decode().split("\r\n")
        assert lines[0] == "panel,series,x,y,low,high"
        assert lines[1] == '"Worst case, ρ = 0.05",sgd,SGD,1,0.9,1.1'
    elif kind == "json":
        assert json.loads(content)["y"][0] == 1.0
    elif kind == "svg":
        assert content.startswith(b"<svg")
        assert content.count(b"<svg") > 4  # all four panels
    else:
        assert content.startswith(b"\x89PNG")


def test_a_legend_switches_a_method_in_every_panel(wide: Opened) -> None:
    page = wide.page
    button = page.locator("#training .legend button").first
    shown = "[...document.querySelectorAll('#training .plot')].map((p) => p.data.filter((t) => t.meta === 'sgd' && t.visible !== false).length)"
    assert min(page.evaluate(shown)) > 0
    button.click()
    page.wait_for_function(f"Math.max(...{shown}) === 0")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    page.wait_for_function(f"Math.min(...{shown}) > 0")


def test_the_keyboard_reaches_every_control(wide: Opened) -> None:
    page = wide.page
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    wanted = page.evaluate(
        "[...document.querySelectorAll('main button, header button, nav a, .scroll, summary, .panels[tabindex]')].filter((b) => b.checkVisibility() && !b.closest('.plot')).map((b, i) => (b.dataset.walk = i)).length"
    )
    page.locator(".skip").focus()
    assert page.locator(".skip").bounding_box()["x"] >= 0  # seen where it is focused
    for _ in range(3 * wanted):
        page.keyboard.press("Tab")
        page.evaluate("document.activeElement.dataset.walked = 'yes'")
    missed = page.evaluate(
        "[...document.querySelectorAll('[data-walk]:not([data-walked])')].map((b) => b.outerHTML.slice(0, 90))"
    )
    assert missed == []
    page.locator("#theme").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_themes_by_system_and_by_button(wide: Opened) -> None:
    page = wide.page
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "document.querySelector('#training .plot').layout.font.color"
    light, light_ink = page.evaluate(paper), page.evaluate(ink)
    assert page.evaluate(CONTRAST)[0] >= 4.5
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{paper} !== '{light}' && {ink} !== '{light_ink}'")
    assert page.evaluate(CONTRAST)[0] >= 4.5, page.evaluate(CONTRAST)
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"{paper} === '{light}'")
    page.locator("#theme").click()
    page.wait_for_function(f"{paper} === '{dark}' && document.documentElement.dataset.drawn === 'yes'")
    assert page.locator("#theme").inner_text() == "Light theme"
    assert page.evaluate("localStorage.getItem('report-theme')") == "dark"
    page.locator("#theme").click()
    page.wait_for_function(f"{ink} === '{light_ink}'")


def test_a_phone_has_no_page_to_push_sideways(browser: Any, address: str, wide: Opened) -> None:
    fits = "[document.scrollingElement.scrollWidth <= innerWidth, document.scrollingElement.scrollWidth]"
    assert wide.page.evaluate(fits)[0], wide.page.evaluate(fits)
    phone = Opened(browser, address, 360, "dark")
    assert phone.complaints == []
    assert phone.page.evaluate(fits)[0], phone.page.evaluate(fits)
    assert phone.page.evaluate(CONTRAST)[0] >= 4.5
    phone.context.close()


def test_on_a_phone_a_label_stands_over_its_bar(browser: Any, address: str, wide: Opened) -> None:
    """Fails if the bars of the effects can only be seen by pushing their labels out of sight."""
    labels = "[...document.querySelectorAll('.wide .plot .annotation-text')].map(e => e.getBoundingClientRect())"
    assert wide.page.evaluate(f"{labels}.length") == 0
    phone = Opened(browser, address, 360)
    boxes = phone.page.evaluate(f"{labels}.map(box => [box.left, box.right])")
    assert len(boxes) == sum(claim["role"] != "untested" for claim in CLAIMS)
    assert all(left >= 0 and right <= 360 for left, right in boxes)
    bars = "[...document.querySelectorAll('.wide .plot-box')].map(e => e.scrollWidth - e.clientWidth)"
    assert set(phone.page.evaluate(bars)) == {0}
    phone.page.set_viewport_size({"width": 1280, "height": 900})
    phone.page.wait_for_function(f"{labels}.length === 0")
    phone.context.close()
