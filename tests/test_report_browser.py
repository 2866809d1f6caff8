"""The report in a real browser, from disk: at any width, in both themes, on paper, and without scripts."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsing import Browser, browser
from fabricate import write_run
from steadyread.report import write_report

pytestmark = pytest.mark.slow

WIDTHS, THEMES = (1280, 820, 420), ("light", "dark")
UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser") / "run"
    write_run(folder)
    return write_report(folder).as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(autouse=True)
def quiet(chromium: Browser) -> Iterator[None]:
    """Nothing is asked of a network, and nothing goes wrong."""
    yield
    chromium.check()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_accessible_and_nothing_is_cut(chromium: Browser, address: str, width: int, theme: str) -> None:
    """Every rule of axe holds, and nothing is wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-playwright-python").Axe()
    with chromium.open(address, width=width, color_scheme=theme, bypass_csp=True) as page:
        page.evaluate(UNFOLD)
        page.wait_for_timeout(300)
        broken = axe.run(page).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in broken] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_charts_come_alive_and_the_drawing_is_kept_for_paper(chromium: Browser, address: str) -> None:
    with chromium.open(address) as page:
        page.evaluate(UNFOLD)
        page.locator("details figure svg[id]").first.scroll_into_view_if_needed()
        chart = page.locator("figure:has(.live svg)").first
        chart.wait_for()
        assert chart.locator(".live svg").is_visible()
        assert chart.locator("> svg, svg[id]").first.is_hidden()
        page.emulate_media(media="print")
        assert chart.locator(".live").is_hidden()
        assert chart.locator("svg[id]").first.is_visible()


def test_without_scripts_it_is_whole_and_its_figures_are_drawings(chromium: Browser, address: str) -> None:
    with chromium.open(address, scripts=False) as page:
        text = page.inner_text("body")
        assert "Can this evaluation be trusted?" in text
        assert page.locator("figure svg[id]").count() >= 4
        assert page.locator("figure .live svg").count() == 0


def test_on_paper_folds_are_open_and_figures_are_drawings(chromium: Browser, address: str, tmp_path: Path) -> None:
    with chromium.open(address) as page:
        page.emulate_media(media="print")
        shut = page.evaluate("""[...document.querySelectorAll("details.passage")].filter(each =>
            ![...each.children].some(child => child.tagName !== "SUMMARY" && child.checkVisibility())).length""")
        assert shut == 0
        assert page.locator("header.bar nav").is_hidden()
        assert page.locator("header.bar .chip").first.is_visible()
        assert len(page.pdf(path=tmp_path / "page.pdf")) > 50_000


def test_on_paper_what_leads_to_something_stays_with_it(chromium: Browser, address: str) -> None:
    """Headings and what stands above a table are not the last on a sheet, and nothing that scrolls leaves a gap."""
    with chromium.open(address) as page:
        page.emulate_media(media="print")
        assert page.evaluate("""[...document.querySelectorAll("h2, h3, h4, summary, .above")].filter(each =>
            getComputedStyle(each).breakAfter !== "avoid").map(each => each.textContent)""") == []
        assert page.evaluate("""[...document.querySelectorAll("main figure, main .tiles li, main .card")].filter(each =>
            getComputedStyle(each).breakInside !== "avoid").map(each => each.textContent)""") == []
        assert page.evaluate("""[...document.querySelectorAll("main pre, main .scroll")].filter(each =>
            getComputedStyle(each).overflowY !== "visible").map(each => each.className)""") == []


def test_a_button_prints(chromium: Browser, address: str) -> None:
    with chromium.open(address, scripts=False) as page:
        assert page.locator("#print").is_hidden()
    with chromium.open(address) as page:
        page.evaluate("window.print = () => { window.printed = true; }")
        page.get_by_role("button", name="Print").click()
        assert page.evaluate("window.printed")
        page.set_viewport_size({"width": 420, "height": 900})
        assert page.locator("#print").bounding_box()["width"] < 50


def test_figures_come_as_files(chromium: Browser, address: str) -> None:
    with chromium.open(address, accept_downloads=True) as page:
        page.evaluate(UNFOLD)
        saved = {}
        for kind in ("csv", "svg", "png"):
            with page.expect_download() as begun:
                page.locator(f"button[data-save={kind}]").first.click()
            saved[kind] = Path(begun.value.path()).read_bytes()
        rows = list(csv.reader(io.StringIO(saved["csv"].decode())))
        assert len(rows) > 2
        assert {len(row) for row in rows} == {len(rows[0])}
        assert saved["svg"].startswith(b"<svg")
        assert saved["png"].startswith(b"\x89PNG")


def handle_words(page: Any) -> str:
    return str(page.locator(".handle-words").text_content())


def test_the_words_at_the_handle_cover_no_point_of_an_attack(chromium: Browser, address: str) -> None:
    with chromium.open(address) as page:
        points, covered = page.evaluate("""() => {
            const range = document.querySelector(".handle-range"), words = document.querySelector(".handle-words");
            const points = [...document.querySelectorAll(".plot > svg:first-of-type path[transform]")];
            const covered = [...Array(201).keys()].filter((at) => {
                range.value = at;
                range.dispatchEvent(new Event("input"));
                const said = words.getBoundingClientRect();
                return points.some((point) => {
                    const {left, right, top, bottom} = point.getBoundingClientRect();
                    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
                    return x > said.left && x < said.right && y > said.top + 3 && y < said.bottom - 3;
                });
            });
            return [points.length, covered];
        }""")
    assert points
    assert covered == []


def test_the_handle_goes_by_mouse_keys_and_range_and_the_cases_follow(chromium: Browser, address: str) -> None:
    with chromium.open(address) as page:
        page.evaluate("document.addEventListener('steadyread:handle', event => window.told = event.detail.size)")
        knob, range_ = page.locator(".handle"), page.locator(".handle-range")
        first = handle_words(page)
        assert "% still right" in first
        box = knob.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 80, y, steps=4)
        page.mouse.up()
        dragged = page.evaluate("told")
        assert handle_words(page) != first
        knob.press("ArrowLeft")
        assert page.evaluate("told") < dragged
        knob.press("Home")
        assert page.evaluate("told") == 0
        assert knob.get_attribute("aria-valuenow") == "0"
        range_.evaluate("input => { input.value = 150; input.dispatchEvent(new Event('input')); }")
        size = page.evaluate("told")
        assert size > 0
        assert knob.get_attribute("aria-valuetext") == handle_words(page) == range_.get_attribute("aria-valuetext")
        flipped = page.get_by_role("button", name="Flipped at").inner_text()
        knob.press("Home")
        assert page.get_by_role("button", name="Flipped at").inner_text() != flipped


def test_the_theme_changes_at_a_button(chromium: Browser, address: str) -> None:
    with chromium.open(address, color_scheme="light") as page:
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_letters_of_charts_are_large_enough_on_a_phone(chromium: Browser, address: str) -> None:
    """Charts are laid out at the width that there is, or scroll, and the drawing of the answer has larger letters."""
    with chromium.open(address, width=420) as page:
        page.evaluate(UNFOLD)
        figures = page.locator("details figure:has(svg[id])")
        for figure in figures.all():
            figure.scroll_into_view_if_needed()
            figure.locator(".live svg").first.wait_for()
        sizes = page.evaluate("""[...document.querySelectorAll(".graph svg text, figure .live svg text")].map(text => {
            const { a, b } = text.getScreenCTM() ?? { a: 0, b: 0 };
            return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b); }).filter(size => size > 0)""")
        assert len(sizes) > 50
        assert min(sizes) > 10
